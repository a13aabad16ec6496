"""How a change reads in ``git log``: subjects as news, shares in per cent. Pure.

>>> split_subject("churn", {"churn": 900, "churn-v4": 100}, {"churn": 750, "churn-v4": 250})
'churn: churn 90% → 75%, churn-v4 10% → 25%'
"""

from collections.abc import Mapping

from mlflow_deploy_plugin.manifests.model import Deployment
from mlflow_deploy_plugin.spec.names import TOTAL_WEIGHT

SHORT = 9
"""Characters of a commit that a sentence carries."""


def percent(weight: int) -> float:
    """A weight of 1000 as people type it.

    >>> percent(125), percent(100)
    (12.5, 10)
    """
    share = weight * 100 / TOTAL_WEIGHT
    return int(share) if share.is_integer() else share


def short(commit: str) -> str:
    """A commit as a sentence carries it."""
    return commit[:SHORT]


def shares(weights: Mapping[str, int]) -> str:
    """A split on one line.

    >>> shares({"churn": 900, "churn-v4": 100})
    'churn=90,churn-v4=10'
    """
    return ",".join(f"{name}={percent(weight):g}" for name, weight in weights.items())


def split_subject(endpoint: str, before: Mapping[str, int], after: Mapping[str, int]) -> str:
    """What a change of weights says: who went from where to where."""
    moved = [
        f"{name} {percent(before.get(name, 0)):g}% → {percent(after.get(name, 0)):g}%"
        for name in dict.fromkeys((*before, *after))
        if before.get(name, 0) != after.get(name, 0)
    ]
    return f"{endpoint}: {', '.join(moved) or 'the split stays'}"


def update_subject(before: Deployment, after: Deployment) -> str:
    """What a replaced deployment says: the model, else the settings that changed."""
    return f"{after.endpoint}: {after.name} {', '.join(_differences(before, after)) or 'stays'}"


def _differences(before: Deployment, after: Deployment) -> list[str]:
    if before.model.uri != after.model.uri:
        return [f"{before.model.uri} → {after.model.uri}"]
    if before.model.bento != after.model.bento:
        return [f"packaged anew ({after.model.uri})"]
    pairs = {
        "replicas": (before.replicas, after.replicas),
        "workers": (before.workers, after.workers),
        "cpu": (before.resources.cpu, after.resources.cpu),
        "memory": (before.resources.memory, after.resources.memory),
        "gpu": (before.resources.gpu, after.resources.gpu),
        "image": (before.image, after.image),
    }
    names = dict.fromkeys((*before.environment, *after.environment))
    pairs |= {_key(name): (before.environment.get(name), after.environment.get(name)) for name in names}
    return [f"{name} {_shown(old)} → {_shown(new)}" for name, (old, new) in pairs.items() if old != new]


def _key(variable: str) -> str:
    return variable.removeprefix("MODELSERVE_").lower()


def _shown(value: object) -> str:
    return "default" if value in (None, "") else str(value)
