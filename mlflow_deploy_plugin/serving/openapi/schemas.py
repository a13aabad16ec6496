"""JSON Schemas of what a model takes, by its signature. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from mlflow_deploy_plugin.serving.signature import Column, TensorSpec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlflow_deploy_plugin.serving.signature import Signature, Spec

Schema = dict[str, Any]

COLUMNS: Final[dict[str, Schema]] = {
    "double": {"type": "number"},
    "float": {"type": "number"},
    "long": {"type": "integer", "format": "int64", "minimum": -(2**63), "maximum": 2**63 - 1},
    "integer": {"type": "integer", "format": "int32", "minimum": -(2**31), "maximum": 2**31 - 1},
    "boolean": {"type": "boolean"},
    "string": {"type": "string"},
    "binary": {"type": "string", "contentEncoding": "base64"},
    "datetime": {"type": "string", "format": "date-time"},
    "complex": {},
}
ANYTHING: Final[Schema] = {}
OBJECT: Final[Schema] = {"type": "object"}


def row(signature: Signature) -> Schema:
    """One row of plain REST and of TorchServe."""
    if not signature.inputs:
        return ANYTHING
    if signature.is_from_type_hint:
        return _field(signature.inputs[0])
    if signature.tensors and not signature.has_names:
        return tensor(signature.tensors[0])
    names = {spec.name: _field(spec) for spec in signature.inputs}
    required = [spec.name for spec in signature.inputs if not isinstance(spec, Column) or spec.is_required]
    by_name = {"type": "object", "properties": names, "required": required, "additionalProperties": False}
    size = len(signature.inputs)
    in_order = {
        "type": "array",
        "prefixItems": [_field(s) for s in signature.inputs],
        "minItems": size,
        "maxItems": size,
    }
    if not signature.has_names:
        return in_order
    return {"anyOf": [by_name, in_order]} if signature.columns else by_name


def tensor(spec: TensorSpec) -> Schema:
    """One row of a tensor: its first axis counts rows."""
    kind = spec.dtype.rstrip("0123456789")
    schema: Schema = {
        "type": {"float": "number", "int": "integer", "uint": "integer", "bool": "boolean"}.get(kind, "string")
    }
    for size in reversed(spec.shape[1:]):
        schema = {"type": "array", "items": schema}
        if size >= 0:
            schema |= {"minItems": size, "maxItems": size}
    return schema


def params(signature: Signature) -> Schema:
    """Inference parameters; null for none."""
    known = {param.name: ANYTHING if param.shape else _param(param.type) for param in signature.params}
    return {"type": ["object", "null"], "properties": known}


def array_of(items: Schema) -> Schema:
    """At least one."""
    return {"type": "array", "items": items, "minItems": 1}


def record(properties: dict[str, Schema], *, optional: dict[str, Schema] | None = None) -> Schema:
    """An object with these properties and no others."""
    return {
        "type": "object",
        "properties": {**properties, **(optional or {})},
        "required": list(properties),
        "additionalProperties": False,
    }


def _field(spec: Spec) -> Schema:
    if isinstance(spec, TensorSpec):
        return tensor(spec)
    schema = COLUMNS[spec.type] if spec.detail is None else of_type(spec.detail)
    return schema if spec.is_required or "type" not in schema else {**schema, "type": [schema["type"], "null"]}


def of_type(kind: Mapping[str, Any]) -> Schema:
    """One of MLflow's nested types, as its JSON describes them."""
    match kind["type"]:
        case "array":
            return {"type": "array", "items": of_type(kind["items"])}
        case "map":
            return {"type": "object", "additionalProperties": of_type(kind["values"])}
        case "object":
            properties: Mapping[str, Any] = kind["properties"]
            needed = [name for name, one in properties.items() if one.get("required", True)]
            return {
                "type": "object",
                "properties": {name: of_type(one) for name, one in properties.items()},
                "required": needed,
            }
        case name:
            return COLUMNS.get(name, ANYTHING)


def _param(kind: str) -> Schema:
    schema = COLUMNS.get(kind, ANYTHING)
    return {**schema, "type": [schema["type"], "null"]} if "type" in schema else schema
