"""The loop: look, decide, do, say. Owns the agent's memory between two turns and nothing else.

Every turn is short and none waits for anything: what is not there yet is looked for again in the next one. A turn that
fails, since the disk is full or Envoy away, changes nothing that runs; ``status.json`` says so, and the next one tries.
"""

import errno
import logging
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, assert_never

from mlflow_deploy_plugin.agent.envoy.admin import Admin
from mlflow_deploy_plugin.agent.envoy.clusters import members
from mlflow_deploy_plugin.agent.envoy.files import EnvoyFiles
from mlflow_deploy_plugin.agent.envoy.process import EnvoyProcess
from mlflow_deploy_plugin.agent.envoy.routes import Served
from mlflow_deploy_plugin.agent.memory import Memory, remember
from mlflow_deploy_plugin.agent.metrics.decisions import Decision, newest
from mlflow_deploy_plugin.agent.plan import (
    Action,
    DrainWorker,
    GatewayView,
    Pending,
    Plan,
    PublishClusters,
    Published,
    PublishHosts,
    PublishRoutes,
    Refusal,
    Situation,
    StartWorker,
    StopWorker,
    plan,
)
from mlflow_deploy_plugin.agent.reserve import Reserve
from mlflow_deploy_plugin.agent.status import REMEMBERED, RefusedCommit, Verdict
from mlflow_deploy_plugin.agent.supervisor import Supervisor
from mlflow_deploy_plugin.agent.units import Wanted, unit_of
from mlflow_deploy_plugin.agent.watch import Sighting
from mlflow_deploy_plugin.errors import GatewayError

BUSY_S: Final = 0.02
IDLE_S: Final = 0.05
LOOK_S: Final = 1.0
"""Seconds between two whole turns while nothing moves."""
PROOF_S: Final = 5.0
"""Envoy proves a file within milliseconds; after this long it has refused it."""

TAKE_OVER_S: Final = 0.05
DEAF_S: Final = 2.0

