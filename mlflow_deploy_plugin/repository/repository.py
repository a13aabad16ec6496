"""One branch of a git repository, read and changed through a private bare clone.

The user's checkout, index, hooks and configuration are never touched, and nothing is ever forced: a change is a commit
on the newest head, pushed only if the head is still that one. Who loses the race decides again on the winner's tree;
weights are never merged as text. A crash at any point leaves either no commit or the commit, and the same operation
asked again finds it by its trailer.
"""

import random
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self, assert_never

from mlflow_deploy_plugin.errors import AlreadyExistsError, GitError, RetryLaterError
from mlflow_deploy_plugin.manifests.model import Files
from mlflow_deploy_plugin.manifests.trailers import Message, Trailers
from mlflow_deploy_plugin.repository.address import clone_name, local_folder, normal
from mlflow_deploy_plugin.repository.git import REMOTE_TIMEOUT_S, Completed, Git, GitDoor, failure, without_password
from mlflow_deploy_plugin.repository.lock import locked
from mlflow_deploy_plugin.repository.model import DEFAULT_ATTEMPTS, Commit, CommitResult, Intent
from mlflow_deploy_plugin.repository.objects import Objects
from mlflow_deploy_plugin.repository.push import Accepted, Pushed, Refused, Rejected, Unknown, judge

DEFAULT_BRANCH: Final = "main"
LOCK_TIMEOUT_S: Final = 120.0
FIRST_PAUSE_S: Final = 0.02
LONGEST_PAUSE_S: Final = 2.0

