"""How full and how busy the GPUs are that this worker sees, from NVIDIA's own library (nvidia-ml-py).

Read when the metrics are asked for, and never before: a worker without a GPU imports and asks nothing. NVML counts the
whole device, other processes included, which is what decides whether a batch finds room.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

VISIBLE: Final = "CUDA_VISIBLE_DEVICES"

_logger = logging.getLogger("modelserve.gpus")


class Reading(NamedTuple):
    """One GPU at one moment."""

    gpu: str
    """Its UUID, which stays when others come and go."""
    used_bytes: int
    total_bytes: int
    utilization: float
    """Share of the last sampling period in which a kernel ran, 0 to 1."""


class GpuReader(Protocol):
    """Where readings come from."""

    def read(self) -> Sequence[Reading]:
        """One per visible GPU; none where there is none, or where the driver does not answer."""


@dataclass(frozen=True, slots=True)
class FixedReader:
    """The fake for tests, and the reader where no GPU is visible."""

    readings: tuple[Reading, ...] = ()

    def read(self) -> Sequence[Reading]:
        """Always the same."""
        return self.readings


@dataclass(slots=True)
class NvmlReader:
    """Asks NVML; ``visible`` as CUDA reads its variable, None for all."""

    visible: str | None
    library: Any = None
    """pynvml, or what stands for it in a test."""
    _handles: list[tuple[str, Any]] | None = field(default=None)

    def read(self) -> Sequence[Reading]:
        """One per visible GPU."""
        if self._handles is None:
            self._handles = self._open()
        if not self._handles:
            return ()
        try:
            return [self._reading(name, handle) for name, handle in self._handles]
        except self.library.NVMLError as error:
            _logger.warning("NVML does not answer: %s", error)
            return ()

    def _open(self) -> list[tuple[str, Any]]:
        try:
            if self.library is None:
                import pynvml  # type: ignore[import-untyped]  # noqa: PLC0415  only with a GPU, and an extra

                self.library = pynvml
            self.library.nvmlInit()
            handles = [self._handle(entry) for entry in self._entries()]
            return [(str(self.library.nvmlDeviceGetUUID(handle)), handle) for handle in handles]
        except ImportError:
            _logger.info("no GPU metrics: nvidia-ml-py is not installed")
        except self.library.NVMLError as error:
            _logger.info("no GPU metrics: %s", error)
        return []

    def _entries(self) -> list[str]:
        if self.visible is None:
            return [str(index) for index in range(self.library.nvmlDeviceGetCount())]
        return [entry.strip() for entry in self.visible.split(",") if entry.strip()]

    def _handle(self, entry: str) -> Any:  # noqa: ANN401
        if entry.isdecimal():
            return self.library.nvmlDeviceGetHandleByIndex(int(entry))
        return self.library.nvmlDeviceGetHandleByUUID(entry)

    def _reading(self, name: str, handle: Any) -> Reading:  # noqa: ANN401
        memory = self.library.nvmlDeviceGetMemoryInfo(handle)
        busy = self.library.nvmlDeviceGetUtilizationRates(handle).gpu
        return Reading(gpu=name, used_bytes=int(memory.used), total_bytes=int(memory.total), utilization=busy / 100)


def open_reader(environment: Mapping[str, str]) -> GpuReader:
    """The reader for a process with ``environment``.

    >>> open_reader({"CUDA_VISIBLE_DEVICES": ""}).read()
    ()
    """
    visible = environment.get(VISIBLE)
    return FixedReader() if visible is not None and visible.strip() in {"", "-1"} else NvmlReader(visible)
