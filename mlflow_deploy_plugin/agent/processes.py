"""The door to processes: start, find again, signal, and see the end of them.

A process of ours carries its own record in its environment (``MODELSERVE_PROCESS``), so that the next agent finds it
even where this one was killed between the start and a note of it, or could not write one because the disk was full.
It leads a session of its own: a Ctrl-C meant for the agent does not reach it, and its children, which inherit the
record, are told from it. Linux only: ``/proc`` tells when a process started, so a reused pid is no process of ours.
"""

import json
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

RECORD: Final = "MODELSERVE_PROCESS"
ROTATE_BYTES: Final = 10 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """What to start."""

    command: tuple[str, ...]
    cwd: Path
    environment: Mapping[str, str]
    """All of it; nothing is inherited."""
    log: Path
    """Receives its output, appended."""
    record: Mapping[str, Any]
    """What the next agent must know of it; JSON."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A process that was started by this agent or by one before it."""

    pid: int
    born: int
    """Ticks after the machine's boot."""
    record: Mapping[str, Any] = field(default_factory=dict)


class Processes(Protocol):
    """The few verbs that the agent needs."""

    def start(self, launch: Launch) -> Running:
        """Start it. Raises ``OSError`` where the system refuses."""

    def find(self, home: str) -> tuple[Running, ...]:
        """Those whose record names ``home``."""

    def exit_of(self, running: Running) -> str | None:
        """How it ended, in words; ``None`` while it lives."""

    def signal(self, running: Running, number: signal.Signals) -> None:
        """Send a signal, unless it has ended."""

    def memory_of(self, running: Running) -> int:
        """Bytes of memory that are its own; 0 where it has ended."""


class OsProcesses:
    """Real ones."""

    def __init__(self) -> None:
        self._children: dict[int, subprocess.Popen[bytes]] = {}

    def start(self, launch: Launch) -> Running:
        """Start it as the leader of its own session."""
        rotate(launch.log)
        environment = {**launch.environment, RECORD: json.dumps(dict(launch.record))}
        with launch.log.open("ab") as log:
            child = subprocess.Popen(
                launch.command,
                cwd=launch.cwd,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._children[child.pid] = child
        return Running(pid=child.pid, born=born(child.pid) or 0, record=launch.record)

    def find(self, home: str) -> tuple[Running, ...]:
        """Those of this user whose record names ``home``, oldest first."""
        found = [running for running in _recorded() if running.record.get("home") == home]
        return tuple(sorted(found, key=lambda running: running.born))

    def exit_of(self, running: Running) -> str | None:
        """How it ended; a process that an earlier agent started leaves no exit code to this one."""
        if child := self._children.get(running.pid):
            code = child.poll()
            return None if code is None else _in_words(code)
        return None if born(running.pid) == running.born else "exited"

    def signal(self, running: Running, number: signal.Signals) -> None:
        """Send a signal, unless it has ended or its pid is another's by now."""
        if self.exit_of(running) is None:
            try:
                os.kill(running.pid, number)
            except ProcessLookupError:
                return  # it ended between the look and the signal, which is what a signal is for

    def memory_of(self, running: Running) -> int:
        """What it has written to, shared memory included; files that it only reads can be dropped at any time."""
        try:
            lines = Path(f"/proc/{running.pid}/status").read_text(encoding="ascii", errors="replace").splitlines()
        except OSError:
            return 0
        fields = dict(line.split(":", 1) for line in lines if ":" in line)
        own = (fields.get(name, "0").split()[0] for name in ("RssAnon", "RssShmem"))
        return 1024 * sum(map(int, own))


def rotate(log: Path) -> None:
    """Set a log aside that has grown large, and make its folder."""
    log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if log.exists() and log.stat().st_size > ROTATE_BYTES:
        log.replace(log.with_suffix(log.suffix + ".1"))


def _in_words(code: int) -> str:
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


def _recorded() -> Iterator[Running]:
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and (record := _record(folder)) is not None:
            pid = int(folder.name)
            if (when := born(pid)) is not None:
                yield Running(pid=pid, born=when, record=record)


def _record(folder: Path) -> Mapping[str, Any] | None:
    """The record in a process's environment, where it leads its session."""
    try:
        environment = (folder / "environ").read_bytes()
        if os.getsid(int(folder.name)) != int(folder.name):
            return None
    except OSError:
        return None  # it ended, or belongs to another user
    prefix = f"{RECORD}=".encode()
    texts = [entry[len(prefix) :] for entry in environment.split(b"\0") if entry.startswith(prefix)]
    try:
        record = json.loads(texts[0]) if texts else None
    except ValueError:
        return None  # a foreign variable of that name
    return record if isinstance(record, dict) else None


def born(pid: int) -> int | None:
    """When a process started, in ticks after the machine's boot; ``None`` where it has ended, a zombie included."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    state, *rest = stat.rpartition(")")[2].split()
    return None if state in {"Z", "X"} else int(rest[18])
