"""Splits as commits and people read them. Text only.

>>> shares({"churn": 900, "churn-v4": 100})
'churn=90,churn-v4=10'
>>> moves({"churn": 900, "churn-v4": 100}, {"churn": 750, "churn-v4": 250})
'churn 90% → 75%, churn-v4 10% → 25%'
"""

from collections.abc import Mapping

from mlflow_deploy_plugin.manifests.diff import percent


def shares(weights: Mapping[str, int]) -> str:
    """A split on one line, as trailers carry it: per cent, without those that have nothing."""
    return ",".join(f"{name}={percent(weight).rstrip('%')}" for name, weight in weights.items() if weight)


def moves(before: Mapping[str, int], after: Mapping[str, int]) -> str:
    """Who went from where to where."""
    pairs = {name: (before.get(name, 0), after.get(name, 0)) for name in dict.fromkeys((*before, *after))}
    return ", ".join(f"{name} {percent(old)} → {percent(new)}" for name, (old, new) in pairs.items() if old != new)
