"""A row that the model takes: from the input example that was saved with it, else made from its signature. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mlflow_deploy_plugin.serving.predictors import samples

if TYPE_CHECKING:
    from mlflow_deploy_plugin.serving.codecs.base import ModelDescription
    from mlflow_deploy_plugin.serving.signature import Signature

MOST_ROWS = 2
"""Rows of an example; enough to show that there may be several."""


def invocation(model: ModelDescription) -> Any:  # noqa: ANN401  any JSON value
    """A body for ``/invocations``; None where nothing says what the model takes."""
    return samples.invocation(model.signature) if model.example is None else model.example


def rows(model: ModelDescription) -> list[Any]:
    """Rows as plain REST takes them, by name where there are names; empty where nothing says what the model takes."""
    saved = _rows(model.example, model.signature) if isinstance(model.example, dict) else []
    found = saved or _rows(samples.invocation(model.signature) or {}, model.signature)
    return found if _is_fixed(model.signature) else found[:MOST_ROWS]


def one(model: ModelDescription) -> Any:  # noqa: ANN401  any JSON value
    """One row; None where there is none, or the model takes another number of them."""
    found = rows(model)
    return found[0] if len(found) == 1 or (found and not _is_fixed(model.signature)) else None


def _is_fixed(signature: Signature) -> bool:
    """Whether the model takes a certain number of rows alone."""
    return any(spec.shape[:1] != (-1,) for spec in signature.tensors)


def columns(found: list[Any], signature: Signature) -> dict[str, list[Any]]:
    """The same by input, as protocols of tensors take them; an optional one that is missing somewhere is left out."""
    if signature.has_names and found and all(isinstance(row, dict) for row in found):
        by_name = {spec.name: [row.get(spec.name) for row in found] for spec in signature.inputs}
        return {name: values for name, values in by_name.items() if None not in values}
    if signature.is_from_type_hint and any(column.detail for column in signature.columns):
        return {}  # a tensor has no such elements
    return {"input-0": found} if found and signature.inputs else {}


def _rows(body: dict[str, Any], signature: Signature) -> list[Any]:
    if "dataframe_split" in body:
        table = body["dataframe_split"]
        names = table.get("columns")
        named = names and signature.has_names
        return [_named(dict(zip(names, row, strict=False)), signature) if named else row for row in table["data"]]
    for key in ("dataframe_records", "instances", "inputs"):
        if key in body:
            return _of_value(body[key], signature)
    return []


def _of_value(value: Any, signature: Signature) -> list[Any]:  # noqa: ANN401  any JSON value
    if isinstance(value, list) and signature.is_from_type_hint:
        return value
    if isinstance(value, list):
        return [_named(row, signature) if isinstance(row, dict) else row for row in value]
    is_table = isinstance(value, dict) and signature.has_names and all(isinstance(v, list) for v in value.values())
    if not is_table:
        return []
    return [_named(dict(zip(value, cells, strict=True)), signature) for cells in zip(*value.values(), strict=False)]


def _named(found: dict[str, Any], signature: Signature) -> dict[str, Any]:
    """Only what the signature names, and no NaN that JSON cannot say."""
    names = [spec.name for spec in signature.inputs] or list(found)
    return {name: found[name] for name in names if name in found and not _is_missing(found[name])}


def _is_missing(value: Any) -> bool:  # noqa: ANN401
    return value is None or (isinstance(value, float) and not np.isfinite(value))
