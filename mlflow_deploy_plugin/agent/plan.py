"""What to do next: a pure function from what is wanted and what is seen to a list of actions. Make before break.

Called twenty times a second with a fresh :class:`Situation`; it keeps nothing between two calls but what it returns.
For one endpoint that moves from one state to the next, the calls together amount to::

    start workers -> they join EDS and CDS -> Envoy finds them ready -> (applied) -> the pairs that routes need are in
    CDS -> routes -> routes proven and no request active on the old units -> they leave CDS -> their workers stop

Rules:

- An endpoint moves whole. What gates it: a new unit must have all its processes ready; one that grows in processes,
  those; one that gains weight, one. What stays or shrinks gates nothing, so a dying canary can always be rolled back.
- It is refused, and keeps what it has, when a new unit cannot be started, dies twice before it was ready, or is not
  ready within the limit. The same content is not tried again until it changes or the agent is started anew.
- Nothing is taken from Envoy before Envoy has proven the routes that no longer need it, nor a process stopped before
  Envoy has let go of it.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from mlflow_deploy_plugin.agent.envoy.clusters import PAIR, Host, members
from mlflow_deploy_plugin.agent.envoy.routes import Served, clusters_of
from mlflow_deploy_plugin.agent.units import Unit, Wanted, grpc_cluster, grpc_port, is_grpc, unit_of, wanted_of
from mlflow_deploy_plugin.manifests.model import Endpoint

SETTLE_S: Final = 0.5
"""Envoy's threads take new routes a moment after its main thread has proven them."""
PAIR_SETTLE_S: Final = 2.0
"""A pair has no count of its requests, and one that waits for its second attempt is counted nowhere."""
DRAIN_LIMIT_S: Final = 150.0
"""Requests that are still active then are cut off."""
DEATHS: Final = 2
"""Exits before the first readiness that condemn a new unit; one may be bad luck with a port."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """One process of a unit, as seen now."""

    unit: str
    slot: int
    port: int
    pid: int
    socket: str = ""
    """Where it answers HTTP beside its port; empty: nowhere."""
    draining_s: float | None = None
    """Seconds since it was told to take nothing new; ``None``: it was not."""
    is_stopping: bool = False
    """Told to exit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostView:
    """One worker in Envoy's eyes."""

    is_healthy: bool
    active: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayView:
    """Envoy as seen now."""

    hosts: Mapping[str, Mapping[int, HostView]] = field(default_factory=dict)
    """Cluster, port, host. Only clusters that are past their warm-up."""

    def healthy(self, unit: str) -> int:
        """Workers of ``unit`` that Envoy would send a request to, over HTTP and over gRPC."""
        clusters = (self.hosts.get(name, {}) for name in (unit, grpc_cluster(unit)))
        return min(sum(host.is_healthy for host in hosts.values()) for hosts in clusters)

    def active(self, cluster: str) -> int:
        """Requests that run on ``cluster`` now."""
        return sum(host.active for host in self.hosts.get(cluster, {}).values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """How the processes of one unit have fared."""

    deaths: int = 0
    """Exits in a row without having been ready."""
    was_ready: bool = False
    reason: str = ""
    """Last words of the newest exit."""
    obstacle: str = ""
    """Why no process can be started at all; empty: one can."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """What lies in Envoy's files."""

    clusters: frozenset[str] = frozenset()
    routes_proven_s: float | None = None
    """Seconds since Envoy proved the newest routes; ``None``: it has not yet."""
    routes: Mapping[str, Served] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A state of an endpoint that could not be brought to life."""

    commit: str
    reason: str
    endpoint: Endpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """A state of an endpoint that is on its way."""

    endpoint: Endpoint
    since: float
    waits_for: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """Everything that a decision is made from."""

    now: float
    targets: Mapping[str, Served] | None
    """Endpoints of the newest good commit; ``None``: there is none, so what is applied stays."""
    applied: Mapping[str, Served] = field(default_factory=dict)
    pending: Mapping[str, Pending] = field(default_factory=dict)
    refused: Mapping[str, Refusal] = field(default_factory=dict)
    workers: tuple[Worker, ...] = ()
    resting: frozenset[tuple[str, int]] = frozenset()
    """Units and slots whose restart is put off."""
    trials: Mapping[str, Trial] = field(default_factory=dict)
    gateway: GatewayView | None = None
    """``None``: Envoy does not answer."""
    published: Published = field(default_factory=Published)
    ready_limit_s: float = 180.0


@dataclass(frozen=True, slots=True, kw_only=True)
class StartWorker:
    """Start the process of ``slot``."""

    unit: Unit
    slot: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishHosts:
    """Let EDS of a unit's ``cluster`` say these hosts."""

    cluster: str
    hosts: tuple[Host, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishClusters:
    """Let CDS say exactly these clusters."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishRoutes:
    """Let RDS say the splits of these endpoints."""

    served: Mapping[str, Served]


@dataclass(frozen=True, slots=True, kw_only=True)
class DrainWorker:
    """Give this process nothing new."""

    pid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StopWorker:
    """Ask this process to exit."""

    pid: int


Action = StartWorker | PublishHosts | PublishClusters | PublishRoutes | DrainWorker | StopWorker


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What holds from now on, and what to do for it, in order."""

    applied: Mapping[str, Served]
    pending: Mapping[str, Pending]
    refused: Mapping[str, Refusal]
    wanted: Mapping[str, Wanted]
    actions: tuple[Action, ...]


def plan(situation: Situation) -> Plan:
    """The next actions. Repeated calls in an unchanged world repeat the ``Publish`` actions and nothing else."""
    moved = _move(situation)
    targets = situation.targets or {}
    wanted = wanted_of(
        [served.endpoint for served in moved.applied.values()] + [targets[name].endpoint for name in moved.pending]
    )
    clusters = _clusters(situation, moved.applied, wanted)
    return Plan(
        applied=moved.applied,
        pending=moved.pending,
        refused=moved.refused,
        wanted=wanted,
        actions=(
            *_starts(situation, wanted),
            *_hosts(situation, clusters),
            PublishClusters(names=tuple(sorted(clusters))),
            *_routes(situation, moved.applied),
            *_ends(situation, wanted, clusters),
        ),
    )


@dataclass(slots=True, kw_only=True)
class _Moved:
    applied: dict[str, Served] = field(default_factory=dict)
    pending: dict[str, Pending] = field(default_factory=dict)
    refused: dict[str, Refusal] = field(default_factory=dict)


def _move(situation: Situation) -> _Moved:
    """Each endpoint, one step further."""
    if situation.targets is None:
        return _Moved(applied=dict(situation.applied), refused=dict(situation.refused))
    moved = _Moved()
    for name, target in situation.targets.items():
        current = situation.applied.get(name)
        if current is not None:
            moved.applied[name] = current
        if current is None or current.endpoint != target.endpoint:
            _move_endpoint(situation, moved, name, target)
    return moved


def _move_endpoint(situation: Situation, moved: _Moved, name: str, target: Served) -> None:
    known = situation.refused.get(name)
    if known is not None and known.endpoint == target.endpoint:
        moved.refused[name] = known
        return
    pending = situation.pending.get(name)
    if pending is None or pending.endpoint != target.endpoint or situation.gateway is None:
        # Time without Envoy, which alone can tell who is ready, counts against nobody.
        pending = Pending(endpoint=target.endpoint, since=situation.now)
    gates = tuple(_gates(situation, situation.applied.get(name), target.endpoint))
    if not gates:
        moved.applied[name] = target
    elif reason := _failure(situation, gates, situation.now - pending.since):
        moved.refused[name] = Refusal(commit=target.commit, reason=reason, endpoint=target.endpoint)
    else:
        waits_for = tuple(gate.about for gate in gates)
        moved.pending[name] = Pending(endpoint=target.endpoint, since=pending.since, waits_for=waits_for)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Gate:
    """A unit that keeps its endpoint from moving."""

    unit: str
    deployment: str
    is_new: bool
    about: str


def _gates(situation: Situation, current: Served | None, target: Endpoint) -> Iterator[_Gate]:
    before = wanted_of([current.endpoint] if current else [])
    weights_before = current.endpoint.route.weights if current else {}
    for key, wanted in wanted_of([target]).items():
        name = wanted.unit.deployment.name
        if key not in before or wanted.processes > before[key].processes:
            need = wanted.processes
        else:
            need = int(target.route.weights.get(name, 0) > weights_before.get(name, 0))
        ready = situation.gateway.healthy(key) if situation.gateway else 0
        if ready < need:
            about = f"deployment {name!r}: {ready} of {need} processes ready"
            yield _Gate(unit=key, deployment=name, is_new=key not in before, about=about)


def _failure(situation: Situation, gates: Iterable[_Gate], waited_s: float) -> str:
    """Why the endpoint will never move; empty while it may."""
    reasons = []
    for gate in gates:
        trial = situation.trials.get(gate.unit, Trial())
        if trial.obstacle and not _others_leave(situation):
            reasons.append(f"deployment {gate.deployment!r} cannot start: {trial.obstacle}")
        elif gate.is_new and not trial.was_ready and trial.deaths >= DEATHS:
            reasons.append(f"deployment {gate.deployment!r} does not start: {trial.reason}")
        elif waited_s > situation.ready_limit_s:
            last = f"; last exit: {trial.reason}" if trial.reason else ""
            reasons.append(f"{gate.about} after {situation.ready_limit_s:g} s{last}")
    return "; ".join(reasons)


def _others_leave(situation: Situation) -> bool:
    """Whether what stands in the way, such as a taken GPU, may go by itself: processes that nobody wants still run."""
    states = [*situation.applied.values(), *(situation.targets or {}).values()]
    wanted = wanted_of(served.endpoint for served in states)
    return any(worker.unit not in wanted for worker in situation.workers)


def _clusters(situation: Situation, applied: Mapping[str, Served], wanted: Mapping[str, Wanted]) -> set[str]:
    """All that CDS must say: what is or will be used, and what was and is not yet free."""
    live = {*clusters_of(applied.values()), *wanted, *map(grpc_cluster, wanted)}
    left = {name for name in situation.published.clusters - live if not _is_free(situation, applied, name)}
    return live | {member for name in left for member in (name, *members(name))}


def _is_free(situation: Situation, applied: Mapping[str, Served], name: str) -> bool:
    settled_s = situation.published.routes_proven_s
    if settled_s is None or situation.gateway is None or situation.published.routes != applied:
        return False
    settle_s = PAIR_SETTLE_S if PAIR in name else SETTLE_S
    return settled_s > DRAIN_LIMIT_S or (settled_s > settle_s and situation.gateway.active(members(name)[0]) == 0)


def _starts(situation: Situation, wanted: Mapping[str, Wanted]) -> Iterator[StartWorker]:
    filled = {(worker.unit, worker.slot) for worker in situation.workers if _serves(worker)}
    for key, one in wanted.items():
        for slot in range(one.processes):
            if (key, slot) not in filled and (key, slot) not in situation.resting:
                yield StartWorker(unit=one.unit, slot=slot)


def _serves(worker: Worker) -> bool:
    return worker.draining_s is None and not worker.is_stopping


def _hosts(situation: Situation, clusters: set[str]) -> Iterator[PublishHosts]:
    for key in sorted(name for name in clusters if PAIR not in name):
        hosts = [
            _host(worker, key) for worker in situation.workers if worker.unit == unit_of(key) and not worker.is_stopping
        ]
        yield PublishHosts(cluster=key, hosts=tuple(sorted(hosts, key=lambda host: host.port)))


def _host(worker: Worker, cluster: str) -> Host:
    is_draining = worker.draining_s is not None
    if not is_grpc(cluster):
        return Host(port=worker.port, socket=worker.socket, is_draining=is_draining)
    return Host(port=grpc_port(worker.port), is_draining=is_draining, asked_port=worker.port)


def _routes(situation: Situation, applied: Mapping[str, Served]) -> Iterator[PublishRoutes]:
    """Only once every cluster of theirs takes requests: Envoy refuses, or worse answers 503, before."""
    if situation.gateway is not None and clusters_of(applied.values()) <= situation.gateway.hosts.keys():
        yield PublishRoutes(served=applied)


def _ends(situation: Situation, wanted: Mapping[str, Wanted], clusters: set[str]) -> Iterator[DrainWorker | StopWorker]:
    for worker in situation.workers:
        if worker.is_stopping:
            continue
        if worker.unit not in wanted:
            if _is_gone(situation, clusters, worker.unit):
                yield StopWorker(pid=worker.pid)
        elif worker.draining_s is not None:
            if _is_idle(situation, worker, worker.draining_s):
                yield StopWorker(pid=worker.pid)
        elif worker.slot >= wanted[worker.unit].processes:
            yield DrainWorker(pid=worker.pid)


def _is_gone(situation: Situation, clusters: set[str], unit: str) -> bool:
    if situation.gateway is None:
        return False
    known = {*clusters, *situation.published.clusters, *situation.gateway.hosts}
    return all(unit_of(name) != unit for name in known if PAIR not in name)


def _is_idle(situation: Situation, worker: Worker, draining_s: float) -> bool:
    if draining_s > DRAIN_LIMIT_S:
        return True
    if situation.gateway is None or draining_s < SETTLE_S:
        return False
    hosts = situation.gateway.hosts
    seen = (
        hosts.get(worker.unit, {}).get(worker.port),
        hosts.get(grpc_cluster(worker.unit), {}).get(grpc_port(worker.port)),
    )
    return all(host is None or host.active == 0 for host in seen)
