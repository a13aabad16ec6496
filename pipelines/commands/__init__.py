"""The verbs of ``python -m pipelines``: each gathers, asks a pure decision, applies it and says what happened.

A module here has ``add_arguments`` and ``run``; what it needs from outside comes through :class:`.doors.Doors`, and
what is slow to import is imported when the verb runs, so that ``--help`` and refusals answer at once.
"""
