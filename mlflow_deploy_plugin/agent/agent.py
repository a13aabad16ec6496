"""The agent whole: wires the rooms together, runs the loop until told to stop, and leaves nothing behind but its data.

Threads: this one decides and acts; one looks at the repository (:mod:`.watch`); one answers
Prometheus (:mod:`.metrics.exporter`); one turns Envoy's log and the Bentos' raw predictions into events.
"""

import logging
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Final

from mlflow_deploy_plugin.agent import telling
from mlflow_deploy_plugin.agent.atomic import replace_text
from mlflow_deploy_plugin.agent.attempts import AttemptLog, Conversion
from mlflow_deploy_plugin.agent.envoy.admin import Admin
from mlflow_deploy_plugin.agent.envoy.process import EnvoyProcess
from mlflow_deploy_plugin.agent.metrics.collecting import Attempts, Snapshot
from mlflow_deploy_plugin.agent.metrics.discovery import Bento
from mlflow_deploy_plugin.agent.metrics.exporter import Exporter
from mlflow_deploy_plugin.agent.predictions import PredictionTables
from mlflow_deploy_plugin.agent.reconciler import Reconciler
from mlflow_deploy_plugin.agent.status import AgentStatus, Phase
from mlflow_deploy_plugin.agent.supervisor import Supervisor
from mlflow_deploy_plugin.agent.upkeep import Upkeep
from mlflow_deploy_plugin.agent.watch import Sightings, Watch
from mlflow_deploy_plugin.config.home import Home
from mlflow_deploy_plugin.errors import ConfigError, EventStoreError, GatewayError
from mlflow_deploy_plugin.version import VERSION

AFTER_BUG_S: Final = 1.0
HEARTBEAT_S: Final = 5.0
EVENTS_S: Final = 1.0
COMPACT_S: Final = 60.0
IN_FLIGHT_S: Final = 20.0
"""Seconds that a stop waits for requests that are under way."""
EXIT_S: Final = 10.0
"""Seconds that a stop waits for processes."""

_log = logging.getLogger(__name__)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


