"""Which models are worth compiling, by their MLmodel alone: no model is loaded to find out. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, get_args

from mlflow_deploy_plugin.serving.compiled.form import Answers

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlflow_deploy_plugin.serving.signature import Signature

LOADER: Final = "mlflow.sklearn"


def why_not(mlmodel: Mapping[str, Any], signature: Signature) -> str:
    """Why a model cannot be compiled; empty where it is worth trying."""
    flavor = mlmodel.get("flavors", {}).get("python_function", {})
    loader = flavor.get("loader_module") or "no loader"
    if loader != LOADER:
        return f"{loader} has no compiled form"
    if not signature.matrix_type:
        return "the signature is no table of named numbers of one type"
    if signature.params:
        return "the model takes parameters"
    if predict_fn(mlmodel) not in get_args(Answers):
        return f"predict_fn {predict_fn(mlmodel)!r} has no compiled form"
    return ""


def predict_fn(mlmodel: Mapping[str, Any]) -> str:
    """The estimator's method that the pyfunc calls."""
    return str(mlmodel.get("flavors", {}).get("python_function", {}).get("predict_fn") or "predict")
