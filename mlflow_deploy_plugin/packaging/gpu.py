"""How many GPUs this machine offers to our processes, and whether they are enough.

Asked of NVIDIA's library, else of ``nvidia-smi``, else of the driver's files; ``CUDA_VISIBLE_DEVICES`` is respected,
since the processes that are started inherit it.
"""

import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from mlflow_deploy_plugin.errors import ConfigError

VISIBLE: Final = "CUDA_VISIBLE_DEVICES"
PROC: Final = Path("/proc/driver/nvidia/gpus")
SMI_TIMEOUT_S: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpus:
    """What was found."""

    count: int
    source: str
    """Who said so, for the message of a refusal."""


Probe = Callable[[], Gpus | None]
"""Counts the machine's GPUs; ``None``: cannot tell."""


def require(gpu: int | Literal["auto"], *, workers: int, replicas: int, found: Gpus) -> int:
    """GPUs that each replica is granted, of those ``found``.

    >>> require("auto", workers=1, replicas=2, found=Gpus(count=1, source="nvidia-smi"))
    0

    Raises:
        ConfigError: they are too few, or fewer than one for each worker.
    """
    if gpu == "auto":
        return min(workers, found.count // replicas)
    if gpu and workers > gpu:
        raise ConfigError(f"-C workers={workers} asks for more processes than -C gpu={gpu} gives; set workers={gpu}")
    if (needed := gpu * replicas) > found.count:
        raise ConfigError(
            f"-C gpu={gpu} with {replicas} replica{'s' * (replicas > 1)} needs {needed} GPU{'s' * (needed > 1)},"
            f" this machine has {found.count} ({found.source}); -C gpu=auto takes what is there"
        )
    return gpu


def detect(environment: Mapping[str, str], probes: tuple[Probe, ...] | None = None) -> Gpus:
    """GPUs that a process with ``environment`` may use on this machine."""
    chain = (_by_library, _by_command, _by_driver) if probes is None else probes
    machine = next((found for probe in chain if (found := probe()) is not None), None)
    machine = machine or Gpus(count=0, source="no NVIDIA driver")
    return _visible(machine, environment[VISIBLE]) if VISIBLE in environment else machine


def _visible(machine: Gpus, listed: str) -> Gpus:
    """CUDA reads the list up to the first entry that names no GPU."""
    count = 0
    for entry in filter(None, (part.strip() for part in listed.split(","))):
        if entry.lstrip("+-").isdecimal() and not 0 <= int(entry) < machine.count:
            break
        count += 1
    return Gpus(count=min(count, machine.count), source=f"{VISIBLE}={listed!r} of {machine.count}, {machine.source}")


def _by_library() -> Gpus | None:
    try:
        import pynvml  # type: ignore[import-untyped]  # noqa: PLC0415  nvidia-ml-py, which torch and others bring
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
        count = int(pynvml.nvmlDeviceGetCount())
        pynvml.nvmlShutdown()
    except pynvml.NVMLError:
        return None
    return Gpus(count=count, source="NVML")


def _by_command() -> Gpus | None:
    try:
        listed = subprocess.run(
            ["nvidia-smi", "-L"], capture_output=True, text=True, check=True, timeout=SMI_TIMEOUT_S
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    return Gpus(count=sum(line.startswith("GPU ") for line in listed.splitlines()), source="nvidia-smi")


def _by_driver() -> Gpus | None:
    return Gpus(count=len(list(PROC.iterdir())), source=str(PROC)) if PROC.is_dir() else None
