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
    return found[:MOST_ROWS]


def columns(found: list[Any], signature: Signature) -> dict[str, list[Any]]:
    """The same by input, as protocols of tensors take them; an optional one that is missing somewhere is left out."""
    if signature.has_names and found and all(isinstance(one, dict) for one in found):
        by_name = {spec.name: [one.get(spec.name) for one in found] for spec in signature.inputs}
        return {name: values for name, values in by_name.items() if None not in values}
    return {"input-0": found} if found and signature.inputs else {}


def _rows(body: dict[str, Any], signature: Signature) -> list[Any]:
    if "dataframe_split" in body:
        table = body["dataframe_split"]
        names = table.get("columns")
        return [_named(dict(zip(names, one, strict=False)), signature) for one in table["data"]] if names else []
    for key in ("dataframe_records", "instances", "inputs"):
        if key in body:
            return _of_value(body[key], signature)
    return []


def _of_value(value: Any, signature: Signature) -> list[Any]:  # noqa: ANN401  any JSON value
    if isinstance(value, list):
        return [_named(one, signature) if isinstance(one, dict) else one for one in value]
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
