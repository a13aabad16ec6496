"""An ONNX graph with one input of floats, run by ONNX Runtime on as many threads as this worker may use."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np

from mlflow_deploy_plugin.serving.compiled.form import Computed

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from mlflow_deploy_plugin.serving.request import Wants


THREADS: Final = "OMP_NUM_THREADS"
"""Says how many threads this worker's mathematics may have; one where it does not."""
TYPES: Final = {"tensor(double)": "float64", "tensor(float)": "float32"}


def worker_threads() -> int | None:
    """How many threads its supervisor gives this worker; None where nobody says."""
    threads = os.environ.get(THREADS, "")
    return int(threads) if threads.isdigit() else None


def open_session(path: Path, *, threads: int) -> Any:  # noqa: ANN401  onnxruntime has no types
    """A graph on the CPU. Other models live on this machine: threads sleep when there is nothing to do."""
    import onnxruntime  # noqa: PLC0415  only a Bento with such a form needs it

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxForm:
    """One graph: input ``x``, its first axis the rows, then the prediction, and the probabilities of a classifier."""

    session: Any
    dtype: np.dtype[Any]
    """Of ``x``."""
    name: str = field(default="onnx", init=False)

    @classmethod
    def of_file(cls, path: Path) -> Self:
        """Open a graph.

        Raises:
            ImportError: onnxruntime is not installed.
            RuntimeError: onnxruntime refuses the file.
        """
        try:
            session = open_session(path, threads=worker_threads() or 1)
            return cls(session=session, dtype=np.dtype(TYPES[session.get_inputs()[0].type]))
        except ImportError:
            raise
        except Exception as error:  # its exceptions share no base but Exception
            raise RuntimeError(str(error)) from error

    def compute(self, values: NDArray[Any], wants: Wants) -> Computed:
        """The answers to a table, or to a tensor."""
        outputs = self.session.run(None, {"x": np.ascontiguousarray(values, dtype=self.dtype)})
        if len(outputs) == 1:
            return Computed(outputs[0])
        return Computed(outputs[0], outputs[1] if wants == "probability" else None)
