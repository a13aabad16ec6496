"""Units: what one Envoy cluster and its workers serve, for ever the same. Pure.

A deployment whose model, environment or resources change becomes another unit of the same name, so that the old one
serves until the new one is ready. Replicas and workers are a count and no part of a unit: a scaled one stays itself.
Envoy resets a cluster's counters whenever the cluster changes, which is a second reason never to change one.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import ceil
from typing import Self

from mlflow_deploy_plugin.errors import ConfigError
from mlflow_deploy_plugin.manifests.model import Deployment, Endpoint
from mlflow_deploy_plugin.spec.settings import ServingSettings

GENERATION_DIGITS = 10
GRPC = "+grpc"
SHADOW = "+shadow"


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """One generation of one deployment."""

    deployment: Deployment
    """As its manifest says; ``replicas`` and ``workers`` do not count."""
    generation: str

    @classmethod
    def of(cls, deployment: Deployment) -> Self:
        """The unit that serves ``deployment``."""
        return cls(deployment=deployment, generation=_generation(deployment))

    @property
    def key(self) -> str:
        """Name of its cluster: ``churn-v4@3f0a9c1d22``."""
        return f"{self.deployment.name}@{self.generation}"

    @property
    def timeout_s(self) -> float:
        """Seconds that the deployment itself allows a request."""
        try:
            return ServingSettings.from_environment(self.deployment.environment).timeout_s
        except ConfigError:  # the worker refuses to start with it and says so; routing needs only some number
            return ServingSettings().timeout_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A unit that must run, and in how many processes."""

    unit: Unit
    processes: int


def deployment_of(key: str) -> str:
    """The deployment that a cluster's name belongs to.

    >>> deployment_of("churn-v4@3f0a9c1d22")
    'churn-v4'
    """
    return key.partition("@")[0]


def grpc_cluster(key: str) -> str:
    """The cluster of a unit's gRPC: the same workers at another port, in another protocol.

    >>> grpc_cluster("churn-v4@3f0a9c1d22")
    'churn-v4@3f0a9c1d22+grpc'
    """
    return f"{key}{GRPC}"


def unit_of(cluster: str) -> str:
    """The unit that a cluster serves.

    >>> unit_of("churn-v4@3f0a9c1d22+grpc"), unit_of("churn-v4@3f0a9c1d22")
    ('churn-v4@3f0a9c1d22', 'churn-v4@3f0a9c1d22')
    """
    return cluster.partition("+")[0]


def is_grpc(cluster: str) -> bool:
    """Whether a unit's cluster speaks gRPC."""
    return GRPC in cluster


def shadow_cluster(cluster: str, *, limit_s: float) -> str:
    """The cluster of the copies that a unit's ``cluster`` is sent: the same workers, and a time that a copy may take.

    >>> shadow_cluster("churn-v4@3f0a9c1d22+grpc", limit_s=65.0)
    'churn-v4@3f0a9c1d22+grpc+shadow65'
    """
    return f"{cluster}{SHADOW}{ceil(limit_s)}"


def shadow_limit_s(cluster: str) -> int | None:
    """Seconds that a copy may take there; ``None`` where ``cluster`` is none of copies.

    >>> shadow_limit_s("churn-v4@3f0a9c1d22+shadow65"), shadow_limit_s("churn-v4@3f0a9c1d22")
    (65, None)
    """
    _, mark, seconds = cluster.partition(SHADOW)
    return int(seconds) if mark else None


def grpc_port(port: int) -> int:
    """Where the worker of ``port`` serves gRPC: the port beside."""
    return port + 1


def wanted_of(endpoints: Iterable[Endpoint]) -> dict[str, Wanted]:
    """The units of ``endpoints`` by key; one that several of them want runs as often as the hungriest says."""
    wanted: dict[str, Wanted] = {}
    for endpoint in endpoints:
        for deployment in endpoint.deployments.values():
            unit, processes = Unit.of(deployment), deployment.replicas * deployment.workers
            known = wanted.get(unit.key)
            if known is None or known.processes < processes:
                wanted[unit.key] = Wanted(unit=unit, processes=processes)
    return wanted


def _generation(deployment: Deployment) -> str:
    resources = deployment.resources
    what: Mapping[str, object] = {
        "bento": deployment.model.bento,
        "digest": deployment.model.digest,
        "environment": dict(deployment.environment),
        "resources": [resources.cpu, resources.memory, resources.gpu],
        "endpoint": [deployment.stage, deployment.endpoint],
    }
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:GENERATION_DIGITS]
