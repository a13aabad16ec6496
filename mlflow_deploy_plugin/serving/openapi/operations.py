"""What each protocol's routes take and answer, in OpenAPI's words. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import orjson

from mlflow_deploy_plugin.serving.codecs.oip_tensors import NUMPY, datatype_of
from mlflow_deploy_plugin.serving.openapi import examples, schemas
from mlflow_deploy_plugin.serving.openapi.schemas import ANYTHING, OBJECT, Schema, array_of, record
from mlflow_deploy_plugin.serving.signature import NUMPY_TYPES, Column

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mlflow_deploy_plugin.serving.codecs.base import ModelDescription, Route
    from mlflow_deploy_plugin.serving.signature import Spec

JSON: Final = "application/json"
TEXT: Final = "text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One route by one method."""

    summary: str
    body: Mapping[str, Schema] = field(default_factory=dict)
    """Schema by content type; empty: no body."""
    example: Any = None
    answer: Mapping[str, Schema] = field(default_factory=lambda: {JSON: ANYTHING})
    status: int = 200
    errors: tuple[int, ...] = ()
    """Beside those that every route of its kind has."""


def describe(protocol: str, model: ModelDescription, route: Route) -> Operation:
    """The operation of one route of one protocol."""
    known = _PROTOCOLS.get(protocol)
    return known(model, route) if known else Operation(summary=f"{protocol}: {route.verb}", body={JSON: ANYTHING})


def _rest(model: ModelDescription, route: Route) -> Operation:
    one, rows = schemas.row(model.signature), examples.rows(model)
    told: dict[str, Schema] = {"model_version": {"type": "string"}, "latency_ms": {"type": "number"}}
    if route.verb == "predict":
        features, example = one, examples.one(model)
        answer = record({"prediction": ANYTHING, **told}, optional={"probability": {"type": "number"}})
        summary = "Predict one row"
    else:
        features, example = array_of(one), rows or None
        probabilities = {"probability": {"type": "array", "items": {"type": "number"}}}
        answer = record({"predictions": {"type": "array"}, **told}, optional=probabilities)
        summary = "Predict many rows"
    body = record({"features": features}, optional={"params": schemas.params(model.signature)})
    return Operation(
        summary=summary,
        body={JSON: body},
        example=None if example is None else {"features": example},
        answer={JSON: answer},
        errors=(422,),
    )


def _mlflow(model: ModelDescription, route: Route) -> Operation:
    if route.path not in {"/invocations", "/explain"}:
        summary = "Version of MLflow, bare" if route.path == "/version" else "Alive"
        return Operation(summary=summary, answer={})  # called JSON by MLflow, and is none
    shapes = ("dataframe_split", "dataframe_records", "instances", "inputs")
    body = {
        "type": "object",
        "properties": {"params": schemas.params(model.signature)},
        "oneOf": [{"required": [shape]} for shape in shapes],
    }
    if route.path == "/explain":
        summary = "What moved each prediction, column by column"
        return _explanation(summary, model, body={JSON: body}, key="dataframe_records")
    answer: dict[str, Schema] = {JSON: ANYTHING}
    if model.is_streamable:
        answer["text/event-stream"] = {"type": "string"}
    return Operation(
        summary="MLflow's scoring protocol; also CSV, Parquet and LLM-style bodies",
        body={JSON: body, "text/csv": {"type": "string"}},
        example=examples.invocation(model),
        answer=answer,
    )


def _explanation(summary: str, model: ModelDescription, *, body: Mapping[str, Schema], key: str) -> Operation:
    """Slow, few at a time, and only where SHAP is installed; a lone row has none to be compared with."""
    errors = (422, 429, 500, 501, 503, 504)
    rows = examples.rows(model) if model.signature.matrix_type else []
    example = {key: rows} if len(rows) > 1 else None
    return Operation(summary=summary, body=body, example=example, answer={JSON: ANYTHING}, errors=errors)


def _oip(model: ModelDescription, route: Route) -> Operation:
    if route.verb != "infer":
        answer = {JSON: ANYTHING if route.path.endswith("index") else OBJECT}
        errors = (503,) if route.path.endswith("ready") else ()
        return Operation(summary="Open Inference Protocol: health and metadata", answer=answer, errors=errors)
    shape = {"type": "array", "items": {"type": "integer", "minimum": 1}}
    tensor = record(
        {"name": {"type": "string"}, "shape": shape, "datatype": {"enum": sorted(NUMPY)}, "data": {"type": "array"}},
        optional={"parameters": OBJECT},
    )
    wanted = record({"name": {"type": "string"}}, optional={"parameters": OBJECT})
    more = {"id": {"type": "string"}, "parameters": OBJECT, "outputs": {"type": "array", "items": wanted}}
    told = {"model_name": {"type": "string"}, "model_version": {"type": "string"}, "outputs": {"type": "array"}}
    return Operation(
        summary="Open Inference Protocol: infer; binary tensors by Inference-Header-Content-Length",
        body={JSON: record({"inputs": array_of(tensor)}, optional=more)},
        example=_oip_example(model),
        answer={JSON: record(told, optional={"id": {"type": "string"}}), "application/octet-stream": {}},
    )


