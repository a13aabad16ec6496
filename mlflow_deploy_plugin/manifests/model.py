"""The tree as values: what one stage of the GitOps repository says, free of YAML and of files.

Does not parse or write; :mod:`.parse` and :mod:`.edit` do. A wrong value cannot be built.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType

from mlflow_deploy_plugin.errors import ConfigError
from mlflow_deploy_plugin.spec.names import TOTAL_WEIGHT, require_label

Files = Mapping[str, str]
"""A tree: path from the repository's root to text. Changing one means building another."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """One slot of a split. A deployment may hold several slots; their order decides who moves when a weight does."""

    deployment: str
    weight: int

    def __post_init__(self) -> None:
        require_label(self.deployment, what="deployment")
        if not 0 <= self.weight <= TOTAL_WEIGHT:
            raise ConfigError(f"weight {self.weight} of {self.deployment!r} is not within 0 to {TOTAL_WEIGHT}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """A version that automation must not promote again."""

    deployment: str
    model_digest: str
    reason: str
    until: datetime | None = None

    def stands(self, now: datetime) -> bool:
        """Whether its time is not over."""
        return self.until is None or now < self.until


def standing_hold(holds: Iterable[Hold], model_digest: str, now: datetime) -> Hold | None:
    """The hold on a model, whatever its deployment is called; ``None`` where there is none or its time is over."""
    return next((hold for hold in holds if hold.model_digest == model_digest and hold.stands(now)), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mirror:
    """A deployment in the shadow: it is sent copies of requests, and nobody waits for what it answers."""

    deployment: str
    share: int
    """Of 1000 requests of the split."""

    def __post_init__(self) -> None:
        require_label(self.deployment, what="deployment")
        if not 0 < self.share <= TOTAL_WEIGHT:
            raise ConfigError(f"share {self.share} of shadow {self.deployment!r} is not within 1 to {TOTAL_WEIGHT}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """The split of one endpoint and the state of its rollout."""

    endpoint: str
    stage: str
    backends: tuple[Backend, ...]
    stable: str
    salt: str
    rollout: str = ""
    phase: str = ""
    step: int = 0
    since: datetime | None = None
    holds: tuple[Hold, ...] = ()
    """Versions that automation must not promote again, the newest hold first."""
    baseline: str = ""
    """Deployment that is a fresh copy of stable, which a canary is compared with; empty: none."""
    gateway_address: str = ""
    mirror: Mirror | None = None
    approvals: int = 0
    """How many approvals this step has; who gave them, the commits say."""
    hears_override: bool = True
    """Whether the header ``x-model-version`` picks a deployment; else who sends it is dealt like everybody."""
    has_grpc: bool = True
    """Whether gRPC is routed too, by the same split; trees of earlier versions do not say so."""

    def __post_init__(self) -> None:
        require_label(self.endpoint, what="endpoint")
        require_label(self.stage, what="stage")
        if (total := sum(backend.weight for backend in self.backends)) != TOTAL_WEIGHT:
            raise ConfigError(f"weights of endpoint {self.endpoint!r} sum to {total}, not {TOTAL_WEIGHT}")
        if self.stable not in self.deployments:
            raise ConfigError(
                f"stable {self.stable!r} of endpoint {self.endpoint!r} is none of its backends:"
                f" {', '.join(self.deployments)}"
            )
        if self.baseline and (self.baseline == self.stable or self.baseline not in self.deployments):
            raise ConfigError(
                f"baseline {self.baseline!r} of endpoint {self.endpoint!r} must be one of its backends beside stable:"
                f" {', '.join(self.deployments)}; remove the annotation where the rollout is over"
            )
        if self.mirror is not None and self.weights.get(self.mirror.deployment, 0):
            raise ConfigError(
                f"shadow {self.mirror.deployment!r} of endpoint {self.endpoint!r} has users too, and would predict for"
                " them twice; take its weight to 0, or remove the mirror"
            )

    @property
    def hold(self) -> Hold | None:
        """The newest hold."""
        return next(iter(self.holds), None)

    @property
    def deployments(self) -> tuple[str, ...]:
        """Every deployment of the split once, in slot order."""
        return tuple(dict.fromkeys(backend.deployment for backend in self.backends))

    @property
    def weights(self) -> Mapping[str, int]:
        """Weight of each deployment, summed over its slots."""
        totals = dict.fromkeys(self.deployments, 0)
        for backend in self.backends:
            totals[backend.deployment] += backend.weight
        return MappingProxyType(totals)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelIdentity:
    """Which model a deployment serves, as the annotations of its manifest say it."""

    bento: str
    """Bento tag, ``name:version``."""
    uri: str
    digest: str
    name: str
    version: str = ""
    run_id: str = ""
    flavor: str = "python_function"


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """What one replica asks for. Strings are Kubernetes quantities; empty: not stated."""

    cpu: str = ""
    memory: str = ""
    gpu: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """One model version and how it is run."""

    name: str
    endpoint: str
    stage: str
    model: ModelIdentity
    image: str
    """Image by digest, or the placeholder ``modelserve.invalid/NAME@sha256:…`` that is named by the model digest."""
    replicas: int = 1
    workers: int = 1
    """Processes of one replica (``MODELSERVE_WORKERS``)."""
    resources: Resources = field(default_factory=Resources)
    opens_grpc: bool = field(default=True, compare=False)
    """Whether its Service opens the port of gRPC, as those of earlier versions do not; no part of what is served."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Every other variable of the container; :class:`mlflow_deploy_plugin.spec.settings.ServingSettings` reads it."""

    def __post_init__(self) -> None:
        require_label(self.name, what="deployment")
        if self.replicas < 1 or self.workers < 1:
            raise ConfigError(
                f"deployment {self.name!r} has {self.replicas} replicas of {self.workers} workers;"
                " each must be at least 1"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A route with the deployments it splits traffic over, and any that stand beside it at weight 0."""

    route: Route
    deployments: Mapping[str, Deployment]

    def __post_init__(self) -> None:
        named = (*self.route.deployments, *([self.route.mirror.deployment] if self.route.mirror else []))
        if missing := [name for name in named if name not in self.deployments]:
            raise ConfigError(
                f"endpoint {self.route.endpoint!r} sends requests to unknown deployment {missing[0]!r};"
                f" known: {', '.join(self.deployments) or 'none'}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Everything that one stage serves. Names of deployments are unique within it."""

    name: str
    endpoints: Mapping[str, Endpoint]

    def deployment(self, name: str) -> Deployment | None:
        """The deployment of that name, whichever endpoint holds it."""
        return next((e.deployments[name] for e in self.endpoints.values() if name in e.deployments), None)
