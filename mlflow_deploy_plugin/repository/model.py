"""What the repository speaks of: commits, results, and the door that rooms above knock on."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from mlflow_deploy_plugin.manifests.model import Files
from mlflow_deploy_plugin.manifests.trailers import Message, Trailers

Intent = Callable[[Files], tuple[Files, Message]]
"""Decides on the newest tree what it should become. Called again on a newer one when somebody else was quicker, so it
must check its own rules against what it is given; what it raises ends the change."""

Mode = Literal["direct", "pull-request"]
"""Whether a change is pushed to the branch itself, or to one of its own for a person to merge."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """One commit, as git knows it."""

    sha: str
    parents: tuple[str, ...]
    author: str
    email: str
    time: datetime
    """When it was committed, by the clock of whoever did; order is ancestry, never time."""
    message: str

    @property
    def subject(self) -> str:
        """First line of the message."""
        return self.message.partition("\n")[0]

    @property
    def trailers(self) -> Trailers | None:
        """Ours; ``None`` for a commit that a person or another program made."""
        return Trailers.parse(self.message)

    @property
    def operations(self) -> tuple[str, ...]:
        """The operations that it carries: one, or several where a squash merge made one commit of several."""
        return tuple(found.operation for found in Trailers.parse_all(self.message))


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitResult:
    """What became of an intent."""

    sha: str
    """The commit that holds it; the head where nothing was to change; empty where there is none at all."""
    changed: bool
    """Whether this call made the commit."""
    before: str
    """The commit that it was decided on; empty for the first of a repository."""
    review: str = ""
    """What a person does to have it merged; empty: it is on the branch already."""


class RepositoryDoor(Protocol):
    """One branch of one git repository."""

    def fetch(self) -> None:
        """See what others have pushed."""
        ...

    def head(self) -> Commit | None:
        """The newest commit that the last fetch or change saw; ``None`` in an empty repository."""
        ...

    def files(self, sha: str, under: str = "") -> Files:
        """The texts of a commit, by path; of one folder where ``under`` is given; none for an empty ``sha``."""
        ...

    def history(self, *, path: str = "", limit: int | None = None, at: str = "") -> tuple[Commit, ...]:
        """Commits that touched ``path``, newest first, up to the commit ``at``; all, up to the head, where empty."""
        ...

    def is_ancestor(self, older: str, newer: str) -> bool:
        """Whether ``newer`` builds on ``older``; not so after a rewrite of history."""
        ...

    def refusal(self, sha: str, *, since: str = "") -> str:
        """Why the tree's own policy on signatures does not let ``sha`` be served; empty: it may be.

        ``since`` is a commit before it that is trusted already; empty: none.
        """
        ...

    def change(self, intent: Intent, *, operation: str) -> CommitResult:
        """One commit by optimistic locking, made once for an ``operation`` however often it is asked for."""
        ...
