"""An ONNX graph with double inputs, run by ONNX Runtime on one thread."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from mlflow_deploy_plugin.serving.compiled.form import Computed

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from mlflow_deploy_plugin.serving.request import Wants


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxForm:
    """One graph: input ``x`` (rows, features), then the prediction, and the probabilities of a classifier."""

    session: Any
    name: str = field(default="onnx", init=False)

    @classmethod
    def of_file(cls, path: Path) -> Self:
        """Open a graph.

        Raises:
            ImportError: onnxruntime is not installed.
            RuntimeError: onnxruntime refuses the file.
        """
        import onnxruntime  # noqa: PLC0415  only a Bento with such a form needs it

        options = onnxruntime.SessionOptions()
        # A batch is small: a second thread costs more than it brings, and other models live on this machine.
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        try:
            return cls(session=onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"]))
        except Exception as error:  # its exceptions share no base but Exception
            raise RuntimeError(str(error)) from error

    def compute(self, values: NDArray[Any], wants: Wants) -> Computed:
        """The answers to a table."""
        outputs = self.session.run(None, {"x": np.ascontiguousarray(values, dtype=np.float64)})
        if len(outputs) == 1:
            return Computed(outputs[0])
        return Computed(outputs[0], outputs[1] if wants == "probability" else None)
