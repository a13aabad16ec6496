"""Looks at the repository and says what its newest commit wants, in a thread of its own: git may wait, users must not.

A repository on this machine is looked at twenty times a second by a few system calls, so a push is seen at once; any
other one is asked every few seconds.
"""

import logging
import queue
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from mlflow_deploy_plugin.agent.metrics import decisions
from mlflow_deploy_plugin.agent.metrics.decisions import Decision
from mlflow_deploy_plugin.errors import ModelserveError
from mlflow_deploy_plugin.manifests import parse_stage
from mlflow_deploy_plugin.manifests.model import Stage
from mlflow_deploy_plugin.manifests.tree import stage_folder
from mlflow_deploy_plugin.repository import Commit, RepositoryDoor

LOOK_S: Final = 0.05
AGAIN_S: Final = 2.0
"""Seconds until a look that failed is tried again."""
HISTORY: Final = 50

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """A commit, and what it wants."""

    commit: str
    between: tuple[str, ...] = ()
    """Older commits that arrived with it, oldest first."""
    stage: Stage | None = None
    """``None``: it cannot be served."""
    reason: str = ""
    """Why not."""
    decisions: Mapping[str, Decision] = field(default_factory=dict)
    """What was decided last on endpoints of this stage, as far as the newest commits tell."""


class Sightings:
    """What the watch has told and the loop has not yet heard."""

    def __init__(self) -> None:
        # No SimpleQueue: a signal that comes as its wait runs out leaves CPython's ``get`` waiting for ever.
        self._queue: queue.Queue[Sighting] = queue.Queue()

    def tell(self, sighting: Sighting) -> None:
        """Wake the one who listens."""
        self._queue.put(sighting)

    def hear(self, within_s: float) -> Sighting | None:
        """The next one, as soon as there is one; ``None`` after ``within_s``, whatever signals arrive."""
        try:
            return self._queue.get(timeout=within_s)
        except queue.Empty:
            return None


@dataclass(slots=True, kw_only=True)
class Watch:
    """One branch of one repository, for one stage."""

    open: Callable[[], RepositoryDoor]
    """Opens the repository; tried again until it works."""
    token: Callable[[], object] | None
    """Cheap value that changes when the branch may have moved; ``None``: ask every ``interval_s``."""
    stage: str
    interval_s: float
    base: str = ""
    """Commit that the next one must build on; empty: any."""
    problem: str = ""
    """Why the repository cannot be read now."""
    _repository: RepositoryDoor | None = None
    _last_token: object = None
    _stage: Stage | None = None
    _seen: str = ""

    def run(self, stop: threading.Event, tell: Callable[[Sighting], None]) -> None:
        """Look until ``stop``; ``tell`` each new head."""
        while not stop.is_set():
            stop.wait(self.look(tell))

    def look(self, tell: Callable[[Sighting], None]) -> float:
        """Look once; seconds until the next look."""
        token = self.token() if self.token else object()
        if token == self._last_token:
            return LOOK_S
        try:
            self._fetch(tell)
        except (ModelserveError, OSError) as error:
            if self.problem != str(error):
                _log.warning("repository: %s", error)
            self.problem = str(error)
            return AGAIN_S
        self.problem = ""
        self._last_token = token
        return LOOK_S if self.token else self.interval_s

    def _fetch(self, tell: Callable[[Sighting], None]) -> None:
        if self._repository is None:
            self._repository = self.open()
        else:
            self._repository.fetch()
        head = self._repository.head()
        if head is not None and head.sha != self._seen:
            tell(self._sighting(self._repository, head))
            self._seen = head.sha

    def _sighting(self, repository: RepositoryDoor, head: Commit) -> Sighting:
        sha = head.sha
        if self.base and self.base not in head.parents and not repository.is_ancestor(self.base, sha):
            return Sighting(
                commit=sha,
                reason=f"history was rewritten: it does not build on {self.base[:10]}, which is served;"
                " if that is meant, run 'modelserve stop' and 'modelserve agent --accept-rewrite'",
            )
        between = _between(repository, self._seen or self.base, head)
        if reason := repository.refusal(sha, since=self.base):
            return Sighting(commit=sha, between=between, reason=reason)
        try:
            stage = parse_stage(repository.files(sha, stage_folder(self.stage)), self.stage)
        except ModelserveError as error:
            return Sighting(commit=sha, between=between, reason=str(error))
        except Exception as error:  # noqa: BLE001  a commit that nobody foresaw must not end the watch
            _log.exception("commit %s", sha)
            return Sighting(commit=sha, between=between, reason=f"cannot be read: {type(error).__name__}: {error}")
        found = decisions.of_effect(head, before=self._stage, after=stage) | decisions.of_trailers(
            self._news(repository, head), stage=self.stage
        )
        self.base, self._stage = sha, stage
        return Sighting(commit=sha, between=between, stage=stage, decisions=found)

    def _news(self, repository: RepositoryDoor, head: Commit) -> tuple[Commit, ...]:
        """The commits that may have decided something new, newest first."""
        return (head,) if self._seen in head.parents else repository.history(limit=HISTORY)


def _between(repository: RepositoryDoor, older: str, newer: Commit) -> tuple[str, ...]:
    """The commits after ``older`` and before ``newer``, oldest first; none where that is not known."""
    if not older or older in newer.parents:
        return ()
    names = [commit.sha for commit in repository.history(limit=HISTORY)]
    if older not in names or newer.sha not in names:
        return ()
    return tuple(reversed(names[names.index(newer.sha) + 1 : names.index(older)]))
