"""Workers: starts them, finds those of an earlier agent again, sees their end, restarts them ever more slowly.

Knows processes and slots, and neither routes nor Envoy. A process that ends before it was ready, or soon after its
start, waits before it is started again: 0.25 s, doubling to 30 s; one that ran well is replaced at once.
"""

import logging
import random
import signal
import socket
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from mlflow_deploy_plugin.agent.gpus import Holding, devices_for, replica_of, share_of
from mlflow_deploy_plugin.agent.launch import Launcher, Place
from mlflow_deploy_plugin.agent.limits import memory_limit, reason
from mlflow_deploy_plugin.agent.plan import Trial, Worker
from mlflow_deploy_plugin.agent.processes import Processes, Running
from mlflow_deploy_plugin.agent.units import Unit, deployment_of, grpc_port
from mlflow_deploy_plugin.errors import AgentError
from mlflow_deploy_plugin.spec.sockets import abstract, socket_name

KIND: Final = "worker"
WELL_S: Final = 20.0
"""A process that ran this long did not die of its start."""
FIRST_REST_S: Final = 0.25
LONGEST_REST_S: Final = 30.0
KILL_AFTER_S: Final = 15.0
"""A worker that was told to exit and has not is killed; Envoy has drained it before."""
WEIGH_S: Final = 1.0
"""Seconds between two looks at how much memory the workers have."""
SUCCESSOR_S: Final = 120.0
"""Seconds that the next worker of a unit waits for the successor of the one before it, at most."""
LAST_WORDS: Final = 3
"""Lines of a dead worker's log that become its reason."""
# Below Linux' own range for outgoing connections (32768 and up), so that none of them takes a port between our look
# and the worker's bind, which may be seconds later.
PORTS: Final = range(18000, 32000)

_log = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class _Known:
    """A worker and what has become of it."""

    running: Running
    unit: str
    slot: int
    port: int
    socket: str = ""
    devices: tuple[str, ...] = ()
    replica: int = 0
    replica_devices: tuple[str, ...] = ()
    log: Path
    log_from: int = 0
    began: float
    was_ready: bool = False
    draining_since: float | None = None
    stopping_since: float | None = None
    memory_limit: int = 0
    """Bytes; 0: none."""
    excess: str = ""
    """Why it must go before its time."""
    asked_at: float = 0.0
    """When it was asked to, for its excess."""


@dataclass(slots=True, kw_only=True)
class _Fate:
    """How one slot of one unit has fared."""

    restarts: int = 0
    quick_deaths: int = 0
    not_before: float = 0.0