_SEEN: Final = "refs/modelserve/head"
"""Where the newest commit that was seen is remembered in the private clone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Repository:
    """See the module; made by :meth:`open`."""

    address: str
    branch: str
    root: str
    """Folder of the repository that the tree lies in, with the closing slash; empty: the repository itself."""
    objects: Objects
    sleep: Callable[[float], None] = time.sleep

    @classmethod
    def open(
        cls,
        address: str | Path,
        *,
        clones: Path,
        branch: str = DEFAULT_BRANCH,
        root: str = "",
        git: GitDoor | None = None,
    ) -> Self:
        """The repository at a URL or path, as it is now; a private clone of it is kept under ``clones``.

        Raises:
            ConfigError: the address is none.
            GitError: there is no repository there, or access is refused.
            RetryLaterError: it cannot be reached now.
        """
        text = normal(address)
        folder = clones / clone_name(text, branch)
        prefix = f"{root.strip('/')}/" if root.strip("/") else ""
        door = git or Git()
        opened = cls(address=text, branch=branch, root=prefix, objects=Objects(git=door, folder=folder))
        clones.mkdir(mode=0o700, parents=True, exist_ok=True)
        with locked(opened._lock, timeout_s=LOCK_TIMEOUT_S):
            _init(door, folder)
        opened.fetch()
        return opened

    @staticmethod
    def create_bare(path: Path, files: Files, message: Message, *, git: GitDoor | None = None) -> str:
        """A new bare repository whose first commit holds ``files``; the commit's name. Whole or not there at all.

        Raises:
            AlreadyExistsError: something lies at ``path`` already.
        """
        door = git or Git()
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}-"))
        try:
            _init(door, scratch)
            objects = Objects(git=door, folder=scratch)
            sha = objects.commit(objects.write_tree("", files), "", message.render())
            objects.run("update-ref", f"refs/heads/{DEFAULT_BRANCH}", sha)
            if path.exists():
                raise AlreadyExistsError(f"{path} exists already; open it instead")
            scratch.rename(path)  # onto an empty folder or nothing; a full one is somebody's who was quicker
        except OSError as error:
            raise AlreadyExistsError(f"{path} exists already or cannot be made ({error.strerror})") from error
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        return sha

    def fetch(self) -> None:
        """See what others have pushed, a rewritten history too.

        Raises:
            GitError: there is no repository, or access is refused.
            RetryLaterError: it cannot be reached now.
        """
        with locked(self._lock, timeout_s=LOCK_TIMEOUT_S):
            self._fetch()

    def head(self) -> Commit | None:
        """The newest commit that was seen."""
        sha = self.objects.resolve(_SEEN)
        return self.objects.log("-1", sha)[0] if sha else None

    def remote_head(self) -> str:
        """The newest commit by the remote's own word, without fetching it; empty where there is none."""
        completed = self._remote("ls-remote", "--", self.address, f"refs/heads/{self.branch}")
        if completed.status:
            raise failure(completed, doing=self._name)
        return completed.text.partition("\t")[0]

    def files(self, sha: str, under: str = "") -> Files:
        """The texts of a commit, by path; of one folder where ``under`` is given."""
        if not sha:
            return {}
        place = f"{self.root}{under}"
        blobs = self.objects.blobs(sha, *([place] if place else []))
        return {path.removeprefix(self.root): text for path, text in self.objects.texts(blobs).items()}

    def history(self, *, path: str = "", limit: int | None = None) -> tuple[Commit, ...]:
        """Commits that touched ``path``, newest first."""
        sha = self.objects.resolve(_SEEN)
        bound = [f"--max-count={limit}"] if limit is not None else []
        place = f"{self.root}{path}".rstrip("/")
        return self.objects.log(*bound, sha, "--", *([place] if place else [])) if sha else ()

    def is_ancestor(self, older: str, newer: str) -> bool:
        """Whether ``newer`` builds on ``older``; a commit that nobody has any more is an ancestor of none."""
        return not self.objects.git.run(self.objects.folder, ["merge-base", "--is-ancestor", older, newer]).status

    def find(self, operation: str) -> Commit | None:
        """The commit that an operation made, wherever it lies in the history."""
        sha = self.objects.resolve(_SEEN)
        return self._find(operation, sha) if sha else None

    def change(self, intent: Intent, *, operation: str, attempts: int = DEFAULT_ATTEMPTS) -> CommitResult:
        """One commit by optimistic locking, made once for an ``operation`` however often it is asked for.

        Raises:
            GitError: the repository refuses the commit.
            RetryLaterError: it cannot be reached, or others were quicker ``attempts`` times.
            Exception: whatever ``intent`` raises.
        """
        with locked(self._lock, timeout_s=LOCK_TIMEOUT_S):
            return self._change(intent, operation, attempts)

    def _change(self, intent: Intent, operation: str, attempts: int) -> CommitResult:
        reason, searched = "", ""
        for attempt in range(attempts):
            if attempt:
                self.sleep(_pause_s(attempt))
            self._fetch()
            head = self.objects.resolve(_SEEN)
            if head and (made := self._find(operation, f"{searched}..{head}" if searched else head)):
                return CommitResult(sha=made.sha, changed=False, before=made.parents[0] if made.parents else "")
            searched = head
            outcome = self._attempt(intent, operation, head)
            if isinstance(outcome, CommitResult):
                return outcome
            reason = outcome
        raise RetryLaterError(f"{self._name}: others were quicker {attempts} times ({reason}); try again")

    def _attempt(self, intent: Intent, operation: str, head: str) -> CommitResult | str:
        """One try on ``head``: its result, or why the push lost."""
        before = self.files(head)
        after, message = intent(before)
        changes = _changes(before, after)
        if not changes:
            return CommitResult(sha=head, changed=False, before=head)
        tree = self.objects.write_tree(head, {f"{self.root}{path}": text for path, text in changes.items()})
        sha = self.objects.commit(tree, head, message.for_operation(operation).render())
        pushed, completed = self._push(sha)
        match pushed:
            case Accepted():
                self.objects.run("update-ref", _SEEN, sha)
                return CommitResult(sha=sha, changed=True, before=head)
            case Rejected():
                return pushed.reason
            case Refused():
                raise self._refusal(pushed)
            case Unknown():
                return self._after_silence(sha, head, completed)
            case _:
                assert_never(pushed)

    def _push(self, sha: str) -> tuple[Pushed, Completed]:
        completed = self._remote(
            "push", "--porcelain", "--no-verify", "--", self.address, f"{sha}:refs/heads/{self.branch}"
        )
        return judge(completed.status, completed.text, completed.err), completed

    def _after_silence(self, sha: str, head: str, completed: Completed) -> CommitResult | str:
        """No answer came: look whether the commit arrived."""
        try:
            self._fetch()
        except RetryLaterError:
            raise failure(completed, doing=f"{self._name}: whether the push arrived is unknown") from None
        if self.is_ancestor(sha, _SEEN):
            return CommitResult(sha=sha, changed=True, before=head)
        error = failure(completed, doing=self._name)
        if isinstance(error, RetryLaterError):
            return completed.said
        raise error

    def _find(self, operation: str, span: str) -> Commit | None:
        line = Trailers(operation=operation).render()
        hits = self.objects.log("--fixed-strings", f"--grep={line}", span, "--")
        return next((hit for hit in hits if hit.trailers and hit.trailers.operation == operation), None)

    def _fetch(self) -> None:
        completed = self._remote(
            "fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules",
            "--", self.address, f"+refs/heads/{self.branch}:{_SEEN}",
        )  # fmt: skip
        if not completed.status:
            return
        if "couldn't find remote ref" not in completed.err:
            raise self._unreachable(completed)
        if self.objects.resolve(_SEEN):  # the branch was deleted
            self.objects.run("update-ref", "-d", _SEEN)

    def _unreachable(self, completed: Completed) -> GitError | RetryLaterError:
        folder = local_folder(self.address)
        if folder is not None and not folder.exists():
            return GitError(
                f"{self._name}: there is no such folder; give the path of a git repository,"
                " or make one with `git init --bare`"
            )
        return failure(completed, doing=self._name)

    def _refusal(self, refused: Refused) -> GitError:
        said = f": {refused.said}" if refused.said else ""
        if refused.reason == "branch is currently checked out":
            return GitError(
                f"{self._name}: its branch {self.branch!r} is checked out there, and git does not push into a checkout;"
                f" run `git -C {self.address} config receive.denyCurrentBranch updateInstead`, or give a bare one"
            )
        if refused.reason.startswith("Working directory has"):
            return GitError(
                f"{self._name}: its checkout has changes that are not committed; commit or stash them there"
            )
        return GitError(
            f"{self._name}: the push to {self.branch!r} was refused ({refused.reason}{said});"
            " ask whoever protects the branch, or use another one"
        )

    def _remote(self, *arguments: str) -> Completed:
        return self.objects.git.run(self.objects.folder, arguments, timeout_s=REMOTE_TIMEOUT_S)

    @property
    def _name(self) -> str:
        return f"repository {without_password(self.address)}"

    @property
    def _lock(self) -> Path:
        return self.objects.folder.with_suffix(".lock")


def _changes(before: Files, after: Files) -> Mapping[str, str | None]:
    """What an intent changed: new texts by path, ``None`` for a file that it removed."""
    gone: dict[str, str | None] = {path: None for path in before if path not in after}
    return gone | {path: text for path, text in after.items() if before.get(path) != text}


def _pause_s(attempt: int) -> float:
    """Longer with every attempt, and never the same for two who lost together."""
    longest = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 1.6**attempt)
    return longest * random.uniform(0.5, 1)  # noqa: S311  spreads retries, guards nothing


def _init(git: GitDoor, folder: Path) -> None:
    if (folder / "HEAD").is_file():
        return
    completed = git.run(folder, ["init", "--quiet", "--bare", f"--initial-branch={DEFAULT_BRANCH}", "--template="])
    if completed.status:
        raise failure(completed, doing=str(folder))
