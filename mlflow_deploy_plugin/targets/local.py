"""This machine as a target: its own repository, its own agent, and a commit that is live when a command returns."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, assert_never

from mlflow_deploy_plugin.agent.client import Applied, Refused, TimedOut
from mlflow_deploy_plugin.agent.client import Outcome as Word
from mlflow_deploy_plugin.agent.status import AgentStatus
from mlflow_deploy_plugin.errors import AgentError, ConflictError, ModelserveError
from mlflow_deploy_plugin.manifests.model import Endpoint, Files
from mlflow_deploy_plugin.manifests.trailers import Message, Trailers
from mlflow_deploy_plugin.packaging.gpu import Gpus
from mlflow_deploy_plugin.packaging.machine import Machine
from mlflow_deploy_plugin.repository import CommitResult, Intent
from mlflow_deploy_plugin.targets.base import DEFAULT_WAIT_S, Outcome, Standing
from mlflow_deploy_plugin.targets.intents import operation_id
from mlflow_deploy_plugin.targets.ledger import LedgerTarget
from mlflow_deploy_plugin.targets.restoring import restore
from mlflow_deploy_plugin.targets.wording import short


class Agent(Protocol):
    """The agent of one home, as a target needs it."""

    def start(self) -> None:
        """Start it where it does not run.

        Raises:
            AgentError: it cannot; the message says why.
        """
        ...

    def wait_applied(self, commit: str, timeout_s: float, *, endpoint: str) -> Word:
        """Its word on what ``commit`` says of ``endpoint``, once it has one."""
        ...

    def wait_until(self, holds: Callable[[AgentStatus], bool], timeout_s: float) -> bool:
        """Wait until its status is so; whether it came to be."""
        ...

    def status(self) -> AgentStatus | None:
        """What it said last; ``None`` where none runs."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalTarget(LedgerTarget):
    """Commits, waits for the agent's word, and takes an endpoint back that could not be brought to life."""

    agent: Agent
    count: Callable[[], Gpus]
    here: Machine
    """The machine that the agent starts processes on."""
    say: Callable[[str], None]

    @property
    def lets_clients_pick(self) -> bool:
        """Yes, in every stage: the gateway of this machine answers this machine alone."""
        return True

    def gpus(self) -> Gpus | None:
        """GPUs of this machine."""
        return self.count()

    def machine(self) -> Machine | None:
        """This machine."""
        return self.here

    def prepare(self) -> None:
        """Start the agent first: where it cannot start, nothing has been committed yet."""
        self.ledger.open()
        self.agent.start()

    def commit(self, edit: Intent, *, operation: str, endpoint: str, wait_s: float = DEFAULT_WAIT_S) -> Outcome:
        """One commit, live on return.

        Raises:
            AgentError: it could not be brought to life; ``endpoint`` is as it was before.
        """
        self.prepare()
        result = self.ledger.change(edit, operation=operation)
        if result.sha == result.before:  # not ``changed``: an operation that was made before may not be live yet
            return Outcome(state="unchanged", commit=result.sha, before=result.before)
        word = self._word(result, endpoint, wait_s)
        match word:
            case Applied():
                return Outcome(state="applied", commit=result.sha, before=result.before)
            case Refused():
                raise self._restored(result, endpoint, f"was refused: {word.reason}", wait_s)
            case TimedOut():
                reason = f"was not live within {wait_s:g} s (-C wait_s waits longer); `modelserve status` says more"
                raise self._restored(result, endpoint, reason, wait_s)
            case _:
                assert_never(word)

    def _word(self, result: CommitResult, endpoint: str, wait_s: float) -> Word:
        try:
            return self.agent.wait_applied(result.sha, wait_s, endpoint=endpoint)
        except KeyboardInterrupt:
            self.say(
                f"interrupted: commit {short(result.sha)} is made and the agent goes on with it; see `modelserve"
                f" status`, and undo it with `git revert {short(result.sha)}` in a clone of {self._repository()}"
            )
            raise

    def _repository(self) -> str:
        status = self.agent.status()
        return status.repository if status else "the repository that `modelserve status` names"

    def _restored(self, result: CommitResult, endpoint: str, reason: str, wait_s: float) -> AgentError:
        """The error to raise, once the endpoint is back where it was."""
        failed = f"commit {short(result.sha)} {reason}"
        try:
            back = self._restore(result, endpoint, reason)
        except ConflictError as error:
            return AgentError(f"{failed}; {error}")
        except ModelserveError as error:
            return AgentError(f"{failed}; and endpoint {endpoint!r} could not be taken back ({error})")
        word = self.agent.wait_applied(back.sha, wait_s, endpoint=endpoint)
        also = "" if isinstance(word, Applied) else ", which the agent has not confirmed yet"
        return AgentError(f"{failed}; endpoint {endpoint!r} is as before by commit {short(back.sha)}{also}")

    def _restore(self, result: CommitResult, endpoint: str, reason: str) -> CommitResult:
        operation = operation_id(("restore", endpoint), result.sha)
        good = self.ledger.files_at(result.before)
        failed = self.ledger.files_at(result.sha)
        trailers = Trailers(
            operation=operation,
            endpoint=endpoint,
            stage=self.stage_name,
            action="restore",
            from_=result.sha,
            to=result.before,
            reason=reason,
        )
        subject = f"{endpoint}: back to {short(result.before) or 'nothing'}, since {short(result.sha)} was not served"

        def edit(files: Files) -> tuple[Files, Message]:
            tree = restore(files, failed=failed, good=good, stage=self.stage_name, endpoint=endpoint)
            return tree, Message(subject=subject, trailers=trailers)

        return self.ledger.change(edit, operation=operation)

    def standing(self, endpoint: Endpoint, deployment: str = "") -> Standing:
        """What the agent says; stopped where none runs."""
        status = self.agent.status()
        if status is None:
            return Standing(state="stopped", reason="no agent runs; `modelserve agent` or any prediction starts it")
        known = status.deployments.get(deployment)
        state, reason = (known.state, known.reason) if known else _of_endpoint(status, endpoint.route.endpoint)
        return Standing(state=state, reason=reason, gateway=status.gateway, applied=status.applied)

    def gateway(self, endpoint: Endpoint) -> str:
        """The agent's gateway; where no agent serves ``endpoint`` yet, it is started and waited for.

        Raises:
            AgentError: it cannot start, or cannot serve the endpoint.
        """
        name = endpoint.route.endpoint
        status = self.agent.status()
        if status is None or name not in status.endpoints:
            self.agent.start()
            word = self.agent.wait_applied(self.head(), DEFAULT_WAIT_S, endpoint=name)
            status = self.agent.status()
            if status is None or name not in status.endpoints:
                reason = word.reason if isinstance(word, Refused) else "see `modelserve status`"
                raise AgentError(f"the agent does not serve endpoint {name!r}: {reason}")
        if _is_starting(status, name):
            self.say(f"waiting for the models of endpoint {name} to start")
            self.agent.wait_until(lambda now: not _is_starting(now, name), DEFAULT_WAIT_S)
        return status.gateway


def _is_starting(status: AgentStatus, endpoint: str) -> bool:
    """Whether a deployment that has users is still on its way, as after a start of the agent."""
    served = [name for name, weight in status.endpoints[endpoint].weights.items() if weight]
    return any(status.deployments[name].state == "starting" for name in served if name in status.deployments)


def _of_endpoint(status: AgentStatus, endpoint: str) -> tuple[str, str]:
    if endpoint in status.endpoints:
        return "ready", ""
    reason = status.refused.reason if status.refused else status.message
    return "starting", reason