@dataclass(slots=True, kw_only=True)
class Supervisor:
    """The workers of one home."""

    home: str
    """Path; part of every record."""
    processes: Processes
    launcher: Launcher
    gpus: Callable[[], tuple[str, ...]]
    clock: Callable[[], float]
    _known: dict[int, _Known] = field(default_factory=dict)
    _fates: dict[tuple[str, int], _Fate] = field(default_factory=dict)
    _trials: dict[str, Trial] = field(default_factory=dict)
    _weighed_at: float = 0.0
    _replacing: dict[str, float] = field(default_factory=dict)
    """Units of which one worker goes for its memory, and when it was asked to; until its successor is ready."""

    def adopt(self, found: Iterable[Running]) -> None:
        """Take over the workers that an earlier agent left."""
        for running in found:
            if running.record.get("kind") == KIND:
                self._known[running.pid] = _adopted(running, self.clock())
                _log.info("adopted worker %s of %s", running.pid, running.record["unit"])

    def workers(self) -> tuple[Worker, ...]:
        """Those that live."""
        now = self.clock()
        return tuple(
            Worker(
                unit=one.unit,
                slot=one.slot,
                port=one.port,
                socket=one.socket,
                pid=pid,
                draining_s=None if one.draining_since is None else now - one.draining_since,
                is_stopping=one.stopping_since is not None,
            )
            for pid, one in self._known.items()
        )

    def resting(self) -> frozenset[tuple[str, int]]:
        """Slots that wait before their next start."""
        now = self.clock()
        return frozenset(place for place, fate in self._fates.items() if fate.not_before > now)

    def trials(self) -> Mapping[str, Trial]:
        """How each unit has fared."""
        return dict(self._trials)

    def restarts(self, unit: str, slot: int) -> int:
        """How often the process of a slot has been replaced since this agent began."""
        fate = self._fates.get((unit, slot))
        return fate.restarts if fate else 0

    def restarts_of(self, unit: str) -> int:
        """How often the processes of a unit have been replaced, those that rest now included."""
        return sum(fate.restarts for (key, _), fate in self._fates.items() if key == unit)

    def devices(self, pid: int) -> tuple[str, ...]:
        """GPUs of a worker."""
        return self._known[pid].devices if pid in self._known else ()

    def was_ready(self, pid: int) -> bool:
        """Whether a living worker has been ready before."""
        return pid in self._known and self._known[pid].was_ready

    def is_looping(self, unit: str) -> bool:
        """Whether some process of the unit dies again and again."""
        return any(key == unit and fate.quick_deaths > 2 for (key, _), fate in self._fates.items())  # noqa: PLR2004

    def mark_ready(self, unit: str, port: int) -> None:
        """Envoy found this one ready."""
        for one in self._known.values():
            if (one.unit, one.port) == (unit, port) and not one.was_ready:
                one.was_ready = True
                self._replacing.pop(unit, None)
                self._trials[unit] = Trial(was_ready=True)

    def start(self, unit: Unit, slot: int) -> None:
        """Start the process of ``slot``; where it cannot be, remember the obstacle and rest."""
        fate = self._fates.setdefault((unit.key, slot), _Fate())
        try:
            known = self._start(unit, slot)
        except (AgentError, OSError) as error:
            fate.not_before = self.clock() + 1.0
            old = self._trials.get(unit.key, Trial())
            self._trials[unit.key] = Trial(deaths=old.deaths, was_ready=old.was_ready, obstacle=str(error))
            return
        self._known[known.running.pid] = known
        if self._trials.get(unit.key, Trial()).obstacle:
            self._trials[unit.key] = Trial()
        _log.info("started worker %s of %s on port %s", known.running.pid, unit.key, known.port)

    def _start(self, unit: Unit, slot: int) -> _Known:
        replica = self._replica_devices(unit, slot)
        devices = share_of(unit.deployment, slot, replica) if replica else ()
        port = _free_port(taken={one.port for one in self._known.values()})
        record = {
            "home": self.home,
            "kind": KIND,
            "unit": unit.key,
            "slot": slot,
            "port": port,
            "devices": devices,
            "replica": replica_of(unit.deployment, slot),
            "replica_devices": replica,
            "memory_limit": memory_limit(unit.deployment),
        }
        launch = self.launcher(unit, Place(slot=slot, port=port, devices=devices, record=record))
        log_from = launch.log.stat().st_size if launch.log.exists() else 0
        running = self.processes.start(launch)
        return _known(running, {**launch.record, "log": str(launch.log)}, log_from=log_from, began=self.clock())

    def _replica_devices(self, unit: Unit, slot: int) -> tuple[str, ...]:
        count = unit.deployment.resources.gpu
        if not count:
            return ()
        visible = self.gpus()
        holdings = tuple(
            Holding(
                deployment=deployment_of(one.unit),
                unit=one.unit,
                replica=one.replica,
                devices=one.replica_devices,
            )
            for one in self._known.values()
            if one.replica_devices
        )
        devices = devices_for(unit.deployment, unit.key, slot, visible=visible, holdings=holdings)
        if devices is None:
            taken = sorted({f"{held.deployment} ({', '.join(held.devices)})" for held in holdings})
            raise AgentError(
                f"it asks for {count} GPU{'s' * (count > 1)} for each replica; this machine has"
                f" {', '.join(visible) or 'none'}, held by {', '.join(taken) or 'nobody'}; use -C gpu=auto"
            )
        return devices

    def drain(self, pid: int) -> None:
        """Remember that this worker takes nothing new."""
        if one := self._known.get(pid):
            one.draining_since = one.draining_since or self.clock()

    def stop(self, pid: int) -> None:
        """Ask a worker to exit."""
        if one := self._known.get(pid):
            one.stopping_since = one.stopping_since or self.clock()
            self.processes.signal(one.running, signal.SIGTERM)
            _log.info("stopping worker %s of %s", pid, one.unit)

    def stop_all(self) -> None:
        """Ask every worker to exit."""
        for pid, one in self._known.items():
            if one.stopping_since is None:
                self.stop(pid)

    def reap(self) -> None:
        """See who has ended, and kill who was told to exit and has not."""
        now = self.clock()
        for pid, one in list(self._known.items()):
            how = self.processes.exit_of(one.running)
            if how is not None:
                del self._known[pid]
                self._ended(one, how, now)
            elif _is_overdue(one, now):
                self.processes.signal(one.running, signal.SIGKILL)
        if now - self._weighed_at >= WEIGH_S:
            self._weighed_at = now
            self._weigh(now)

    def _weigh(self, now: float) -> None:
        """Ask those to end that have more memory than they may, one of a unit at a time."""
        self._replacing = {unit: since for unit, since in self._replacing.items() if now - since < SUCCESSOR_S}
        for pid, one in self._known.items():
            if not one.memory_limit or one.unit in self._replacing or one.stopping_since is not None:
                continue
            if (used := self.processes.memory_of(one.running)) > one.memory_limit:
                self._replacing[one.unit] = now
                one.excess, one.asked_at = reason(used, one.memory_limit), now
                self.processes.signal(one.running, signal.SIGTERM)
                _log.warning("worker %s of %s is replaced: %s", pid, one.unit, one.excess)

    def kill_all(self) -> None:
        """End what is left."""
        for one in self._known.values():
            self.processes.signal(one.running, signal.SIGKILL)

    def forget(self, wanted: Iterable[str]) -> None:
        """Drop the history of units that nobody wants and nobody runs."""
        kept = {*wanted, *(one.unit for one in self._known.values())}
        self._fates = {place: fate for place, fate in self._fates.items() if place[0] in kept}
        self._trials = {unit: trial for unit, trial in self._trials.items() if unit in kept}

    def _ended(self, one: _Known, how: str, now: float) -> None:
        if one.stopping_since is not None or one.draining_since is not None:
            return
        fate = self._fates.setdefault((one.unit, one.slot), _Fate())
        fate.restarts += 1
        is_well = one.was_ready and now - one.began > WELL_S
        fate.quick_deaths = 0 if is_well else fate.quick_deaths + 1
        # The first death of one that was ready may be bad luck, and users wait for its successor.
        deaths = fate.quick_deaths - one.was_ready
        fate.not_before = now + min(LONGEST_REST_S, FIRST_REST_S * 2 ** (deaths - 1)) if deaths > 0 else now
        old = self._trials.get(one.unit, Trial())
        words = one.excess or _last_words(one.log, one.log_from)
        told = f"{how}: {words}" if words else how
        _log.warning("worker %s of %s: %s", one.running.pid, one.unit, told)
        self._trials[one.unit] = Trial(
            deaths=0 if old.was_ready else old.deaths + 1, was_ready=old.was_ready, reason=told
        )


