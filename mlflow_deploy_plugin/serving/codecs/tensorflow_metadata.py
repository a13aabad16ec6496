"""The signature as a TensorFlow ``SignatureDef`` in JSON. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from mlflow_deploy_plugin.serving.signature import NUMPY_TYPES, Column

if TYPE_CHECKING:
    from mlflow_deploy_plugin.serving.codecs.base import ModelDescription
    from mlflow_deploy_plugin.serving.signature import Spec

_NAMES: Final = {
    np.dtype("bool"): "DT_BOOL",
    np.dtype("uint8"): "DT_UINT8",
    np.dtype("uint16"): "DT_UINT16",
    np.dtype("uint32"): "DT_UINT32",
    np.dtype("uint64"): "DT_UINT64",
    np.dtype("int8"): "DT_INT8",
    np.dtype("int16"): "DT_INT16",
    np.dtype("int32"): "DT_INT32",
    np.dtype("int64"): "DT_INT64",
    np.dtype("float16"): "DT_HALF",
    np.dtype("float32"): "DT_FLOAT",
    np.dtype("float64"): "DT_DOUBLE",
}


def signature_definition(model: ModelDescription) -> dict[str, Any]:
    """Inputs and outputs of ``serving_default``; -1 is any number of rows."""
    inputs = [_tensor(spec, spec.name or f"inputs_{at}", [-1, 1]) for at, spec in enumerate(model.signature.inputs)]
    outputs = [_tensor(spec, spec.name or f"output-{at}", [-1]) for at, spec in enumerate(model.signature.outputs)]
    return {
        "inputs": {tensor["name"]: tensor for tensor in inputs},
        "outputs": {tensor["name"]: tensor for tensor in outputs},
        "method_name": "tensorflow/serving/predict",
    }


def _tensor(spec: Spec, name: str, column_shape: list[int]) -> dict[str, Any]:
    if isinstance(spec, Column):
        dtype, shape = np.dtype(NUMPY_TYPES.get(spec.type, "object")), column_shape
    else:
        dtype, shape = np.dtype(spec.dtype), list(spec.shape)
    return {
        "dtype": _NAMES.get(dtype, "DT_STRING"),
        "tensor_shape": {"dim": [{"size": str(size), "name": ""} for size in shape], "unknown_rank": False},
        "name": name,
    }
