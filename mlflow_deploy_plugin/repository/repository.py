"""One branch of a git repository, read and changed through a private bare clone.

The user's checkout, index, hooks and configuration are never touched, and nothing is ever forced: a change is a commit
on the newest head, pushed only if the head is still that one. Who loses the race decides again on the winner's tree;
weights are never merged as text. A crash at any point leaves either no commit or the commit, and the same operation
asked again finds it by its trailer.
"""

import os
import random
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, Self, assert_never

from mlflow_deploy_plugin.errors import AlreadyExistsError, ConfigError, ConflictError, GitError, RetryLaterError
from mlflow_deploy_plugin.manifests.model import Files
from mlflow_deploy_plugin.manifests.trailers import Message, Trailers, one_line
from mlflow_deploy_plugin.repository.address import clone_name, local_folder, normal
from mlflow_deploy_plugin.repository.git import REMOTE_TIMEOUT_S, Completed, Git, GitDoor, failure, without_password
from mlflow_deploy_plugin.repository.lock import locked
from mlflow_deploy_plugin.repository.model import Commit, CommitResult, Intent, Mode
from mlflow_deploy_plugin.repository.objects import Objects
from mlflow_deploy_plugin.repository.proposal import branch_of, review
from mlflow_deploy_plugin.repository.push import Accepted, Refused, Rejected, Unknown, judge
from mlflow_deploy_plugin.repository.signing import VARIABLE, Signature, verify
from mlflow_deploy_plugin.repository.trust import SIGNERS, Trust

DEFAULT_BRANCH: Final = "main"
PATIENCE_S: Final = 120.0
"""How long a change goes on losing races. A time, not a number of tries: of n writers each wins every n-th race, so on
a busy branch some lose dozens in a row."""
LOCK_TIMEOUT_S: Final = 300.0
FIRST_PAUSE_S: Final = 0.02
DOUBLINGS: Final = 5
"""How often a pause may double: who pauses much longer than a race takes is never there to win one."""
MAX_SILENCES: Final = 3
"""A push that breaks off again and again is no race: somebody's hook or network ends it."""

