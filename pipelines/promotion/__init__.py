"""Decisions: pure functions from a plan, a state and what was observed to what should happen.

:mod:`.drift` answers what a drift report means; the rest moves a rollout step by step. No clock, no disk, no network.
"""
