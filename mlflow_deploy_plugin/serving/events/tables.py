"""Predictions and labels as Arrow tables with the columns of ``spec.events``. Imported by the writing thread only."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import orjson
import pyarrow as pa

from mlflow_deploy_plugin.serving.events.answers import cells_of, joined_numbers
from mlflow_deploy_plugin.serving.events.waiting import SEPARATOR, Waiting, apart
from mlflow_deploy_plugin.spec.events import LABEL_COLUMNS, PREDICTION_COLUMNS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mlflow_deploy_plugin.serving.events.features import FeatureColumns
    from mlflow_deploy_plugin.serving.record import Arrived, Prediction


T = TypeVar("T")


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
        "user_id": [_named(event.caller.user_id, event.caller.request_id) for event in events],
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
    columns["prediction"], columns["prediction_text"] = _answers([event.output for event in events], rows)
    return _with_features(columns, features.build([event.payload for event in events], rows) if features else {})


def batch_table(batches: Sequence[Waiting], *, model_digest: str, features: FeatureColumns | None) -> pa.Table:
    """The rows of all batches; the same columns as :func:`prediction_table` makes of the same predictions."""
    counts = [batch.rows for batch in batches]
    count = sum(counts)
    request_ids = SEPARATOR.join([batch.request_ids for batch in batches]).split(SEPARATOR)
    users = _spread([apart(batch.user_ids) for batch in batches], counts, "")
    traces = _spread([batch.traces for batch in batches], counts, None)
    columns: dict[str, Any] = {
        "request_id": pa.array(request_ids, pa.string()),
        "row": np.zeros(count, dtype=np.int32),
        "time": (np.frombuffer(b"".join([batch.times for batch in batches])) * 1e6).astype(np.int64),
        "user_id": _texts([_named(*pair) for pair in zip(users, request_ids, strict=True)] if users else (), count),
        "assigned": _texts(_spread([apart(batch.assigned) for batch in batches], counts, ""), count),
        "trace_id": _texts([one.trace_id if one else "" for one in traces], count),
        "span_id": _texts([one.span_id if one else "" for one in traces], count),
        "model_digest": pa.repeat(model_digest, count),
        "protocol": _texts([*chain.from_iterable(batch.protocols for batch in batches)], count),
        "status": pa.repeat("success", count),
        "latency_ms": np.frombuffer(b"".join([batch.latencies_ms for batch in batches])),
    }
    columns["prediction"], columns["prediction_text"] = _answers([batch.output for batch in batches], counts)
    return _with_features(columns, features.build([batch.payload for batch in batches], counts) if features else {})


def _spread(parts: Sequence[Sequence[T]], counts: Sequence[int], none: T) -> list[T]:
    """Values of all rows; none at all where no batch has any."""
    if not any(parts):
        return []
    return [value for part, count in zip(parts, counts, strict=True) for value in part or (none,) * count]


def _texts(values: Sequence[str], count: int) -> pa.Array:
    """Text, most often all the same; empty where none is given."""
    first = values[0] if values else ""
    is_one = not values or values.count(first) == count
    return pa.repeat(first, count) if is_one else pa.array(values, pa.string())


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


def _named(user_id: str, request_id: str) -> str:
    """The gateway gives a user without a name the request's id; the table keeps that empty, like the gateway's."""
    return "" if user_id == request_id else user_id


def _column(values: Any, kind: pa.DataType) -> pa.Array:  # noqa: ANN401
    array = values if isinstance(values, (pa.Array, pa.ChunkedArray)) else pa.array(values)
    return array if array.type == kind else array.cast(kind)


def _answers(outputs: Sequence[Any], rows: Sequence[int]) -> tuple[pa.Array, pa.Array]:
    joined = joined_numbers(outputs, rows)
    if joined is not None:
        return pa.array(joined), pa.nulls(len(joined), pa.string())
    cells = [cell for output, count in zip(outputs, rows, strict=True) for cell in cells_of(output, count)]
    return pa.array([number for number, _ in cells], pa.float64()), pa.array([text for _, text in cells], pa.string())


def _number(value: Any) -> float | None:  # noqa: ANN401
    return float(value) if isinstance(value, (int, float)) else None


def _text(value: Any) -> str | None:  # noqa: ANN401
    return None if isinstance(value, (int, float)) else orjson.dumps(value).decode()