_SEEN: Final = "refs/modelserve/head"
"""Where the newest commit that was seen is remembered in the private clone."""
_PROPOSED: Final = "refs/modelserve/proposed"
_TRUSTED: Final = "refs/modelserve/trusted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """A push that did not arrive."""

    reason: str = ""
    commit: str = ""
    """What was pushed. It may have arrived all the same: HTTP repeats a request whose answer got lost."""
    silences: int = 0
    """How many pushes in a row broke off without an answer."""
    times: int = 0
    """How many pushes were lost, this one included."""

    def after(self, earlier: "Lost") -> "Lost":
        """This loss, counted on."""
        silences = self.silences + earlier.silences if self.silences else 0
        return replace(self, silences=silences, times=earlier.times + 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Repository:
    """See the module; made by :meth:`open`."""

    address: str = field(repr=False)
    """May hold a password, so nothing prints it."""
    branch: str
    root: str
    """Folder of the repository that the tree lies in, with the closing slash; empty: the repository itself."""
    objects: Objects
    mode: Mode = "direct"
    """Whether changes are pushed to the branch, or each to one of its own for a person to merge."""
    patience_s: float = PATIENCE_S
    """For how long a change may lose to others before it gives up."""
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic

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
        objects = Objects(git=door, folder=folder, signing_key=os.environ.get(VARIABLE, ""))
        opened = cls(address=text, branch=branch, root=prefix, objects=objects)
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

    def history(self, *, path: str = "", limit: int | None = None, at: str = "") -> tuple[Commit, ...]:
        """Commits that touched ``path``, newest first, up to the commit ``at``."""
        sha = at or self.objects.resolve(_SEEN)
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

    def verify(self, sha: str, allowed_signers: str) -> Signature:
        """Who of ``allowed_signers``, a text in OpenSSH's form, signed ``sha`` by an SSH key."""
        return verify(self.objects.git, self.objects.folder, sha, allowed_signers)

    def refusal(self, sha: str, *, since: str = "") -> str:
        """Why the tree's own policy does not let ``sha`` be served; see :mod:`.trust`."""
        return self._trust.refusal(sha, since=since)

    def change(self, intent: Intent, *, operation: str) -> CommitResult:
        """One commit by optimistic locking, made once for an ``operation`` however often it is asked for.

        Raises:
            GitError: the repository refuses the commit.
            RetryLaterError: it cannot be reached, or others were quicker again and again for ``patience_s``.
            Exception: whatever ``intent`` raises.
        """
        with locked(self._lock, timeout_s=LOCK_TIMEOUT_S):
            return self._change(intent, operation)

    def _change(self, intent: Intent, operation: str) -> CommitResult:
        searched, pushed = "", set[str]()
        lost = Lost()
        began = self.clock()
        while True:
            self._fetch()
            head = self.objects.resolve(_SEEN)
            if head and (made := self._find(operation, f"{searched}..{head}" if searched else head)):
                return CommitResult(sha=made.sha, changed=made.sha in pushed, before="".join(made.parents[:1]))
            searched = head
            if self.mode == "pull-request" and (proposed := self._proposed(operation, head)):
                return proposed
            outcome = self._attempt(intent, operation, head)
            if isinstance(outcome, CommitResult):
                return outcome
            lost = outcome.after(lost)
            pushed.add(lost.commit)
            if lost.silences >= MAX_SILENCES:
                raise RetryLaterError(f"{self._name}: the push broke off {lost.silences} times ({lost.reason})")
            if self.clock() - began >= self.patience_s:
                raise RetryLaterError(
                    f"{self._name}: others were quicker {lost.times} times ({lost.reason}); try again"
                )
            self.sleep(_pause_s(lost.times))

    def _attempt(self, intent: Intent, operation: str, head: str) -> CommitResult | Lost:
        """One try on ``head``: its result, or why the push lost."""
        before = self.files(head)
        after, message = intent(before)
        changes = _changes(before, after)
        if not changes:
            return CommitResult(sha=head, changed=False, before=head)
        signers = before.get(SIGNERS)
        if signers is not None:
            self._require_trust(head)
        tree = self.objects.write_tree(head, {f"{self.root}{path}": text for path, text in changes.items()})
        sha = self.objects.commit(tree, head, message.for_operation(operation).render())
        if signers is not None:
            self._require_signature(sha, signers)
        branch = branch_of(operation) if self.mode == "pull-request" else self.branch
        completed = self._push(sha, branch)
        pushed = judge(completed.status, completed.text, completed.err)
        match pushed:
            case Accepted():
                return self._made(sha, head, branch, completed.err)
            case Rejected():
                return Lost(reason=pushed.reason, commit=sha)
            case Refused():
                raise self._refusal(pushed)
            case Unknown():
                return self._after_silence(sha, head, branch, completed)
            case _:
                assert_never(pushed)

    def _made(self, sha: str, head: str, branch: str, said: str) -> CommitResult:
        """The result of a push that arrived."""
        if branch != self.branch:
            asked = review(self.address, branch=branch, into=self.branch, said=said)
            return CommitResult(sha=sha, changed=True, before=head, review=asked)
        self.objects.run("update-ref", _SEEN, sha)
        return CommitResult(sha=sha, changed=True, before=head)

    def _proposed(self, operation: str, head: str) -> CommitResult | None:
        """What was proposed before for ``operation`` and is not merged yet."""
        branch = branch_of(operation)
        self._fetch(branch)
        tip = self.objects.resolve(_PROPOSED)
        if not tip:
            return None
        made = self._find(operation, f"{head}..{tip}" if head else tip)
        if made is None:
            raise ConflictError(
                f"{self._name}: branch {branch!r} exists without operation {operation!r}; merge it or delete it"
            )
        asked = review(self.address, branch=branch, into=self.branch)
        return CommitResult(sha=made.sha, changed=False, before="".join(made.parents[:1]), review=asked)

    def _require_trust(self, head: str) -> None:
        """Refuse to sign a commit on top of one that nobody vouches for: that would vouch for it."""
        known = self.objects.resolve(_TRUSTED)
        if reason := self.refusal(head, since=known if known and self.is_ancestor(known, head) else ""):
            raise ConflictError(f"{self._name}: {reason}")
        self.objects.run("update-ref", _TRUSTED, head)

    def _require_signature(self, sha: str, signers: str) -> None:
        signature = self.verify(sha, signers)
        if not signature.is_good:
            raise ConfigError(
                f"{self._name}: the commit would be refused by {SIGNERS}: {signature.reason}; set {VARIABLE} to the"
                " SSH key of one of its signers, or configure git to sign commits with it"
            )

    def _push(self, sha: str, branch: str) -> Completed:
        return self._remote("push", "--porcelain", "--no-verify", "--", self.address, f"{sha}:refs/heads/{branch}")

    def _after_silence(self, sha: str, head: str, branch: str, completed: Completed) -> CommitResult | Lost:
        """No answer came: look whether the commit arrived."""
        error = failure(completed, doing=self._name)
        try:
            self._fetch(branch)
        except RetryLaterError:
            raise RetryLaterError(
                f"{error}; whether the push arrived is unknown, and the same command again finds out"
            ) from None
        if self.is_ancestor(sha, self._place(branch)):
            return self._made(sha, head, branch, "")
        if isinstance(error, RetryLaterError):
            return Lost(reason=completed.said, commit=sha, silences=1)
        raise error

    def _find(self, operation: str, span: str) -> Commit | None:
        line = Trailers(operation=operation).render()
        hits = self.objects.log("--fixed-strings", f"--grep={line}", span, "--")
        return next((hit for hit in hits if one_line(operation) in hit.operations), None)

    def _place(self, branch: str) -> str:
        """Where a branch is remembered in the private clone."""
        return _SEEN if branch == self.branch else _PROPOSED

    def _fetch(self, branch: str = "") -> None:
        wanted = branch or self.branch
        place = self._place(wanted)
        completed = self._remote(
            "fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules",
            "--", self.address, f"+refs/heads/{wanted}:{place}",
        )  # fmt: skip
        if not completed.status:
            return
        if "couldn't find remote ref" not in completed.err:
            raise self._unreachable(completed)
        if self.objects.resolve(place):  # the branch was deleted, or was never there
            self.objects.run("update-ref", "-d", place)

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
            return GitError(f"{self._name}: its checkout has uncommitted changes; commit or stash them there")
        return GitError(
            f"{self._name}: the push to {self.branch!r} was refused ({refused.reason}{said});"
            " ask whoever protects the branch, or propose changes to it: mode=pull-request in the target"
        )

    def _remote(self, *arguments: str) -> Completed:
        return self.objects.git.run(self.objects.folder, arguments, timeout_s=REMOTE_TIMEOUT_S)

    @property
    def _name(self) -> str:
        return f"repository {without_password(self.address)}"

    @property
    def _trust(self) -> Trust:
        return Trust(objects=self.objects, path=f"{self.root}{SIGNERS}")

    @property
    def _lock(self) -> Path:
        return self.objects.folder.with_suffix(".lock")


def _changes(before: Files, after: Files) -> Mapping[str, str | None]:
    """What an intent changed: new texts by path, ``None`` for a file that it removed."""
    gone: dict[str, str | None] = {path: None for path in before if path not in after}
    return gone | {path: text for path, text in after.items() if before.get(path) != text}


def _pause_s(losses: int) -> float:
    """Longer with every loss, and never the same for two who lost together."""
    longest = FIRST_PAUSE_S * 2.0 ** min(losses, DOUBLINGS)
    return longest * random.uniform(0.5, 1)  # noqa: S311  spreads retries, guards nothing


def _init(git: GitDoor, folder: Path) -> None:
    if (folder / "HEAD").is_file():
        return
    completed = git.run(folder, ["init", "--quiet", "--bare", f"--initial-branch={DEFAULT_BRANCH}", "--template="])
    if completed.status:
        raise failure(completed, doing=str(folder))
