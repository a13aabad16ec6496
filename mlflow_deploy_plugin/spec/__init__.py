"""What the rooms agree on: names, headers, environment variables, the layout of a Bento and of the event store.

Values only. Nothing here reads a clock, a disk, a network or the process's environment; the standard library
alone is imported, because a Bento process imports this package on its way to the first answer.
"""
