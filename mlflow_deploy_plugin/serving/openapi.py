"""An OpenAPI 3.1 document of one endpoint, typed by the model's signature, with an example that works. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from mlflow_deploy_plugin.serving.predictors import samples
from mlflow_deploy_plugin.serving.signature import Column, TensorSpec

if TYPE_CHECKING:
    from mlflow_deploy_plugin.serving.codecs.base import ModelDescription
    from mlflow_deploy_plugin.serving.signature import Signature, Spec

SCHEMAS: Final[dict[str, dict[str, Any]]] = {
    "double": {"type": "number"},
    "float": {"type": "number"},
    "long": {"type": "integer", "format": "int64"},
    "integer": {"type": "integer", "format": "int32"},
    "boolean": {"type": "boolean"},
    "string": {"type": "string"},
    "binary": {"type": "string", "contentEncoding": "base64"},
    "datetime": {"type": "string", "format": "date-time"},
    "complex": {},
}


def document(model: ModelDescription) -> dict[str, Any]:
    """The document."""
    row = row_schema(model.signature)
    example = samples.invocation(model.signature) if model.example is None else model.example
    features = _example_features(model.signature)
    batch = {"type": "array", "items": row, "minItems": 1}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": model.endpoint,
            "version": model.model_version or "0",
            "description": f"{model.model_name}, served as {model.deployment}",
        },
        "servers": [{"url": f"/endpoints/{model.endpoint}"}],
        "paths": {
            "/predict": _post("Predict one row", _features(row), _example(features), _prediction()),
            "/predict_batch": _post(
                "Predict many rows", _features(batch), _example(features, is_batch=True), _predictions()
            ),
            "/invocations": _post("MLflow's scoring protocol", _invocations(), example, {"type": "object"}),
            "/feedback": _post(
                "Ground truth by request id", {"type": ["object", "array"]}, None, {"type": "object"}, status="202"
            ),
            "/readyz": {"get": {"summary": "Ready for traffic", "responses": {"200": {"description": "ready"}}}},
        },
    }


def row_schema(signature: Signature) -> dict[str, Any]:
    """The JSON Schema of one row of plain REST."""
    if signature.is_from_type_hint or not signature.inputs:
        return {}
    if signature.tensors and not signature.has_names:
        return _tensor(signature.tensors[0])
    names = {spec.name: _field(spec) for spec in signature.inputs}
    required = [spec.name for spec in signature.inputs if not isinstance(spec, Column) or spec.is_required]
    by_name = {"type": "object", "properties": names, "required": required, "additionalProperties": False}
    size = len(signature.inputs)
    in_order = {"type": "array", "prefixItems": list(names.values()), "minItems": size, "maxItems": size}
    if not signature.has_names:
        return in_order
    return {"anyOf": [by_name, in_order]} if signature.columns else by_name


def _field(spec: Spec) -> dict[str, Any]:
    if isinstance(spec, TensorSpec):
        return _tensor(spec)
    schema = SCHEMAS[spec.type]
    return schema if spec.is_required or "type" not in schema else {**schema, "type": [schema["type"], "null"]}


def _tensor(spec: TensorSpec) -> dict[str, Any]:
    """One row of a tensor: its first axis counts rows."""
    kind = spec.dtype.rstrip("0123456789")
    schema: dict[str, Any] = {"type": {"float": "number", "int": "integer", "uint": "integer"}.get(kind, "string")}
    for size in reversed(spec.shape[1:]):
        schema = {"type": "array", "items": schema}
        if size >= 0:
            schema |= {"minItems": size, "maxItems": size}
    return schema


def _example_features(signature: Signature) -> Any:  # noqa: ANN401  any JSON value
    columns = signature.columns
    if columns and signature.has_names and all(column.type in samples.EXAMPLES for column in columns):
        return {column.name: samples.EXAMPLES[column.type] for column in columns}
    return None


def _example(features: Any, *, is_batch: bool = False) -> Any:  # noqa: ANN401
    if features is None:
        return None
    return {"features": [features] if is_batch else features}


def _features(schema: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {"features": schema, "params": {"type": ["object", "null"]}},
        "required": ["features"],
        "additionalProperties": False,
    }


def _invocations() -> dict[str, Any]:
    shapes = ("dataframe_split", "dataframe_records", "instances", "inputs")
    return {"type": "object", "oneOf": [{"required": [shape]} for shape in shapes]}


def _prediction() -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {
            "prediction": {},
            "probability": {"type": "number"},
            "model_version": {"type": "string"},
            "latency_ms": {"type": "number"},
        },
        "required": ["prediction", "model_version", "latency_ms"],
    }


def _predictions() -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {
            "predictions": {"type": "array"},
            "probability": {"type": "array", "items": {"type": "number"}},
            "model_version": {"type": "string"},
            "latency_ms": {"type": "number"},
        },
        "required": ["predictions", "model_version", "latency_ms"],
    }


def _post(
    summary: str,
    schema: dict[str, Any],
    example: Any,  # noqa: ANN401
    answer: dict[str, Any],
    *,
    status: str = "200",
) -> dict[str, Any]:
    media: dict[str, Any] = {"schema": schema} if example is None else {"schema": schema, "example": example}
    refusals = {"400": "not such a body", "413": "too large", "429": "try again later", "504": "took too long"}
    if status == "200":
        refusals["422"] = "breaks the model's signature"
    responses: dict[str, Any] = {code: {"description": why} for code, why in refusals.items()}
    responses[status] = {"description": "done", "content": {"application/json": {"schema": answer}}}
    return {
        "post": {
            "summary": summary,
            "requestBody": {"required": True, "content": {"application/json": media}},
            "responses": responses,
        }
    }
