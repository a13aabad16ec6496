"""Every MLflow model, through ``mlflow.pyfunc``; some kinds straight (scikit-learn, torch, ONNX, boosters).

A straight path is taken where it is proven. MLflow enforces the signature. Its imports cost seconds, so they happen in
:func:`load` and nowhere earlier.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from mlflow_deploy_plugin.errors import ConfigError, ModelError
from mlflow_deploy_plugin.serving.faults import Fault, RequestError
from mlflow_deploy_plugin.serving.payloads import plain
from mlflow_deploy_plugin.serving.predictors import boosters, devices, onnx_session, sklearn, torch_module
from mlflow_deploy_plugin.serving.predictors.base import Loaded, Output

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mlflow_deploy_plugin.serving.predictors.base import LoadRequest
    from mlflow_deploy_plugin.serving.request import Payload, Wants

CLIENT_CODES = frozenset({"BAD_REQUEST", "INVALID_PARAMETER_VALUE"})


class PyfuncPredictor:
    """A loaded ``mlflow.pyfunc`` model."""

    name = "pyfunc"

    def __init__(self, model: Any, classifier: Any = None) -> None:  # noqa: ANN401  MLflow is imported lazily
        self._model = model
        self._classifier = classifier  # has predict_proba, and takes what the pyfunc takes

    def predict(self, payload: Payload, params: Mapping[str, Any] | None, wants: Wants) -> Output:
        """Ask the pyfunc, which enforces the signature first."""
        from mlflow.exceptions import MlflowException  # noqa: PLC0415  loaded by now

        data = plain(payload)
        try:
            prediction = self._model.predict(data, params=params)
        except MlflowException as error:
            if error.error_code in CLIENT_CODES:
                raise RequestError(Fault.INVALID, error.message) from error
            raise
        if wants == "prediction" or self._classifier is None:
            return Output(prediction)
        return Output(prediction, self._classifier.predict_proba(data))

    def stream(self, payload: Payload, params: Mapping[str, Any] | None) -> Iterator[Any]:
        """Ask the pyfunc's ``predict_stream``."""
        chunks: Iterator[Any] = self._model.predict_stream(plain(payload), params=params)
        return chunks


def load(request: LoadRequest) -> Loaded:
    """Load the model onto its device.

    Raises:
        ModelError: it does not load; the cause says why.
        ConfigError: the device is not there, or ``model_config`` is no JSON object.
    """
    flavor = request.mlmodel.get("flavors", {}).get("python_function", {})
    loader = str(flavor.get("loader_module", ""))
    os.environ["_MLFLOW_IS_IN_SERVING_ENVIRONMENT"] = "true"  # as MLflow's own scoring server does
    device = devices.mlflow_device(loader, request.settings.device, worker=request.worker)
    if device is not None:
        os.environ[devices.MLFLOW_DEVICE] = device
    model = _load(request)
    booster = boosters.booster_of(model, loader)
    pyfunc = PyfuncPredictor(model, booster if hasattr(booster, "predict_proba") else sklearn.classifier(model))
    is_streamable = bool(flavor.get("streamable"))
    if loader in devices.TORCH_LOADERS and device is not None:
        return torch_module.straighten(pyfunc, model, request, device)
    if booster is not None:
        return boosters.straighten(pyfunc, booster, loader, request.signature)
    if loader == onnx_session.LOADER:
        return onnx_session.straighten(pyfunc, model, request)
    if loader != sklearn.LOADER:
        reason = f"{loader or 'no loader'} has no straight path" + (f"; device {device}" if device else "")
        return Loaded(predictor=pyfunc, reason=reason, is_streamable=is_streamable)
    return sklearn.straighten(pyfunc, model, request.signature, predict_fn=str(flavor.get("predict_fn", "predict")))


def _load(request: LoadRequest) -> Any:  # noqa: ANN401
    config = _model_config(request.settings.model_config)
    import mlflow.pyfunc  # noqa: PLC0415  seconds

    try:
        return mlflow.pyfunc.load_model(str(request.folder), model_config=config)
    except Exception as error:
        raise ModelError(
            f"model {request.spec.model_uri!r} does not load ({type(error).__name__}: {_first_line(error)});"
            " check its requirements against this environment, or use env_manager=uv"
        ) from error


def _model_config(text: str) -> dict[str, Any] | None:
    if not text:
        return None
    try:
        config = json.loads(text)
    except ValueError as error:
        raise ConfigError(f"model_config={text!r} is not JSON: {error}") from error
    if not isinstance(config, dict):
        raise ConfigError(f"model_config={text!r} is not a JSON object")
    return config


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0]
