"""What a server costs, from ``/proc``: CPU time, memory and processes, of itself and all that it started.

A process belongs to a server if its environment carries the server's record, as those that the agent starts do
(:mod:`mlflow_deploy_plugin.agent.processes`). Children inherit it however they are started; one that cleared its
environment belongs by its session.
"""

import contextlib
import json
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mlflow_deploy_plugin.agent.processes import RECORD

_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")
_KIB: Final = 1024
_SCHEDULED: Final = 2
"""Which of a process's clocks: all that the scheduler gave it. The encoding is that of clock_getcpuclockid(3)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """A server's processes, told by the ``home`` of their record and the sessions that were started for it."""

    home: str
    leaders: tuple[int, ...] = ()

    def pids(self) -> tuple[int, ...]:
        """Those that live."""
        return tuple(self._members())

    def cpu_s(self) -> float:
        """Seconds of CPU so far: of each, to the nanosecond, and of children that ended and were waited for."""
        return sum(map(_cpu_s, self._members()))

    def pss_bytes(self) -> int:
        """Memory: each process's own, and its share of what several hold (proportional set size)."""
        return sum(map(_pss_bytes, self._members()))

    def kill(self) -> None:
        """End every one of them, at once."""
        for pid in self._members():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _members(self) -> Iterator[int]:
        entry = json.dumps(self.home).encode()
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit() and self._is_member(folder, entry):
                yield int(folder.name)

    def _is_member(self, folder: Path, entry: bytes) -> bool:
        if not _fields(int(folder.name)):
            return False  # ended; a zombie costs nothing more
        with contextlib.suppress(OSError):
            if os.getsid(int(folder.name)) in self.leaders:
                return True
            environment = (folder / "environ").read_bytes().split(b"\0")
            return any(one.startswith(RECORD.encode() + b"=") and entry in one for one in environment)
        return False


def busy_s(core: int) -> float:
    """Seconds that a core has worked for anybody since the machine's start."""
    lines = Path("/proc/stat").read_text(encoding="ascii").splitlines()
    ticks = next(line.split()[1:9] for line in lines if line.startswith(f"cpu{core} "))
    user, nice, system, _idle, _iowait, *rest = map(int, ticks)  # rest: interrupts and what the hypervisor took
    return (user + nice + system + sum(rest)) / _TICKS_PER_S


def _fields(pid: int) -> list[str]:
    """The fields of ``/proc/PID/stat`` behind the name; none where it has ended."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return []
    state, *rest = text.rpartition(")")[2].split()
    return [] if state in {"Z", "X"} else [state, *rest]


def _cpu_s(pid: int) -> float:
    """From the process's CPU clock, since ``/proc`` counts ticks of 10 ms, a hundredth of a short load."""
    try:
        own_s = time.clock_gettime(~pid << 3 | _SCHEDULED)
    except OSError:
        return 0.0  # it has ended
    return own_s + sum(map(int, _fields(pid)[13:15])) / _TICKS_PER_S  # cutime, cstime: proc_pid_stat(5)


def _pss_bytes(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * _KIB for line in lines if line.startswith("Pss:"))
