"""Which models are worth compiling, by their MLmodel alone: no model is loaded to find out. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, get_args

from mlflow_deploy_plugin.serving.compiled.form import Answers

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlflow_deploy_plugin.serving.signature import Signature

SKLEARN: Final = "mlflow.sklearn"
TORCH: Final = "mlflow.pytorch"


def why_not(mlmodel: Mapping[str, Any], signature: Signature) -> str:
    """Why a model cannot be compiled; empty where it is worth trying."""
    loader = _loader(mlmodel)
    if loader not in {SKLEARN, TORCH}:
        return f"{loader or 'no loader'} has no compiled form"
    if loader == TORCH:
        return _why_no_module(signature)
    if not signature.matrix_type:
        return "the signature is no table of named numbers of one type"
    if signature.params:
        return "the model takes parameters"
    if predict_fn(mlmodel) not in get_args(Answers):
        return f"predict_fn {predict_fn(mlmodel)!r} has no compiled form"
    return ""


def _why_no_module(signature: Signature) -> str:
    if len(signature.tensors) != 1 or signature.tensors[0].name or signature.tensors[0].dtype != "float32":
        return "the signature is no single tensor of float32 without a name"
    any_length, *sizes = signature.tensors[0].shape
    if any_length != -1 or not all(size > 0 for size in sizes):
        return "the signature's tensor has another free size than its rows"
    return "the model takes parameters" if signature.params else ""


def is_module(mlmodel: Mapping[str, Any]) -> bool:
    """Whether the model is one of torch."""
    return _loader(mlmodel) == TORCH


def _loader(mlmodel: Mapping[str, Any]) -> str:
    return str(mlmodel.get("flavors", {}).get("python_function", {}).get("loader_module") or "")


def predict_fn(mlmodel: Mapping[str, Any]) -> str:
    """The estimator's method that the pyfunc calls."""
    return str(mlmodel.get("flavors", {}).get("python_function", {}).get("predict_fn") or "predict")
