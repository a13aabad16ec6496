"""Builders of valid trees; a test names only what matters to it."""

from collections.abc import Callable, Mapping
from typing import Protocol

import pytest

from mlflow_deploy_plugin import manifests
from mlflow_deploy_plugin.manifests.model import Deployment, Files, ModelIdentity, Resources

STAGE = "production"


class MakeDeployment(Protocol):
    def __call__(  # noqa: PLR0913  a builder names everything that a test may want to
        self,
        name: str = ...,
        *,
        endpoint: str = ...,
        version: str = ...,
        model_name: str = ...,
        replicas: int = ...,
        workers: int = ...,
        resources: Resources = ...,
        environment: Mapping[str, str] | None = ...,
    ) -> Deployment: ...


@pytest.fixture(scope="session")
def make_deployment() -> MakeDeployment:
    def make(  # noqa: PLR0913
        name: str = "churn",
        *,
        endpoint: str = "churn",
        version: str = "1",
        model_name: str = "churn",
        replicas: int = 1,
        workers: int = 1,
        resources: Resources | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Deployment:
        digest = f"sha256:{version * 64}"[:71]
        return Deployment(
            name=name,
            endpoint=endpoint,
            stage=STAGE,
            model=ModelIdentity(
                bento=f"{name}:{version}",
                uri=f"models:/{model_name}/{version}",
                digest=digest,
                name=model_name,
                version=version,
                run_id="r1",
            ),
            image=f"modelserve.invalid/{name}@{digest}",
            replicas=replicas,
            workers=workers,
            resources=resources or Resources(),
            environment=environment or {},
        )

    return make


@pytest.fixture(scope="session")
def one(make_deployment: MakeDeployment) -> Files:
    """One endpoint, ``churn``, with one deployment of the same name."""
    return manifests.add_endpoint({}, make_deployment(), salt="s1")


@pytest.fixture(scope="session")
def canary(one: Files, make_deployment: MakeDeployment) -> Files:
    """The endpoint ``churn`` with ``churn-v4`` at 10 %."""
    return manifests.add_deployment(one, make_deployment("churn-v4", version="4"), weight=100)


@pytest.fixture
def diff_lines() -> Callable[[Files, Files], list[str]]:
    """Lines that one tree has less and another more, with their signs."""

    def lines(before: Files, after: Files) -> list[str]:
        found: list[str] = []
        for path in sorted(before.keys() | after.keys()):
            old, new = before.get(path, "").splitlines(), after.get(path, "").splitlines()
            if len(old) == len(new):
                pairs = [(a, b) for a, b in zip(old, new, strict=True) if a != b]
                found += [line for a, b in pairs for line in (f"-{a.strip()}", f"+{b.strip()}")]
            else:
                found.append(f"{path}: {len(new) - len(old):+d} lines")
        return found

    return lines
