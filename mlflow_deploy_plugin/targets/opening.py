"""From a target URI to a target. Reads no network: a repository is opened when it is first asked."""

import contextlib
import functools
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from mlflow_deploy_plugin import manifests
from mlflow_deploy_plugin.agent import client as agent_client
from mlflow_deploy_plugin.agent.status import AgentStatus
from mlflow_deploy_plugin.config.environment import agent_stage
from mlflow_deploy_plugin.config.home import Home
from mlflow_deploy_plugin.config.target import Target
from mlflow_deploy_plugin.errors import AlreadyExistsError, ConfigError
from mlflow_deploy_plugin.manifests.trailers import Message, Trailers
from mlflow_deploy_plugin.packaging.gpu import detect
from mlflow_deploy_plugin.packaging.machine import ThisMachine
from mlflow_deploy_plugin.repository import Repository, RepositoryDoor
from mlflow_deploy_plugin.targets.base import DeploymentTarget
from mlflow_deploy_plugin.targets.ledger import Ledger
from mlflow_deploy_plugin.targets.local import LocalTarget
from mlflow_deploy_plugin.targets.remote import RemoteTarget

POLL_S: Final = 0.05
FIRST: Final = Message(subject="Begin the GitOps repository of this machine", trailers=Trailers(operation="begin"))


def open_target(uri: str, *, environment: Mapping[str, str], say: Callable[[str], None]) -> DeploymentTarget:
    """The target that ``uri`` names; ``say`` takes what a person should read besides the answer.

    Raises:
        ConfigError: the URI or a variable breaks a rule.
    """
    home = Home.from_environment(environment)
    target = Target.parse(uri, own_stage=agent_stage(environment))
    if target.repository is not None:
        ledger = Ledger(stage_name=target.stage, open=_opened(target.repository, target, home))
        return RemoteTarget(uri=str(target), ledger=ledger, gateway_url=target.gateway, say=say)
    return LocalTarget(
        uri=str(target),
        ledger=Ledger(stage_name=target.stage, open=_own(home)),
        agent=HomeAgent(home=home, stage=target.stage),
        count=lambda: detect(environment),
        here=ThisMachine(environment=environment, bento=home.bento, pids=lambda bento: _pids(home, bento)),
        say=say,
    )


def _pids(home: Home, bento: str) -> tuple[int, ...]:
    """Processes that serve a Bento, by the agent's word."""
    status = agent_client.read_status(home)
    served = status.deployments.values() if status else ()
    return tuple(worker.pid for one in served if one.bento == bento for worker in one.workers)


def _opened(repository: str, target: Target, home: Home) -> Callable[[], RepositoryDoor]:
    @functools.cache
    def opened() -> RepositoryDoor:
        home.ensure()
        store = Repository.open(repository, clones=home.clones, branch=target.branch, root=target.root)
        return replace(store, mode=target.mode)

    return opened


def _own(home: Home) -> Callable[[], RepositoryDoor]:
    """The machine's own repository, made on first use."""

    @functools.cache
    def opened() -> RepositoryDoor:
        home.ensure()
        if not home.repository.exists():
            with contextlib.suppress(AlreadyExistsError):  # another command was quicker
                Repository.create_bare(home.repository, manifests.skeleton(), FIRST)
        return Repository.open(str(home.repository), clones=home.clones)

    return opened


@dataclass(frozen=True, slots=True, kw_only=True)
class HomeAgent:
    """The agent of one home, as long as it serves that home's own repository."""

    home: Home
    stage: str

    def start(self) -> None:
        """Start it where it does not run.

        Raises:
            ConfigError: one runs that was told to serve something else.
            AgentError: it cannot start.
        """
        status = agent_client.start(self.home, stage=self.stage)
        own = self.home.repository.as_uri()
        if (status.repository, status.stage) != (own, self.stage):
            raise ConfigError(
                f"this machine's agent serves stage {status.stage!r} of {status.repository}, not stage {self.stage!r}"
                f" of {own}; name that repository in the target, or `modelserve stop` first"
            )

    def wait_applied(self, commit: str, timeout_s: float, *, endpoint: str) -> agent_client.Outcome:
        """Its word on what ``commit`` says of ``endpoint``."""
        return agent_client.wait_applied(self.home, commit, timeout_s, endpoint=endpoint)

    def wait_until(self, holds: Callable[[AgentStatus], bool], timeout_s: float) -> bool:
        """Look at its status until it is so; whether it came to be."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if (status := self.status()) is not None and holds(status):
                return True
            time.sleep(POLL_S)
        return False

    def status(self) -> AgentStatus | None:
        """What it said last; ``None`` where none runs."""
        return agent_client.read_status(self.home)
