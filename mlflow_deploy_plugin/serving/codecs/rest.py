"""Plain REST: ``POST /endpoints/NAME/predict`` for one row, ``/predict_batch`` for many; for people and web pages.

``{"features": [5.1, 3.5]}`` or ``{"features": {"length": 5.1, "width": 3.5}}`` →
``{"prediction": 1, "probability": 0.93, "model_version": "churn-v4", "latency_ms": 0.8}``. The probability is the
predicted class's, and stands there where the model knows one. Input is checked strictly by the signature; an error is
``{"error": {"code", "message"}}`` with 400 for what is no such body and 422 for what breaks the signature.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mlflow_deploy_plugin.serving import json_text
from mlflow_deploy_plugin.serving.codecs.base import JSON, Call, Infer, Reply
from mlflow_deploy_plugin.serving.codecs.blame import is_inputs_fault
from mlflow_deploy_plugin.serving.codecs.json_body import error_reply, json_type, loads_object
from mlflow_deploy_plugin.serving.codecs.rows import RowReader
from mlflow_deploy_plugin.serving.faults import Fault, RequestError
from mlflow_deploy_plugin.serving.request import Request, Response

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlflow_deploy_plugin.serving.codecs.base import Host, Route
    from mlflow_deploy_plugin.serving.request import Wants

KNOWN = ("features", "params")


class RestCodec:
    """``/predict`` and ``/predict_batch``."""

    name = "rest"

    def __init__(self, host: Host) -> None:
        self._deployment = host.model.deployment
        self._classes = host.model.classes
        self._wants: Wants = "probability" if host.model.has_probability else "prediction"
        self._reader = RowReader(host.model.signature)
        self._signature = host.model.signature

    def routes(self) -> Sequence[Route]:
        """One row, and many."""
        return (Infer(path="/predict", verb="predict"), Infer(path="/predict_batch", verb="predict_batch"))

    def decode(self, call: Call) -> Request:
        """Check the features against the signature."""
        document = loads_object(call.body)
        if unknown := [key for key in document if key not in KNOWN]:
            raise RequestError(Fault.MALFORMED, f"unknown key {unknown[0]!r}; known: {', '.join(KNOWN)}")
        if "features" not in document:
            raise RequestError(Fault.MALFORMED, "the body must have the key 'features'")
        params = document.get("params")
        if params is not None and not isinstance(params, dict):
            raise RequestError(Fault.INVALID, f"'params' must be an object, not {json_type(params)}")
        features = document["features"]
        is_batch = call.route.verb == "predict_batch"
        if is_batch and not isinstance(features, list):
            raise RequestError(Fault.INVALID, f"'features' must be an array of rows, not {json_type(features)}")
        payload = self._reader.read(features if is_batch else [features])
        return Request(payload=payload, params=params, wants=self._wants, echo=is_batch)

    def encode(self, response: Response, request: Request, call: Call) -> Reply:  # noqa: ARG002  the request says enough
        """The prediction, its probability, who answered and how long it took."""
        predictions = _rows(response.prediction)
        probabilities = self._probabilities(predictions, response.probability)
        body: dict[str, Any] = {"predictions": predictions} if request.echo else {"prediction": _only(predictions)}
        if probabilities is not None:
            body["probability"] = probabilities if request.echo else probabilities[0]
        body["model_version"] = self._deployment
        body["latency_ms"] = round(response.latency_ms, 3)
        try:
            return Reply(200, JSON, json_text.dumps(body))
        except (TypeError, ValueError, RecursionError) as error:
            raise RequestError(Fault.MODEL_FAILED, str(error)) from None  # a cause would be the input's

    def encode_error(self, error: RequestError, call: Call, request: Request | None = None) -> Reply:  # noqa: ARG002
        """The reason in plain words; a value that the model itself refuses is as one that its signature does."""
        is_inputs = is_inputs_fault(error, request, self._signature)
        return error_reply(error, status=Fault.INVALID.value if is_inputs else None)

    def _probabilities(self, predictions: Any, probability: Any) -> list[float] | None:  # noqa: ANN401
        """The predicted class's probability, row by row."""
        if not isinstance(probability, np.ndarray) or probability.ndim != 2 or not isinstance(predictions, list):  # noqa: PLR2004
            return None
        if len(probability) != len(predictions):
            return None
        if self._classes and all(prediction in self._classes for prediction in predictions):
            places = [self._classes.index(prediction) for prediction in predictions]
            chosen: list[float] = probability[np.arange(len(places)), places].tolist()
            return chosen
        largest: list[float] = probability.max(axis=1).tolist()
        return largest


def _rows(prediction: Any) -> Any:  # noqa: ANN401  a model returns anything
    """Predictions as a list, a record of one column as its value."""
    rows = json_text.rows(prediction)
    if isinstance(rows, list) and rows and all(isinstance(row, dict) and len(row) == 1 for row in rows):
        return [next(iter(row.values())) for row in rows]
    return json_text.records(rows)


def _only(predictions: Any) -> Any:  # noqa: ANN401
    return predictions[0] if isinstance(predictions, list) and len(predictions) == 1 else predictions