def _is_overdue(one: _Known, now: float) -> bool:
    """Whether it was told to exit and has had its time."""
    asked = one.stopping_since if one.stopping_since is not None else one.asked_at if one.excess else None
    return asked is not None and now - asked > KILL_AFTER_S


def _adopted(running: Running, now: float) -> _Known:
    known = _known(running, running.record, log_from=0, began=now)
    known.was_ready = True  # not known, and the kinder guess: it is not held against its deployment
    return known


def _known(running: Running, record: Mapping[str, Any], *, log_from: int, began: float) -> _Known:
    return _Known(
        running=running,
        unit=record["unit"],
        slot=record["slot"],
        port=record["port"],
        socket=record.get("socket", ""),
        devices=tuple(record["devices"]),
        replica=record["replica"],
        replica_devices=tuple(record["replica_devices"]),
        log=Path(record.get("log", "/dev/null")),
        memory_limit=record.get("memory_limit", 0),
        log_from=log_from,
        began=began,
    )


def _last_words(log: Path, since: int) -> str:
    """The end of what a process wrote after byte ``since``."""
    try:
        with log.open("rb") as file:
            file.seek(max(since, log.stat().st_size - 8192) if log.stat().st_size > since else 0)
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return ""  # the disk took it; the exit code is told anyway
    said = [line.strip() for line in lines if line.strip()]
    return " / ".join(said[-LAST_WORDS:])[-600:]


def _free_port(taken: set[int]) -> int:
    """A port of this machine that nobody listens on, nor on the one beside.

    Raises:
        AgentError: there is none.
    """
    for _ in range(500):
        port = random.choice(PORTS)  # noqa: S311  not for secrets
        pair = {port, grpc_port(port)}
        is_ours = bool(pair & {held for one in taken for held in (one, grpc_port(one))})
        if not is_ours and all(map(_is_free, pair)) and _is_free_socket(socket_name(port)):
            return port
    raise AgentError(f"no free port on 127.0.0.1 between {PORTS.start} and {PORTS.stop}; stop something that listens")


def _is_free_socket(name: str) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.bind(abstract(name))
        except OSError:
            return False  # somebody else's
    return True


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False  # somebody else's
    return True
