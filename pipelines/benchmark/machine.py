"""The machine under measurement: two cores, and the programs that a measurement needs."""

import os
import platform
import shutil
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mlflow_deploy_plugin.errors import UserError

_TWO: Final = 2

MATH_THREADS: Final = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"), "1"
)
"""Every subject computes with one thread: it has one core."""


class MachineError(UserError):
    """This machine cannot measure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """Which core serves, and which one loads it."""

    server_core: int
    load_core: int
    wrk: str
    taskset: str

    def on_core(self, core: int, command: tuple[str, ...]) -> tuple[str, ...]:
        """``command`` kept to one core, with all that it starts.

        >>> machine = Machine(server_core=0, load_core=1, wrk="wrk", taskset="taskset")
        >>> machine.on_core(0, ("sleep", "1"))
        ('taskset', '-c', '0', 'sleep', '1')
        """
        return (self.taskset, "-c", str(core), *command)


def find(cores: Collection[int], which: Callable[[str], str | None] = shutil.which) -> Machine:
    """The machine, with ``cores`` that this process may use.

    Raises:
        MachineError: fewer than two cores, or a program is missing.

    >>> find({0})
    Traceback (most recent call last):
    ...
    pipelines.benchmark.machine.MachineError: 1 core may be used, and the server and its load need one each
    """
    if len(cores) < _TWO:
        raise MachineError(f"{len(cores)} core may be used, and the server and its load need one each")
    wrk, taskset = (_program(name, package, which) for name, package in (("wrk", "wrk"), ("taskset", "util-linux")))
    first, second, *_ = sorted(cores)
    return Machine(server_core=first, load_core=second, wrk=wrk, taskset=taskset)


def _program(name: str, package: str, which: Callable[[str], str | None]) -> str:
    if found := which(name):
        return found
    raise MachineError(f"{name} is not installed; apt-get install {package}")


def describe() -> str:
    """The processor, its cores and the system, in a line."""
    return f"{_processor()}, {os.cpu_count()} cores, {platform.system()} {platform.release().split('-')[0]}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())
