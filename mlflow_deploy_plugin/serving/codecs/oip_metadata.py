"""The signature in the words of the Open Inference Protocol. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from mlflow_deploy_plugin.serving.codecs.oip_tensors import datatype_of
from mlflow_deploy_plugin.serving.signature import NUMPY_TYPES, Column

if TYPE_CHECKING:
    from mlflow_deploy_plugin.serving.codecs.base import ModelDescription
    from mlflow_deploy_plugin.serving.signature import Spec

PROBABILITY: Final = "probability"


def probability_name(model: ModelDescription) -> str:
    """Name of the output of class probabilities; empty where there is none, or where the model uses the name itself."""
    is_taken = any(spec.name == PROBABILITY for spec in model.signature.outputs)
    return PROBABILITY if model.has_probability and not is_taken else ""


def model_metadata(model: ModelDescription, *, name: str, version: str) -> dict[str, Any]:
    """Metadata of the model: an input per column or tensor, -1 for any number of rows."""
    outputs = [_described(spec, f"output-{at}", column_shape=[-1]) for at, spec in enumerate(model.signature.outputs)]
    if probability := probability_name(model):
        outputs.append({"name": probability, "datatype": "FP64", "shape": [-1, len(model.classes) or -1]})
    return {
        "name": name,
        "versions": [version],
        "platform": f"mlflow_{model.flavor}",
        "inputs": [
            _described(spec, f"input-{at}", column_shape=[-1, 1]) for at, spec in enumerate(model.signature.inputs)
        ],
        "outputs": outputs,
    }


def _described(spec: Spec, name: str, *, column_shape: list[int]) -> dict[str, Any]:
    if isinstance(spec, Column):
        dtype = np.dtype(NUMPY_TYPES.get(spec.type, "object"))
        shape = column_shape
    else:
        dtype, shape = np.dtype(spec.dtype), list(spec.shape)
    return {"name": spec.name or name, "datatype": datatype_of(dtype), "shape": shape}
