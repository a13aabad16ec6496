"""Opening a graph that was just written, or saying why it is no form."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlflow_deploy_plugin.serving.compiled.onnx import OnnxForm
from mlflow_deploy_plugin.serving.compiling.refusal import RefusedError

if TYPE_CHECKING:
    from pathlib import Path


def opened(path: Path) -> OnnxForm:
    """The form of a graph.

    Raises:
        RefusedError: onnxruntime is not installed, or refuses it.
    """
    try:
        return OnnxForm.of_file(path)
    except ImportError as error:
        raise RefusedError("onnxruntime is not installed; pip install 'modelserve[onnx]'") from error
    except RuntimeError as error:
        raise RefusedError(f"onnxruntime refuses the graph ({str(error)[:120]})") from error
