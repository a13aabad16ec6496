"""What a target is to those who use it: a stage that can be read, and changed by one commit at a time."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from mlflow_deploy_plugin.manifests.model import Endpoint, Files, Stage
from mlflow_deploy_plugin.packaging.gpu import Gpus
from mlflow_deploy_plugin.packaging.machine import Machine
from mlflow_deploy_plugin.repository import Commit, Intent

State = Literal["applied", "pending", "unchanged"]
"""Of a commit: live; pushed, and somebody else applies it; not made, since there was nothing to change."""

DEFAULT_WAIT_S = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a wish."""

    state: State
    commit: str
    """The commit that says it; the newest one where nothing changed."""
    before: str = ""
    review: str = ""
    """What a person does to have it merged; empty: nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How a deployment stands in the world, as far as this machine can see."""

    state: str
    """starting, ready, draining or failed by the agent's word; pending where nobody here applies it."""
    reason: str = ""
    gateway: str = ""
    """Address of the gateway; empty: unknown."""
    applied: str = ""
    """Commit that is live; empty: unknown."""
    facts: Mapping[str, str] = field(default_factory=dict)
    """More that the agent says, for people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What one look at the repository saw."""

    commit: str
    """Empty where the repository has none yet."""
    stage: Stage


class DeploymentTarget(Protocol):
    """One stage of one GitOps repository."""

    @property
    def stage_name(self) -> str:
        """Which stage."""
        ...

    @property
    def uri(self) -> str:
        """What MLflow calls it."""
        ...

    @property
    def lets_clients_pick(self) -> bool:
        """Whether a new endpoint hears the header ``x-model-version``, where nobody says."""
        ...

    def head(self) -> str:
        """The newest commit; empty where the repository has none yet."""
        ...

    def files(self) -> Files:
        """The newest tree."""
        ...

    def files_at(self, commit: str, under: str = "") -> Files:
        """The tree of ``commit``, or one folder of it; empty where there is none."""
        ...

    def stage(self) -> Stage:
        """The newest tree's say on this stage."""
        ...

    def read(self) -> Reading:
        """The newest commit and its say on this stage, in one look."""
        ...

    def prepare(self) -> None:
        """Make ready what a commit will need, before anything is packaged: cheap, idempotent."""
        ...

    def commit(self, edit: Intent, *, operation: str, endpoint: str, wait_s: float = DEFAULT_WAIT_S) -> Outcome:
        """One commit, and where this machine applies it: wait until it is live, or take ``endpoint`` back.

        Raises:
            AgentError: it could not be brought to life; the message has both commits.
            GitError, RetryLaterError: the repository refused.
        """
        ...

    def history(self, endpoint: str = "", *, at: str = "") -> tuple[Commit, ...]:
        """Commits that touched this stage, or one endpoint of it; newest first.

        Up to the commit ``at``, which was seen before: nobody looks anew. Empty: up to the newest, after another look.
        """
        ...

    def standing(self, endpoint: Endpoint, deployment: str = "") -> Standing:
        """How a deployment, or an endpoint, stands."""
        ...

    def gateway(self, endpoint: Endpoint) -> str:
        """Address that predictions of ``endpoint`` go to.

        Raises:
            ConfigError: nobody says; the message says how to.
            AgentError: this machine's gateway cannot start.
        """
        ...

    def gpus(self) -> Gpus | None:
        """GPUs that deployments may use; ``None`` where they run elsewhere."""
        ...

    def machine(self) -> Machine | None:
        """The machine that deployments start on; ``None`` where they run elsewhere: of a cluster nothing is known."""
        ...
