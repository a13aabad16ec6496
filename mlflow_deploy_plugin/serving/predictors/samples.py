"""Rows to try a model with before the first client does: made from the signature, always the same ones. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mlflow_deploy_plugin.serving.request import Matrix, Tensor, Tensors

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlflow_deploy_plugin.serving.request import Payload
    from mlflow_deploy_plugin.serving.signature import Column, Signature, TensorSpec

ROWS = 8


def payload(signature: Signature, rows: int = ROWS) -> Payload | None:
    """Generated rows of a table or of tensors of numbers; None where the signature does not say enough."""
    generator = np.random.default_rng(20260101)
    if kind := signature.matrix_type:
        columns = tuple(column.name for column in signature.columns)
        return Matrix(values=numbers(generator, kind, (rows, len(columns))), columns=columns)
    specs = signature.tensors
    if not specs or not all(spec.shape[:1] == (-1,) and np.dtype(spec.dtype).kind in "fiu" for spec in specs):
        return None
    arrays = {
        spec.name: numbers(generator, spec.dtype, (rows, *(1 if size == -1 else size for size in spec.shape[1:])))
        for spec in specs
    }
    return Tensor(array=arrays[""]) if len(specs) == 1 and "" in arrays else Tensors(arrays=arrays)


def numbers(generator: np.random.Generator, kind: str, shape: tuple[int, ...]) -> np.ndarray:
    """Small numbers of a type: normal for floats, 0 to 9 for integers."""
    if np.dtype(kind).kind == "f":
        return generator.normal(size=shape).astype(kind)
    return generator.integers(0, 10, size=shape).astype(kind)


EXAMPLES: dict[str, Any] = {
    "double": 0.5,
    "float": 0.5,
    "long": 1,
    "integer": 1,
    "boolean": True,
    "string": "text",
    "binary": "dGV4dA==",
    "datetime": "2026-01-02T03:04:05",
}


def invocation(signature: Signature) -> dict[str, Any] | None:
    """A body for ``/invocations`` with one generated row; None where the signature does not say enough."""
    columns = signature.columns
    if columns:
        if not all(column.detail or column.type in EXAMPLES for column in columns):
            return None
        row = [_value(column) for column in columns]
        if signature.is_from_type_hint:
            return {"inputs": row}
        if not signature.has_names:
            return {"dataframe_split": {"data": [row]}}
        return {"dataframe_split": {"columns": [column.name for column in columns], "data": [row]}}
    tensors = signature.tensors
    if tensors and all(np.dtype(spec.dtype).kind in "fiubU" for spec in tensors):
        arrays = {spec.name: _tensor(spec).tolist() for spec in tensors}
        return {"inputs": arrays if signature.has_names else next(iter(arrays.values()))}
    return None


def warm_up(signature: Signature) -> dict[str, Any] | None:
    """The same, where a made-up value costs only time: what takes nested values may be an agent, which acts by them."""
    is_nested = signature.is_from_type_hint or any(column.detail for column in signature.columns)
    return None if is_nested else invocation(signature)


def _value(column: Column) -> Any:  # noqa: ANN401  any JSON value
    return EXAMPLES[column.type] if column.detail is None else value_of(column.detail)


def value_of(kind: Mapping[str, Any]) -> Any:  # noqa: ANN401  any JSON value
    """A value of one of MLflow's types, as its JSON describes them.

    >>> value_of({"type": "array", "items": {"type": "object", "properties": {"a": {"type": "long"}}}})
    [{'a': 1}]
    """
    match kind["type"]:
        case "array":
            return [value_of(kind["items"])]
        case "map":
            return {"key": value_of(kind["values"])}
        case "object":
            properties: Mapping[str, Any] = kind["properties"]
            return {name: value_of(one) for name, one in properties.items() if one.get("required", True)}
        case name:
            return EXAMPLES.get(name, "anything")


def _tensor(spec: TensorSpec) -> np.ndarray:
    shape, kind = [max(size, 1) for size in spec.shape], np.dtype(spec.dtype).kind
    return np.full(shape, EXAMPLES["string"]) if kind == "U" else np.zeros(shape, dtype=spec.dtype)