def _oip_example(model: ModelDescription) -> Any:  # noqa: ANN401  any JSON value
    columns = examples.columns(examples.rows(model), model.signature)
    specs = {spec.name or "input-0": spec for spec in model.signature.inputs}
    tensors = [_oip_tensor(name, values, specs.get(name)) for name, values in columns.items()]
    return {"inputs": tensors} if tensors else None


def _oip_tensor(name: str, values: list[Any], spec: Spec | None) -> dict[str, Any]:
    if isinstance(spec, Column):
        kind = NUMPY_TYPES.get(spec.type, "object")
        dtype = np.dtype("object") if spec.type == "datetime" else np.dtype(kind)
        values = values if spec.detail is None else [orjson.dumps(value).decode() for value in values]
        shape = list(np.shape(values))  # rows of columns without names are one matrix
    else:
        dtype = np.dtype("float64") if spec is None else np.dtype(spec.dtype)
        shape = list(np.shape(values))
    return {"name": name, "shape": shape, "datatype": datatype_of(dtype), "data": values}


def _tensorflow(model: ModelDescription, route: Route) -> Operation:
    if route.verb not in {"predict", "classify", "regress"}:
        return Operation(summary="TensorFlow Serving: status and metadata", answer={JSON: OBJECT})
    rows = examples.rows(model)
    example: Any = None
    if route.verb == "predict":
        body = {
            "type": "object",
            "properties": {"instances": array_of(ANYTHING), "inputs": ANYTHING, "signature_name": {"type": "string"}},
            "oneOf": [{"required": ["instances"]}, {"required": ["inputs"]}],
        }
        is_sayable = rows and not any(column.detail for column in model.signature.columns)
        example = {"instances": rows} if is_sayable else None
        answer = {"type": "object", "minProperties": 1, "maxProperties": 1}
    else:
        body = record(
            {"examples": array_of(OBJECT)}, optional={"context": OBJECT, "signature_name": {"type": "string"}}
        )
        is_answered = route.verb == "classify" and model.has_probability and rows and isinstance(rows[0], dict)
        example = {"examples": rows} if is_answered else None
        answer = record({"results": {"type": "array"}})
    return Operation(
        summary=f"TensorFlow Serving: {route.verb}", body={JSON: body}, example=example, answer={JSON: answer}
    )


def _torchserve(model: ModelDescription, route: Route) -> Operation:
    if route.path.startswith("/explanations"):
        summary = "TorchServe: what moved the prediction of each item"
        return _explanation(summary, model, body={JSON: ANYTHING}, key="data")
    if route.verb != "predictions":
        return Operation(summary="TorchServe: what is served; git alone changes it", answer={JSON: ANYTHING})
    return Operation(
        summary="TorchServe: one item or an array of items, or files of a form",
        body={JSON: ANYTHING, "multipart/form-data": {"type": "object"}},
        example=_item(model),
    )


def _item(model: ModelDescription) -> Any:  # noqa: ANN401  any JSON value
    item = examples.one(model)
    return None if item is None else {"data": item}


def _own(model: ModelDescription, route: Route) -> Operation:  # noqa: ARG001  every model has the same
    match route.path:
        case "/feedback":
            labels = record(
                {"request_id": {"type": "string", "minLength": 1, "maxLength": 256}, "label": ANYTHING},
                optional={"row": {"type": "integer", "minimum": 0, "maximum": 2**31 - 1}},
            )
            return Operation(
                summary="Ground truth by request id",
                body={JSON: {"anyOf": [labels, {"type": "array", "items": labels}]}},
                example={"request_id": "the x-request-id of a prediction", "label": 1},
                answer={JSON: record({"accepted": {"type": "integer"}})},
                status=202,
            )
        case "/readyz":
            return Operation(summary="Ready for traffic", answer={TEXT: {"type": "string"}}, errors=(503,))
        case "/livez":
            return Operation(summary="Alive", answer={TEXT: {"type": "string"}})
        case "/metrics":
            return Operation(
                summary="Prometheus' metrics", answer={"text/plain; version=0.0.4; charset=utf-8": {"type": "string"}}
            )
        case "/docs":
            return Operation(summary="This document as a page", answer={"text/html; charset=utf-8": {"type": "string"}})
        case path:
            return Operation(summary="What is served" if path == "/" else "This document", answer={JSON: OBJECT})


_PROTOCOLS: Final[dict[str, Callable[[ModelDescription, Route], Operation]]] = {
    "rest": _rest,
    "mlflow": _mlflow,
    "oip": _oip,
    "tensorflow": _tensorflow,
    "torchserve": _torchserve,
    "modelserve": _own,
}
