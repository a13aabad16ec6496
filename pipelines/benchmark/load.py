"""The load: wrk on its core for some seconds, while a sample of answers is compared with the model's own."""

import contextlib
import http.client
import json
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pipelines.benchmark.accounting import busy_s
from pipelines.benchmark.latencies import Latencies
from pipelines.benchmark.machine import Machine
from pipelines.benchmark.stage import HOST, SubjectError, Up
from pipelines.benchmark.wires import Wire
from pipelines.benchmark.works import Prepared

SCRIPT: Final = Path(__file__).with_name("load.lua")
_TIMEOUT_S: Final = 10
"""Seconds after which wrk counts a request as lost."""
_CHECKS_PER_S: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What one load told."""

    seconds: float
    requests: int
    """Answered ones, those of the comparison among them."""
    cpu_s: float
    """CPU of the server's processes over that time."""
    p50_ms: float
    p99_ms: float
    failed: int
    """Answers whose status is above 399."""
    socket_errors: int
    checked: int
    wrong: int
    """Checked answers that were not the model's own."""
    foreign_share: float
    """Of the server's core and that time, what others took: above some per cent, mistrust the seconds."""
    latencies: Latencies


def put_requests(prepared: Prepared, wire: Wire, folder: Path) -> None:
    """Write the requests of every row where wrk's script reads them."""
    folder.mkdir(parents=True, exist_ok=True)
    sent = [wire.sent(row) for row in prepared.rows]
    (folder / "path").write_text(wire.path, encoding="utf-8")
    (folder / "headers").write_text("".join(f"{n}: {v}\n" for n, v in sent[0].headers.items()), encoding="utf-8")
    for index, one in enumerate(sent):
        (folder / str(index)).write_bytes(one.body)


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What is asked of one server, and what it must answer."""

    machine: Machine
    prepared: Prepared
    wire: Wire
    requests: Path
    """Folder of :func:`put_requests`."""
    is_checked: bool = True
    """The empty app answers nothing that could be right."""

    def run(self, up: Up, *, connections: int, seconds: float) -> Measured:
        """Load it.

        Raises:
            SubjectError: wrk failed, or nothing was answered.
        """
        checks = _Checks(prepared=self.prepared, wire=self.wire, port=up.port)
        with checks.running() if self.is_checked else contextlib.nullcontext():
            began, before, busy_before = time.monotonic(), up.family.cpu_s(), busy_s(self.machine.server_core)
            told = self._wrk(up.port, connections=connections, seconds=seconds)
            cpu_s, core_s = up.family.cpu_s() - before, busy_s(self.machine.server_core) - busy_before
            elapsed_s = time.monotonic() - began
        if not told["requests"]:
            raise SubjectError(f"answered nothing at {connections} connections")
        return Measured(
            seconds=told["duration_us"] / 1e6,
            requests=told["requests"] + checks.checked,
            cpu_s=cpu_s,
            p50_ms=told["p50_us"] / 1e3,
            p99_ms=told["p99_us"] / 1e3,
            failed=told["failed"],
            socket_errors=told["socket_errors"],
            checked=checks.checked,
            wrong=checks.wrong,
            foreign_share=max(0.0, core_s - cpu_s) / elapsed_s,
            latencies=Latencies.of(told["latencies"]),
        )

    def _wrk(self, port: int, *, connections: int, seconds: float) -> dict[str, Any]:
        wrk = (
            *(self.machine.wrk, "--threads", "1", "--connections", str(connections), "--duration", f"{seconds:.0f}s"),
            *(
                "--timeout",
                f"{_TIMEOUT_S}s",
                "--script",
                str(SCRIPT),
                f"http://{HOST}:{port}",
                "--",
                str(self.requests),
            ),
        )
        command = self.machine.on_core(self.machine.load_core, wrk)
        done = subprocess.run(command, check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
        if done.returncode != 0 or not lines:
            raise SubjectError(f"wrk failed: {(done.stderr or done.stdout).strip()[-300:]}")
        told: dict[str, Any] = json.loads(lines[-1])
        return told


@dataclass(slots=True, kw_only=True)
class _Checks:
    """Asks for one row after another on a connection of its own, and compares."""

    prepared: Prepared
    wire: Wire
    port: int
    checked: int = 0
    wrong: int = 0
    _end: threading.Event = field(default_factory=threading.Event)

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Within the block."""
        thread = threading.Thread(target=self._run, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._end.set()
            thread.join()

    def _run(self) -> None:
        index = 0
        with contextlib.closing(http.client.HTTPConnection(HOST, self.port, timeout=_TIMEOUT_S)) as connection:
            while not self._end.wait(1 / _CHECKS_PER_S):
                self.checked += 1
                self.wrong += not self._is_right(connection, index)
                index = (index + 1) % len(self.prepared.rows)

    def _is_right(self, connection: http.client.HTTPConnection, index: int) -> bool:
        sent = self.wire.sent(self.prepared.rows[index])
        try:
            connection.request("POST", self.wire.path, body=sent.body, headers=dict(sent.headers))
            response = connection.getresponse()
            body: Any = response.read()
            return response.status == http.client.OK and self.prepared.is_right(index, self.wire.read(body))
        except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError, IndexError):
            connection.close()
            return False
