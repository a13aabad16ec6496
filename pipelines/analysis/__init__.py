"""Statistics of decisions: pure functions from counts and samples to verdicts, valid at every look.

``arms`` holds what was observed, ``gates`` what is asked, ``verdict`` what is said. One module per statistic. numpy and
scipy only; no clock, no disk, no network, and no randomness without a seed. This package imports none of its modules.
"""
