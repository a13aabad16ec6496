"""``status.json``: the agent's word on what it serves, for people, targets and tests. Values; no disk."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Self

from mlflow_deploy_plugin.agent.codec import from_document, to_document

Phase = Literal["idle", "applying", "degraded"]
State = Literal["starting", "ready", "draining", "failed"]
WorkerState = Literal["starting", "ready", "unready", "draining", "stopping"]

REMEMBERED = 50
"""Commits whose outcome is kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedCommit:
    """A commit that is not, or not wholly, served, and why."""

    commit: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What became of a commit."""

    commit: str
    outcome: Literal["applied", "refused"]
    reason: str = ""
    endpoints: tuple[str, ...] = ()
    """Those that were refused; none where the whole commit was."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointStatus:
    """An endpoint as the gateway serves it."""

    url: str
    weights: Mapping[str, int]
    stable: str
    commit: str
    """The commit that this split is of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerStatus:
    """One process."""

    pid: int
    port: int
    state: WorkerState
    restarts: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentStatus:
    """A deployment and its processes."""

    endpoint: str
    state: State
    reason: str = ""
    model_uri: str = ""
    bento: str = ""
    workers: tuple[WorkerStatus, ...] = ()
    gpus: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentStatus:
    """Everything that the agent says. Commits are empty while there is none."""

    version: str
    pid: int
    started: str
    """RFC 3339."""
    stage: str
    repository: str
    """What ``git clone`` takes."""
    gateway: str
    metrics: str = ""
    """URL of the agent's metrics; empty: nobody answers."""
    discovery: str = ""
    """URL of the list of everything that Prometheus can scrape here, for its HTTP service discovery."""
    commit: str = ""
    """Newest seen."""
    applied: str = ""
    """Newest that is served whole, proven by Envoy."""
    refused: RefusedCommit | None = None
    phase: Phase = "applying"
    message: str = ""
    envoy: int = 0
    """Process id; 0: none runs."""
    endpoints: Mapping[str, EndpointStatus] = field(default_factory=dict)
    deployments: Mapping[str, DeploymentStatus] = field(default_factory=dict)
    pending: Mapping[str, str] = field(default_factory=dict)
    """Endpoints on their way to a newer state, and what they wait for."""
    failing: Mapping[str, str] = field(default_factory=dict)
    """Endpoints whose newest state is refused, and why."""
    seen: tuple[str, ...] = ()
    """The newest commits that were considered, oldest first."""
    verdicts: tuple[Verdict, ...] = ()
    """What became of the newest commits, oldest first."""
    is_settled: bool = False
    """Whether Envoy has proven all that it was told; ``endpoints`` is what users get then."""
    updated: str = ""

    def to_document(self) -> dict[str, Any]:
        """What ``modelserve status --json`` prints."""
        document: dict[str, Any] = to_document(self)
        return document

    def to_json(self) -> str:
        """Text of ``status.json``."""
        return json.dumps(self.to_document(), indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The status that :meth:`to_json` wrote. Raises ``ValueError`` where it is none."""
        try:
            return from_document(cls, json.loads(text))
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not a status of the agent: {error}") from error