_log = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class Reconciler:
    """See the module."""

    supervisor: Supervisor
    envoy: EnvoyProcess
    files: EnvoyFiles
    admin: Admin
    memory: Memory
    memory_file: Path
    reserve: Reserve
    clock: Callable[[], float]
    ready_limit_s: float

    head: str = ""
    """Newest commit seen."""
    target: str = ""
    """Newest commit that can be read."""
    targets: Mapping[str, Served] | None = None
    """What it wants; ``None``: no commit that can be read was seen yet."""
    bad: RefusedCommit | None = None
    """The newest commit, where it cannot be read."""
    pending: Mapping[str, Pending] = field(default_factory=dict)
    refused: Mapping[str, Refusal] = field(default_factory=dict)
    wanted: Mapping[str, Wanted] = field(default_factory=dict)
    gateway: GatewayView | None = None
    trouble: str = ""
    """What went wrong in the last turn."""
    seen: tuple[str, ...] = ()
    """Commits that have been planned for, newest last."""
    verdicts: tuple[Verdict, ...] = ()
    outcomes: Counter[str] = field(default_factory=Counter)
    """Commits by their verdict, since the agent began."""
    decisions: Mapping[str, Decision] = field(default_factory=dict)
    """What was decided last on each endpoint of the target, as far as commits tell."""
    turns: int = 0
    """Whole turns: the news that there may be."""
    _arrived: tuple[str, ...] = ()
    _open: tuple[str, ...] = ()
    """Commits seen since the last verdict."""
    _applied: Mapping[str, Served] = field(default_factory=dict)
    _published: Mapping[str, Served] = field(default_factory=dict)
    _published_commit: str = ""
    _all_proven_at: float = 0.0
    _proven_at: float | None = None
    _versions: Mapping[str, str] = field(default_factory=dict)
    _deaf_since: float = 0.0
    _offered_at: float = 0.0
    _next_look: float = 0.0
    _was_busy: bool = True

    def __post_init__(self) -> None:
        self._applied = self.memory.endpoints

    @property
    def applied(self) -> Mapping[str, Served]:
        """What each endpoint serves."""
        return self._applied

    @property
    def is_live(self) -> bool:
        """Whether :attr:`applied` is what users get: Envoy's threads have all had time to take it."""
        is_proven = self._published == self._applied and self._proves("rds") and self._proves("cds")
        return is_proven and self._proven_at is not None and self.clock() - self._proven_at >= TAKE_OVER_S

    def see(self, sighting: Sighting) -> None:
        """Take note of a new commit."""
        self.head = sighting.commit
        arrived = (*sighting.between, sighting.commit)
        self._arrived = (*self._arrived, *arrived)[-2 * REMEMBERED :]
        self._next_look = 0.0
        if sighting.stage is None:
            self.bad = RefusedCommit(commit=sighting.commit, reason=sighting.reason)
            self._verdict(arrived, Verdict(commit="", outcome="refused", reason=sighting.reason))
            _log.warning("commit %s refused: %s", sighting.commit, sighting.reason)
            return
        self.bad, self.target = None, sighting.commit
        self._open = (*self._open, *arrived)
        self.targets = {
            name: Served(commit=sighting.commit, endpoint=endpoint)
            for name, endpoint in sighting.stage.endpoints.items()
        }
        self.decisions = newest(self.decisions, sighting.decisions, served=self.targets)
        _log.info("commit %s seen", sighting.commit)

    def turn(self) -> float:
        """Look, decide, do. Seconds until the next turn."""
        before = len(self.supervisor.workers())
        self.supervisor.reap()
        try:
            began = self.envoy.ensure()
            if began or before != len(self.supervisor.workers()) or self._was_busy or self.clock() >= self._next_look:
                self._whole_turn()
                self._next_look = self.clock() + LOOK_S
                self.trouble = ""
                self.reserve.refill()
        except OSError as error:
            if error.errno == errno.ENOSPC:
                self.reserve.release()
            self._trouble(f"the system refuses: {error}; what runs goes on")
        except GatewayError as error:
            self._trouble(str(error))
        return IDLE_S if self.is_live and not self._open else BUSY_S

    def _trouble(self, text: str) -> None:
        self.turns += 1
        if self.trouble != text:
            _log.warning("%s", text)
        self.trouble = text
        self._was_busy = True

    def _whole_turn(self) -> None:
        self.turns += 1
        self._look()
        decided = plan(self._situation())
        self._take(decided)
        self.seen = self._arrived
        for action in decided.actions:
            self._do(action)
        if self.gateway is not None:
            self.files.sweep(keep=self.files.clusters | self.gateway.hosts.keys())
        self._was_busy = self._is_busy(decided)
        self._judge()
        self._listen()

    def _look(self) -> None:
        try:
            self.gateway = self.admin.view()
            self._versions = self.admin.versions()
        except GatewayError:
            self.gateway, self._versions = None, {}
        self._mark_ready()
        self._proven_at = (self._proven_at or self.clock()) if self._proves("rds") else None
        if self.gateway is None or (self._proves("rds") and self._proves("cds")):
            self._all_proven_at = self.clock()

    def _mark_ready(self) -> None:
        for unit, hosts in (self.gateway.hosts if self.gateway else {}).items():
            for port, host in hosts.items():
                if host.is_healthy:
                    self.supervisor.mark_ready(unit, port)

    def _listen(self) -> None:
        """Where Envoy could not bind its port, have it try again; somebody may have let go of it."""
        if self.gateway is None or self._versions.get("lds") == self.files.version("lds"):
            self._deaf_since = self._offered_at = self.clock()
            return
        if self.clock() - self._offered_at > DEAF_S:
            self._offered_at = self.clock()
            self.files.repeat_listener()
        if self.clock() - self._deaf_since > DEAF_S:
            raise GatewayError(self._envoys_words(f"port {self.files.gateway.port}"))

    def _situation(self) -> Situation:
        return Situation(
            now=self.clock(),
            targets=self.targets,
            applied=self._applied,
            pending=self.pending,
            refused=self.refused,
            workers=self.supervisor.workers(),
            resting=self.supervisor.resting(),
            trials=self.supervisor.trials(),
            gateway=self.gateway,
            published=Published(
                clusters=self.files.clusters,
                routes_proven_s=None if self._proven_at is None else self.clock() - self._proven_at,
                routes=self._published,
            ),
            ready_limit_s=self.ready_limit_s,
        )

    def _take(self, decided: Plan) -> None:
        for name in decided.refused.keys() - self.refused.keys():
            _log.warning("endpoint %s refused: %s", name, decided.refused[name].reason)
        self.pending, self.refused, self.wanted = decided.pending, decided.refused, decided.wanted
        self._applied = decided.applied
        self._remember(replace(self.memory, endpoints=decided.applied))
        self.supervisor.forget(decided.wanted)

    def _remember(self, memory: Memory) -> None:
        """Before Envoy is told: an agent that starts anew must not lead users back."""
        if memory != self.memory:
            remember(self.memory_file, memory)
            self.memory = memory

    def _do(self, action: Action) -> None:
        match action:
            case StartWorker():
                self.supervisor.start(action.unit, action.slot)
            case PublishHosts():
                self.files.publish_hosts(action.cluster, action.hosts)
            case PublishClusters():
                self.files.publish_clusters(action.names)
            case PublishRoutes():
                self._publish_routes(action.served)
            case DrainWorker():
                self.supervisor.drain(action.pid)
            case StopWorker():
                self.supervisor.stop(action.pid)
            case _:
                assert_never(action)

    def _publish_routes(self, served: Mapping[str, Served]) -> None:
        commit = self.target if self._is_whole() else self.memory.commit
        if served == self._published and commit == self._published_commit:
            return
        before = self.files.version("rds")
        self.files.publish_routes(served, commit=commit or "none")
        self._published, self._published_commit = served, commit
        if self.files.version("rds") != before:
            self._proven_at = None

    def _is_whole(self) -> bool:
        """Whether every endpoint is as the target says."""
        return self.targets is not None and not self.pending and not self.refused

    def _is_busy(self, decided: Plan) -> bool:
        """Whether something is on its way, so that the next turn should come soon."""
        workers = self.supervisor.workers()
        ready = sum(self.gateway.healthy(unit) for unit in decided.wanted) if self.gateway else -1
        return (
            not self.is_live
            or bool(decided.pending)
            or bool(self._open)
            or self.gateway is None
            or len(workers) != ready
            or ready != sum(one.processes for one in decided.wanted.values())
            or any(name not in self.gateway.hosts for name in self.files.clusters)
            or any(unit_of(members(name)[0]) not in decided.wanted for name in self.files.clusters)
        )

    def _judge(self) -> None:
        """The verdict on the commits that were seen since the last one, once there is one."""
        if not self._open or self.pending:
            return
        if self.is_live and self.refused:
            names = tuple(sorted(self.refused))
            verdict = Verdict(commit="", outcome="refused", reason=self._refusals(), endpoints=names)
        elif self.is_live and self._published_commit == self.target:
            self._remember(replace(self.memory, commit=self.target))
            _log.info("commit %s applied", self.target)
            verdict = Verdict(commit="", outcome="applied")
        elif self.gateway is not None and self.clock() - self._all_proven_at > PROOF_S:
            verdict = Verdict(commit="", outcome="refused", reason=self._envoys_words("its routes"))
        else:
            return
        self._verdict(self._open, verdict)
        self._open = ()

    def _proves(self, kind: str) -> bool:
        return self._versions.get(kind) == self.files.version(kind)

    def _refusals(self) -> str:
        return "; ".join(f"endpoint {name!r}: {one.reason}" for name, one in sorted(self.refused.items()))

    def _envoys_words(self, what: str) -> str:
        log = self.files.gateway.folder / "envoy.log"
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.exists() else []
        refusals = [line for line in lines if "rejected" in line or "error" in line]
        return f"Envoy does not accept {what}: {refusals[-1] if refusals else f'see {log}'}"

    def _verdict(self, commits: tuple[str, ...], verdict: Verdict) -> None:
        self.outcomes[verdict.outcome] += len(commits)
        given = (replace(verdict, commit=commit) for commit in commits)
        self.verdicts = (*self.verdicts, *given)[-REMEMBERED:]

    def refusal(self) -> RefusedCommit | None:
        """The newest commit, where it is not served whole and will not be."""
        if self.bad is not None:
            return self.bad
        if self.refused:
            return RefusedCommit(commit=next(iter(self.refused.values())).commit, reason=self._refusals())
        last = self.verdicts[-1] if self.verdicts else None
        if last is not None and (last.outcome, last.commit) == ("refused", self.target):
            return RefusedCommit(commit=last.commit, reason=last.reason)
        return None
