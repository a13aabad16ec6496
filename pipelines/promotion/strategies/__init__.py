"""Strategies: each module is one way for a new version to take over.

A strategy module has the value that plans hold, the fields that people write in ``rollout.yaml``, ``judge`` (which
gates are asked of what was observed) and ``settle`` (what follows). All pure.
"""
