"""A repository in memory: the same verbs and the same rules as the real one, for tests of the rooms above."""

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from mlflow_deploy_plugin.errors import RetryLaterError
from mlflow_deploy_plugin.manifests.model import Files
from mlflow_deploy_plugin.manifests.trailers import Message
from mlflow_deploy_plugin.repository.model import Commit, CommitResult, Intent

MAX_LOSSES = 30
"""How many races a change loses before it gives up; the real one counts seconds."""

_EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


class FakeRepository:
    """One branch in memory.

    ``rivals`` are called one after the other, each just before a push: what one of them commits makes that push lose.
    ``distrusted`` says of a commit why the policy refuses it.
    """

    def __init__(
        self, files: Files | None = None, *, rivals: list[Callable[["FakeRepository"], None]] | None = None
    ) -> None:
        self.rivals = list(rivals or ())
        self.distrusted: dict[str, str] = {}
        self.fetches = 0
        self._commits: list[Commit] = []
        self._trees: dict[str, Files] = {"": {}}
        if files is not None:
            self.push(files, "Begin")

    def push(self, files: Files, message: str, *, author: str = "person") -> str:
        """A commit that a person pushes; its name."""
        parent = self._sha()
        sha = hashlib.sha1(f"{parent}\n{message}\n{sorted(files.items())}".encode()).hexdigest()  # noqa: S324  a name
        self._trees[sha] = dict(files)
        self._commits.append(
            Commit(
                sha=sha,
                parents=(parent,) if parent else (),
                author=author,
                email=f"{author}@localhost",
                time=_EPOCH + timedelta(seconds=len(self._commits)),
                message=message,
            )
        )
        return sha

    def rewrite(self, length: int) -> None:
        """Throw all commits but the first ``length`` away, as a forced push does."""
        del self._commits[length:]

    def fetch(self) -> None:
        """Nothing to fetch, since the memory is the remote; counted."""
        self.fetches += 1

    def head(self) -> Commit | None:
        """The newest commit."""
        return self._commits[-1] if self._commits else None

    def files(self, sha: str, under: str = "") -> Files:
        """The texts of a commit, by path."""
        folder = f"{under.rstrip('/')}/" if under else ""
        return {path: text for path, text in self._trees[sha].items() if path == under or path.startswith(folder)}

    def history(self, *, path: str = "", limit: int | None = None, at: str = "") -> tuple[Commit, ...]:
        """Commits that touched ``path``, newest first, up to the commit ``at``."""
        known = [commit for commit in self._commits if not at or self.is_ancestor(commit.sha, at)]
        touched = [commit for commit in reversed(known) if self._touches(commit, path)]
        return tuple(touched[:limit])

    def is_ancestor(self, older: str, newer: str) -> bool:
        """Whether ``newer`` builds on ``older``."""
        names = [commit.sha for commit in self._commits]
        return older in names and newer in names and names.index(older) <= names.index(newer)

    def refusal(self, sha: str, *, since: str = "") -> str:  # noqa: ARG002  what is refused is said, not derived
        """Why ``sha`` must not be served."""
        return self.distrusted.get(sha, "")

    def change(self, intent: Intent, *, operation: str) -> CommitResult:
        """One commit by optimistic locking, made once for an ``operation``.

        Raises:
            RetryLaterError: rivals were quicker :data:`MAX_LOSSES` times.
        """
        for _ in range(MAX_LOSSES):
            if (made := self._find(operation)) is not None:
                return CommitResult(sha=made.sha, changed=False, before=made.parents[0] if made.parents else "")
            head = self._sha()
            before = self._trees[head]
            after, message = intent(before)
            if dict(after) == dict(before):
                return CommitResult(sha=head, changed=False, before=head)
            if self.rivals:
                self.rivals.pop(0)(self)
            if self._sha() == head:
                return CommitResult(sha=self._commit(after, message, operation), changed=True, before=head)
        raise RetryLaterError(f"others were quicker {MAX_LOSSES} times; try again")

    def _commit(self, files: Files, message: Message, operation: str) -> str:
        return self.push(files, message.for_operation(operation).render(), author="modelserve")

    def _find(self, operation: str) -> Commit | None:
        ours = (commit for commit in self._commits if operation in commit.operations)
        return next(ours, None)

    def _touches(self, commit: Commit, path: str) -> bool:
        before = self.files(commit.parents[0] if commit.parents else "", path)
        return not path or before != self.files(commit.sha, path)

    def _sha(self) -> str:
        return self._commits[-1].sha if self._commits else ""
