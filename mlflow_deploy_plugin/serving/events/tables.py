"""Predictions and labels as Arrow tables with the columns of ``spec.events``. Imported by the writing thread only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
import pyarrow as pa

from mlflow_deploy_plugin.serving.events.answers import cells_of, joined_numbers
from mlflow_deploy_plugin.serving.request import Matrix
from mlflow_deploy_plugin.spec.events import LABEL_COLUMNS, PREDICTION_COLUMNS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mlflow_deploy_plugin.serving.events.blocks import Block
    from mlflow_deploy_plugin.serving.events.features import FeatureColumns
    from mlflow_deploy_plugin.serving.record import Arrived, Prediction


def arrow_schema(columns: Mapping[str, str]) -> pa.Schema:
    """The Arrow schema of a column table of ``spec.events``."""
    named = {"timestamp[us, UTC]": pa.timestamp("us", tz="UTC"), "double": pa.float64()}
    return pa.schema([(name, named.get(kind) or pa.type_for_alias(kind)) for name, kind in columns.items()])


def prediction_table(events: Sequence[Prediction], *, model_digest: str, features: FeatureColumns | None) -> pa.Table:
    """One row per row of each request; ``features`` None leaves the inputs out."""
    rows = [max(event.rows, 1) for event in events]
    columns: dict[str, Any] = {
        "request_id": [event.caller.request_id for event in events],
        "time": (np.array([event.time for event in events]) * 1e6).astype(np.int64),
        "user_id": [_user(event) for event in events],
        "assigned": [event.caller.assigned for event in events],
        "trace_id": [event.caller.trace.trace_id if event.caller.trace else "" for event in events],
        "span_id": [event.caller.trace.span_id if event.caller.trace else "" for event in events],
        "protocol": [event.protocol for event in events],
        "status": [event.status for event in events],
        "latency_ms": np.array([event.latency_ms for event in events], dtype=np.float64),
    }
    if sum(rows) != len(rows):
        index = np.repeat(np.arange(len(rows)), rows)
        columns = {name: pa.array(values).take(pa.array(index)) for name, values in columns.items()}
        columns["row"] = np.concatenate([np.arange(count, dtype=np.int32) for count in rows])
    else:
        columns["row"] = np.zeros(len(rows), dtype=np.int32)
    columns["model_digest"] = pa.repeat(model_digest, sum(rows))
    columns["prediction"], columns["prediction_text"] = _answers(events, rows)
    return _with_features(columns, features.build([event.payload for event in events], rows) if features else {})


def block_table(block: Block, *, model_digest: str, features: FeatureColumns | None) -> pa.Table:
    """The rows of one block; the same columns as :func:`prediction_table` makes of the same predictions."""
    count = len(block)
    columns: dict[str, Any] = {
        "request_id": block.request_ids,
        "row": np.zeros(count, dtype=np.int32),
        "time": (np.asarray(block.times) * 1e6).astype(np.int64),
        "user_id": block.user_ids,
        "assigned": block.assigned,
        "trace_id": block.trace_ids,
        "span_id": block.span_ids,
        "model_digest": pa.repeat(model_digest, count),
        "protocol": block.protocols,
        "status": pa.repeat("success", count),
        "latency_ms": np.asarray(block.latencies_ms),
        "prediction": np.asarray(block.outputs),
        "prediction_text": pa.nulls(count, pa.string()),
    }
    table = Matrix(values=block.features[:count], columns=block.columns)
    return _with_features(columns, features.build([table], [count]) if features else {})


def joined(tables: Sequence[pa.Table]) -> pa.Table:
    """One table of all rows; a feature that some of them lack is null there."""
    return tables[0] if len(tables) == 1 else pa.concat_tables(tables, promote_options="default")


def _with_features(columns: Mapping[str, Any], features: Mapping[str, pa.Array]) -> pa.Table:
    schema = arrow_schema(PREDICTION_COLUMNS)
    fixed = [_column(columns[field.name], field.type) for field in schema]
    return pa.table([*fixed, *features.values()], names=[*schema.names, *features])


def label_table(events: Sequence[Arrived]) -> pa.Table:
    """One row per label."""
    columns: dict[str, Any] = {
        "request_id": [event.label.request_id for event in events],
        "row": np.array([event.label.row for event in events], dtype=np.int32),
        "time": (np.array([event.time for event in events]) * 1e6).astype(np.int64),
        "label": [_number(event.label.value) for event in events],
        "label_text": [_text(event.label.value) for event in events],
    }
    schema = arrow_schema(LABEL_COLUMNS)
    return pa.table([_column(columns[field.name], field.type) for field in schema], schema=schema)


def _user(event: Prediction) -> str:
    """The gateway gives a user without a name the request's id; the table keeps that empty, like the gateway's."""
    return "" if event.caller.user_id == event.caller.request_id else event.caller.user_id


def _column(values: Any, kind: pa.DataType) -> pa.Array:  # noqa: ANN401
    array = values if isinstance(values, (pa.Array, pa.ChunkedArray)) else pa.array(values)
    return array.cast(kind)


def _answers(events: Sequence[Prediction], rows: Sequence[int]) -> tuple[pa.Array, pa.Array]:
    joined = joined_numbers([event.output for event in events], rows)
    if joined is not None:
        return pa.array(joined), pa.nulls(len(joined), pa.string())
    cells = [cell for event, count in zip(events, rows, strict=True) for cell in cells_of(event.output, count)]
    return pa.array([number for number, _ in cells], pa.float64()), pa.array([text for _, text in cells], pa.string())


def _number(value: Any) -> float | None:  # noqa: ANN401
    return float(value) if isinstance(value, (int, float)) else None


def _text(value: Any) -> str | None:  # noqa: ANN401
    return None if isinstance(value, (int, float)) else orjson.dumps(value).decode()
