"""Where a torch module computes: the seam between batches of NumPy and a device, with a fake that runs out of memory.

CUDA: one pinned buffer per kind of batch in each direction, so that copies are DMA and do not wait for the CPU; one
stream; one wait per batch, when the answer is back. A CUDA graph is recorded per bucket of rows and replayed, which
takes the launching of kernels, the larger part of a small model's time, out of every batch.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

    Array = np.ndarray[Any, np.dtype[Any]]
    Module = Callable[[Any], Any]

MOST_BUFFERS: Final = 16
"""Kinds of batches (dtype and trailing shape) whose pinned memory is kept; beyond them a batch is pinned for itself."""
GRAPH_ROUNDS: Final = 3
"""Runs before a graph is recorded: cuDNN and cuBLAS choose their kernels in the first ones."""


class Accelerator(Protocol):
    """One device."""

    @property
    def name(self) -> str:
        """As torch calls it: ``cpu``, ``cuda:0``."""

    def run(self, module: Module, batch: Array) -> Array:
        """The module's answer to a batch, on the host again.

        Raises:
            TypeError: the module returns something else than one tensor.
        """

    def record(self, module: Module, batch: Array) -> Module | None:
        """A faster form of ``module`` for batches of exactly this shape and type; None where the device has none."""

    def is_out_of_memory(self, error: BaseException) -> bool:
        """Whether an error means that a smaller batch might do."""

    def free(self) -> None:
        """Give back what is held and not used."""


@dataclass(slots=True)
class TorchAccelerator:
    """A device of torch that shares the host's memory."""

    name: str = "cpu"

    def run(self, module: Module, batch: Array) -> Array:
        """Without a copy in either direction."""
        import torch  # noqa: PLC0415  the model has imported it

        with torch.inference_mode():
            return to_host(module(torch.from_numpy(batch)))

    def record(self, module: Module, batch: Array) -> Module | None:  # noqa: ARG002
        """There is no launching to save."""
        return None

    def is_out_of_memory(self, error: BaseException) -> bool:
        """Python's own, or what torch's allocator for the host says."""
        return isinstance(error, MemoryError) or "can't allocate memory" in str(error)

    def free(self) -> None:
        """The allocator of the host keeps nothing."""


@dataclass(slots=True)
class CudaAccelerator:
    """One GPU."""

    name: str
    _inputs: dict[tuple[Any, ...], Any] = field(default_factory=dict)
    """Pinned memory by dtype and trailing shape."""

    def run(self, module: Module, batch: Array) -> Array:
        """Copy in, compute, copy out; the one wait is at the end."""
        import torch  # noqa: PLC0415

        with torch.inference_mode(), torch.cuda.device(self.name):
            staged = self._pinned(torch.from_numpy(batch))
            answer = module(staged.to(self.name, non_blocking=True))
            check_tensor(answer)
            host = torch.empty(answer.shape, dtype=answer.dtype, pin_memory=True)  # cached by torch's own allocator
            host.copy_(answer, non_blocking=True)
            torch.cuda.current_stream().synchronize()
            return to_host(host)

    def _pinned(self, batch: Any) -> Any:  # noqa: ANN401  a tensor
        """The batch in pinned memory; the last one has left it, since every run waits for its end."""
        key, rows = (batch.dtype, tuple(batch.shape[1:])), batch.shape[0]
        held = self._inputs.get(key)
        if held is None or held.shape[0] < rows:
            if held is None and len(self._inputs) >= MOST_BUFFERS:
                return batch.pin_memory()
            held = self._inputs[key] = batch.pin_memory()
            return held
        return held[:rows].copy_(batch)

    def record(self, module: Module, batch: Array) -> Module | None:
        """A CUDA graph; its memory is its own, so batches go in and answers come out by copies on the device."""
        import torch  # noqa: PLC0415

        with torch.inference_mode(), torch.cuda.device(self.name):
            given = torch.from_numpy(batch).to(self.name)
            side = torch.cuda.Stream()
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                for _ in range(GRAPH_ROUNDS):
                    module(given)
            torch.cuda.current_stream().wait_stream(side)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                answer = module(given)
            check_tensor(answer)

        def replay(tensor: Any) -> Any:  # noqa: ANN401
            given.copy_(tensor, non_blocking=True)
            graph.replay()
            return answer

        return replay

    def is_out_of_memory(self, error: BaseException) -> bool:
        """Torch's allocator, or cuBLAS that finds no room for its workspace."""
        import torch  # noqa: PLC0415

        return isinstance(error, torch.cuda.OutOfMemoryError) or "CUBLAS_STATUS_ALLOC_FAILED" in str(error)

    def free(self) -> None:
        """Return cached blocks, which may be too small for what is asked."""
        import torch  # noqa: PLC0415

        torch.cuda.empty_cache()


@dataclass(slots=True)
class FakeAccelerator:
    """For tests: computes on the host, and has no room for more than ``rows``."""

    name: str = "cuda:0"
    rows: int = 1_000_000
    has_graphs: bool = False
    runs: list[int] = field(default_factory=list)
    """Rows of each batch that was tried."""
    recorded: list[int] = field(default_factory=list)
    freed: int = 0

    def run(self, module: Module, batch: Array) -> Array:
        """As the host does."""
        self.runs.append(len(batch))
        if len(batch) > self.rows:
            raise MemoryError(f"no room for {len(batch)} rows")
        return TorchAccelerator().run(module, batch)

    def record(self, module: Module, batch: Array) -> Module | None:
        """The module itself."""
        self.recorded.append(len(batch))
        return module if self.has_graphs else None

    def is_out_of_memory(self, error: BaseException) -> bool:
        """Only its own."""
        return isinstance(error, MemoryError)

    def free(self) -> None:
        """Count it."""
        self.freed += 1


def accelerator(device: str) -> Accelerator:
    """The accelerator of a torch device."""
    return CudaAccelerator(device) if device.startswith("cuda") else TorchAccelerator(device)


def check_tensor(answer: Any) -> None:  # noqa: ANN401  a module returns anything
    """Refuse what MLflow's own wrapper refuses."""
    import torch  # noqa: PLC0415

    if not isinstance(answer, torch.Tensor):
        raise TypeError(f"Expected PyTorch model to output a single output tensor, but got {type(answer)}")


def to_host(answer: Any) -> Array:  # noqa: ANN401
    """A tensor of the host as an array; half precision, which NumPy or JSON lacks, as float32."""
    import torch  # noqa: PLC0415

    check_tensor(answer)
    wide = answer.float() if answer.dtype in {torch.bfloat16, torch.float16} else answer
    array: Array = wide.numpy()
    return array
