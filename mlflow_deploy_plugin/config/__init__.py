"""What people say to modelserve: where its home is, which target they mean, which ``-C`` keys they set.

Texts become values here, and a wrong text becomes one line with the way out. Nothing here opens a repository,
a model or a connection; the environment arrives as an argument. Only :meth:`home.Home.ensure` writes: folders.
"""