@dataclass(slots=True, kw_only=True)
class Agent:
    """See the module; made by :func:`mlflow_deploy_plugin.agent.run.build`."""

    home: Home
    stage: str
    repository: str
    address: str
    """URL of the gateway."""
    reconciler: Reconciler
    supervisor: Supervisor
    envoy: EnvoyProcess
    admin: Admin
    watch: Watch
    attempts: AttemptLog
    predictions: PredictionTables
    exporter: Exporter
    upkeep: Upkeep
    clock: Callable[[], float] = time.monotonic
    _is_told: bool = False
    _is_pressed: bool = False
    _stop: threading.Event = field(default_factory=threading.Event)
    _sightings: Sightings = field(default_factory=Sightings)
    _said: AgentStatus | None = None
    _said_at: float = 0.0
    _said_turn: int = 0
    _started: str = field(default_factory=_now)
    _events_trouble: str = ""

    def stop(self) -> None:
        """End :meth:`run` after its turn. A signal may call it at any moment, so it takes no lock."""
        self._is_told = True

    def run(self) -> None:
        """Reconcile until :meth:`stop`, then take leave of clients and end every process."""
        watcher = threading.Thread(target=self.watch.run, args=(self._stop, self._sightings.tell), daemon=True)
        events = threading.Thread(target=self._record_events, daemon=True)
        self.exporter.start()
        watcher.start()
        events.start()
        while not self._is_told:
            try:
                pause_s = self.reconciler.turn()
                self._say()
            except Exception as error:  # noqa: BLE001  whatever it is: without the loop nobody replaces a worker that dies
                _log.exception("a turn failed")
                self.reconciler.trouble = f"{type(error).__name__}: {error}"
                pause_s = AFTER_BUG_S
            if (sighting := self._sightings.hear(pause_s)) is not None:
                self.reconciler.see(sighting)
        self._stop.set()
        events.join(timeout=EXIT_S)
        self._take_leave()

    def _say(self) -> None:
        """Write ``status.json`` where it would say something new, and now and then."""
        if self._said is not None and self.reconciler.turns == self._said_turn:
            return
        self._said_turn = self.reconciler.turns
        status = self._status()
        self.exporter.snapshot = self._snapshot(status)
        if status == self._said and self.clock() - self._said_at < HEARTBEAT_S:
            return
        try:
            replace_text(self.home.status, replace(status, updated=_now()).to_json())
        except OSError as error:
            self.reconciler.reserve.release()
            self._said_turn = -1
            _log.warning("status.json: %s", error)
            return
        self._said, self._said_at = status, self.clock()

    def _status(self) -> AgentStatus:
        reconciler = self.reconciler
        scene = telling.Scene(
            address=self.address,
            applied=reconciler.applied,
            pending=reconciler.pending,
            refused=reconciler.refused,
            workers=self.supervisor.workers(),
            trials=self.supervisor.trials(),
            gateway=reconciler.gateway,
            was_ready=self.supervisor.was_ready,
            is_looping=self.supervisor.is_looping,
            restarts=self.supervisor.restarts,
            devices=self.supervisor.devices,
        )
        deployments = telling.deployments(scene)
        failed = [f"deployment {name!r}: {one.reason}" for name, one in deployments.items() if one.state == "failed"]
        return AgentStatus(
            version=VERSION,
            pid=os.getpid(),
            started=self._started,
            stage=self.stage,
            repository=self.repository,
            gateway=self.address,
            metrics=f"http://{self.exporter.address}/metrics" if self.exporter.address else "",
            discovery=f"http://{self.exporter.address}/targets" if self.exporter.address else "",
            commit=reconciler.head,
            applied=reconciler.memory.commit,
            refused=reconciler.refusal(),
            phase=self._phase(bool(failed)),
            message=self._message(failed),
            envoy=self.envoy.pid or 0,
            endpoints=telling.endpoints(scene),
            deployments=deployments,
            pending=telling.waiting(reconciler.pending),
            seen=reconciler.seen,
            verdicts=reconciler.verdicts,
            failing={name: one.reason for name, one in sorted(reconciler.refused.items())},
            is_settled=reconciler.is_live,
        )

    def _snapshot(self, status: AgentStatus) -> Snapshot:
        units = {one.unit.deployment.name: key for key, one in self.reconciler.wanted.items()}
        return Snapshot(
            status=status,
            routes={name: served.endpoint.route for name, served in self.reconciler.applied.items()},
            wanted={name: self.reconciler.wanted[key].processes for name, key in units.items()},
            restarts={name: self.supervisor.restarts_of(key) for name, key in units.items()},
            bentos=tuple(
                Bento(unit=worker.unit, slot=worker.slot, port=worker.port)
                for worker in self.supervisor.workers()
                if self.supervisor.was_ready(worker.pid)
            ),
            decisions=self.reconciler.decisions,
            verdicts=dict(self.reconciler.outcomes),
        )

    def _phase(self, is_failing: bool) -> Phase:  # noqa: FBT001  a fact and no switch
        if self._troubles() or self.reconciler.refusal() or is_failing:
            return "degraded"
        return "applying" if self.reconciler.pending or not self.reconciler.is_live else "idle"

    def _troubles(self) -> list[str]:
        full = "" if self.reconciler.reserve.is_kept else f"the disk of {self.home.root} is full; free some space"
        return [text for text in (full, self.reconciler.trouble, self.watch.problem, self._events_trouble) if text]

    def _message(self, failed: list[str]) -> str:
        refusal = self.reconciler.refusal()
        refused = [f"commit {refusal.commit[:10]} is refused and the last good state serves"] if refusal else []
        waits = [f"endpoint {name!r}: {text}" for name, text in telling.waiting(self.reconciler.pending).items()]
        return "; ".join((*self._troubles(), *refused, *failed, *waits))

    def _record_events(self) -> None:
        """Fill the event store and keep it small; its own trouble never stops the serving."""
        next_upkeep = self.clock() + COMPACT_S
        while True:
            is_last = self._stop.wait(EVENTS_S)
            steps = [self._convert_attempts, self.predictions.convert]
            if self.clock() >= next_upkeep:
                next_upkeep = self.clock() + COMPACT_S
                steps.append(self.upkeep.run)
            self._events_trouble = "; ".join(filter(None, map(_trouble_of, steps)))
            if is_last:
                return

    def _convert_attempts(self) -> None:
        self._count(self.attempts.rotate_and_convert(self.admin.reopen_logs))

    def _count(self, done: Conversion) -> None:
        before = self.exporter.attempts
        self.exporter.attempts = Attempts(
            outcomes=Counter(before.outcomes) + Counter(done.outcomes), dropped=before.dropped + done.dropped
        )

    def _take_leave(self) -> None:
        _log.info("stopping")
        self.exporter.stop()
        self.home.status.unlink(missing_ok=True)  # nobody is to rely on one that leaves
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._press)
        self._drain()
        self.supervisor.stop_all()
        self.envoy.stop()
        if not self._wait(lambda: not self.supervisor.workers() and not self.envoy.stop(), EXIT_S):
            self.supervisor.kill_all()
            self.envoy.stop(signal.SIGKILL)
        self._record_rest()
        _log.info("stopped")

    def _press(self, *_: object) -> None:
        """A second signal: do not wait for anybody."""
        self._is_pressed = True

    def _drain(self) -> None:
        """Let the requests end that are under way."""
        try:
            if self.envoy.pid is None or not self.admin.active_requests():
                return
            self.admin.drain()
            self._wait(lambda: not self.admin.active_requests(), IN_FLIGHT_S)
        except GatewayError as error:
            _log.warning("%s", error)

    def _wait(self, is_over: Callable[[], bool], limit_s: float) -> bool:
        deadline = self.clock() + limit_s
        while self.clock() < deadline and not self._is_pressed:
            self.supervisor.reap()
            if is_over():
                return True
            time.sleep(0.05)
        return False

    def _record_rest(self) -> None:
        """What Envoy and the Bentos wrote last: nobody has the files any more, so that all of them are finished."""
        for step in (lambda: self.attempts.rotate_and_convert(self.attempts.path.touch), self.predictions.convert):
            if trouble := _trouble_of(step):
                _log.warning("%s", trouble)
        self.predictions.stop()


def _trouble_of(step: Callable[[], object]) -> str:
    """Do a step of the event store; what went wrong, if anything."""
    try:
        step()
    except GatewayError:
        return ""  # Envoy is away; its log waits, and the loop says that it is away
    except (ConfigError, EventStoreError, OSError) as error:
        return str(error)
    except Exception as error:  # noqa: BLE001  a bug here must not end the thread; what was not converted waits for the next round
        _log.exception("events")
        return f"events: {type(error).__name__}: {error}"
    return ""
