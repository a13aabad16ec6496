"""Making the one commit of a tick, or saying what it would be."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from mlflow_deploy_plugin.manifests.model import Files
from mlflow_deploy_plugin.manifests.trailers import Message
from mlflow_deploy_plugin.targets.base import DeploymentTarget

SHORT = 9
"""Characters of a commit in a sentence."""


class Wish(Protocol):
    """A change that knows its own name; :class:`~pipelines.promotion.rollback.Rollback` is one."""

    @property
    def endpoint(self) -> str:
        """The one endpoint that it touches."""
        ...

    @property
    def operation(self) -> str:
        """The same however often the act is tried."""
        ...

    def apply(self, files: Files, *, now: datetime) -> tuple[Files, Message]:
        """The tree in which it is fulfilled, and how its commit reads."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """What became of a wish to commit."""

    state: Literal["applied", "pending", "unchanged", "dry-run"]
    commit: str
    text: str
    """For people: one line."""
    waits: bool = False
    """Whether a commit was only said, not made."""


def commit(target: DeploymentTarget, wish: Wish, *, now: datetime, is_dry: bool, done: str) -> Applied:
    """Make the commit of ``wish``; ``done`` says in the past tense what it does.

    Raises:
        ConflictError: the head no longer carries what was judged.
        GitError, RetryLaterError, AgentError: it could not be committed or brought to life.
    """
    if is_dry:
        before = target.files()
        after, message = wish.apply(before, now=now)
        is_same = dict(after) == dict(before)
        text = "unchanged" if is_same else f"would commit: {message.subject}"
        return Applied(state="dry-run", commit="", text=text, waits=not is_same)
    outcome = target.commit(lambda files: wish.apply(files, now=now), operation=wish.operation, endpoint=wish.endpoint)
    if outcome.state == "unchanged" and outcome.review:
        text = f"unchanged: proposed before in commit {outcome.commit[:SHORT]}; {outcome.review}"
        return Applied(state="unchanged", commit=outcome.commit, text=text)
    if outcome.state == "unchanged":
        return Applied(state="unchanged", commit=outcome.commit, text=f"unchanged: {done} before")
    if outcome.review:
        return Applied(
            state=outcome.state,
            commit=outcome.commit,
            text=f"{done} in commit {outcome.commit[:SHORT]}, which waits to be merged: {outcome.review}",
        )
    live = "live" if outcome.state == "applied" else "pushed; whoever applies this repository brings it to life"
    text = f"{done} by commit {outcome.commit[:SHORT]} ({live})"
    return Applied(state=outcome.state, commit=outcome.commit, text=text)
