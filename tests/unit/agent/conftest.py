"""Values with a valid default; a test names only what matters to it."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from mlflow_deploy_plugin.agent.envoy.routes import Served
from mlflow_deploy_plugin.manifests.model import Backend, Deployment, Endpoint, ModelIdentity, Route


def deployment(name: str, *, endpoint: str = "churn", digest: str = "", **changes: Any) -> Deployment:
    model = ModelIdentity(bento=f"{name}:1", uri=f"models:/{name}/1", digest=digest or f"sha256:{name}", name=name)
    base = Deployment(name=name, endpoint=endpoint, stage="production", model=model, image="modelserve.invalid/x")
    return replace(base, **changes)


def served(
    *deployments: Deployment, commit: str = "c1", endpoint: str = "churn", salt: str = "salt", **weights: int
) -> Served:
    """Stable is the first; the weights of the others are taken from it. Underscores in names stand for hyphens."""
    named = {name.replace("_", "-"): weight for name, weight in weights.items()}
    stable, *others = [one.name for one in deployments]
    slots = [Backend(deployment=name, weight=named.get(name, 0)) for name in others]
    slots.append(Backend(deployment=stable, weight=1000 - sum(slot.weight for slot in slots)))
    route = Route(endpoint=endpoint, stage="production", backends=tuple(slots), stable=stable, salt=salt)
    return Served(commit=commit, endpoint=Endpoint(route=route, deployments={one.name: one for one in deployments}))


@pytest.fixture(scope="session")
def make_deployment() -> Callable[..., Deployment]:
    return deployment


@pytest.fixture(scope="session")
def make_served() -> Callable[..., Served]:
    return served
