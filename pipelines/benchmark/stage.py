"""The stage: one subject at a time is started, found ready by an answered request, and ended with all it started."""

import contextlib
import http.client
import os
import random
import signal
import socket
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

from mlflow_deploy_plugin.agent.processes import Launch, OsProcesses, Processes, Running
from mlflow_deploy_plugin.errors import ModelserveError
from mlflow_deploy_plugin.packaging.build import last_lines
from pipelines.benchmark.accounting import Family
from pipelines.benchmark.machine import MATH_THREADS, Machine
from pipelines.benchmark.wires import Row, Wire

HOST: Final = "127.0.0.1"
START_LIMIT_S: Final = 180.0
_POLL_S: Final = 0.02
_LAST_WORDS_S: Final = 5.0
_GONE_S: Final = 10.0
_TAIL_BYTES: Final = 4000
_LOWEST_PORT: Final = 12_000
_USUAL_CLIENT_PORTS: Final = 32_768


class SubjectError(ModelserveError):
    """A server did not start, or answered wrongly; a row of the table, not the end of the run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """A process to start, and which core it has."""

    launch: Launch
    core: Literal["server", "load"] = "server"


@dataclass(frozen=True, slots=True, kw_only=True)
class Up:
    """A server that answers."""

    port: int
    family: Family
    start_s: float
    """From the first process's start to the first 200 of a real request."""
    start_cpu_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Where servers are started."""

    machine: Machine
    processes: Processes
    clock: Callable[[], float]
    sleep: Callable[[float], None]

    @classmethod
    def real(cls, machine: Machine) -> "Stage":
        """That of this machine."""
        return cls(machine=machine, processes=OsProcesses(), clock=time.monotonic, sleep=time.sleep)

    @contextlib.contextmanager
    def serving(self, placed: Sequence[Placed], *, port: int, wire: Wire, row: Row) -> Iterator[Up]:
        """All of ``placed``, from the first answer at ``port`` until the block ends.

        Raises:
            SubjectError: one ended before it answered, or none answered in time.
        """
        home = f"benchmark-{uuid.uuid4().hex}"
        running: list[Running] = []
        began = self.clock()
        try:
            running.extend(self.processes.start(self._kept_to_core(one, home)) for one in placed)
            family = Family(home=home, leaders=tuple(one.pid for one in running))
            self._wait(running, placed, port=port, ask=lambda: _ask(port, wire, row))
            yield Up(port=port, family=family, start_s=self.clock() - began, start_cpu_s=family.cpu_s())
        finally:
            self._end(running, Family(home=home, leaders=tuple(one.pid for one in running)))

    def _kept_to_core(self, one: Placed, home: str) -> Launch:
        core = self.machine.server_core if one.core == "server" else self.machine.load_core
        launch = one.launch
        return replace(
            launch,
            command=self.machine.on_core(core, launch.command),
            environment={**launch.environment, **MATH_THREADS},
            record={"home": home},
        )

    def _wait(self, running: Sequence[Running], placed: Sequence[Placed], *, port: int, ask: Callable[[], int]) -> None:
        until = self.clock() + START_LIMIT_S
        status = 0
        while self.clock() < until:
            for one, process in zip(placed, running, strict=True):
                if (how := self.processes.exit_of(process)) is not None:
                    raise SubjectError(f"ended before it answered ({how}): {_tail(one.launch.log)}")
            if (status := ask()) == http.client.OK:
                return
            self.sleep(_POLL_S)
        last = f"last status {status}" if status else f"port {port} took no request"
        raise SubjectError(f"no 200 within {START_LIMIT_S:.0f} s, {last}: {_tail(placed[0].launch.log)}")

    def _end(self, running: Sequence[Running], family: Family) -> None:
        """Ask once, wait a little, then end whatever is left, also where the waiting is interrupted."""
        try:
            for one in running:
                self.processes.signal(one, signal.SIGTERM)
            self._gone(running, family, within_s=_LAST_WORDS_S)
        finally:
            family.kill()
            self._gone(running, family, within_s=_GONE_S)

    def _gone(self, running: Sequence[Running], family: Family, *, within_s: float) -> None:
        until = self.clock() + within_s
        while self.clock() < until:
            ended = all(self.processes.exit_of(one) is not None for one in running)
            if ended and not family.pids():
                return
            self.sleep(_POLL_S)


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now, nor on the one above each, where a worker serves gRPC.

    Below the range from which the system deals ports to clients: one of those may be a connection's before a server
    that starts slowly listens on it.
    """
    found: list[int] = []
    dice = random.SystemRandom()  # another benchmark, or a test beside, looks for some too
    with contextlib.ExitStack() as held:
        while len(found) < count:
            port = dice.randrange(_LOWEST_PORT, _client_ports(), 2)
            if _is_bound(held, port) and _is_bound(held, port + 1):
                found.append(port)
    return found


def _client_ports() -> int:
    """Where that range begins; at least somewhat above the lowest port that is taken here."""
    try:
        text = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text(encoding="ascii")
    except OSError:
        return _USUAL_CLIENT_PORTS
    return max(int(text.split()[0]), _LOWEST_PORT + 1000)


def _is_bound(held: contextlib.ExitStack, port: int) -> bool:
    """Whether the port was free; it is kept until ``held`` ends."""
    probe = held.enter_context(socket.socket())
    try:
        probe.bind((HOST, port))
    except OSError:
        return False
    return True


def launch(command: Sequence[str], *, folder: Path, log: str, environment: Mapping[str, str] | None = None) -> Launch:
    """A launch with this process's variables and ``environment``."""
    kept = {name: text for name, text in os.environ.items() if name not in {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV"}}
    return Launch(
        command=tuple(command),
        cwd=folder,
        environment={**kept, **(environment or {})},
        log=folder / f"{log}.log",
        record={},
    )


def _ask(port: int, wire: Wire, row: Row) -> int:
    """Status of one request; 0 where there was no answer."""
    connection = http.client.HTTPConnection(HOST, port, timeout=10)
    try:
        sent = wire.sent(row)
        connection.request("POST", wire.path, body=sent.body, headers=dict(sent.headers))
        response = connection.getresponse()
        response.read()
    except (OSError, http.client.HTTPException):
        return 0
    else:
        return response.status
    finally:
        connection.close()


def _tail(log: Path) -> str:
    try:
        text = log.read_bytes()[-_TAIL_BYTES:].decode("utf-8", "replace")
    except OSError:
        return "it printed nothing"
    return last_lines(text)
