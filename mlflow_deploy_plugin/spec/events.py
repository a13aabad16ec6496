"""The event store: three tables of Parquet files, joined by request id.

::

    EVENTS/attempts/stage=S/endpoint=E/date=YYYY-MM-DD/deployment=D/*.parquet     the gateway: every attempt
    EVENTS/predictions/stage=S/endpoint=E/date=YYYY-MM-DD/deployment=D/*.parquet  the Bentos: inputs and outputs
    EVENTS/labels/stage=S/endpoint=E/date=YYYY-MM-DD/*.parquet                    ground truth, as it arrives

A file is written under a name that begins with a dot and renamed when it is whole, so a reader that skips dotted
names never sees a torn one. Hive-style folders: DuckDB reads a table with
``read_parquet('EVENTS/predictions/**/*.parquet', hive_partitioning=true, union_by_name=true)``.
"""

from datetime import datetime
from pathlib import PurePosixPath
from typing import Final, Literal

SCHEMA_VERSION: Final = 2
"""Of the columns below. A file names its own in Parquet's metadata under :data:`SCHEMA_KEY`; one that names none is 1.

Columns are only ever added, so every reader takes files of every version: a column that a file lacks is null. 2 added
``trace_id`` and ``span_id`` to ``predictions``.
"""
SCHEMA_KEY: Final = b"modelserve.schema"

RAW_SUFFIX: Final = ".raw"
"""Of files that wait to become tables of ``predictions``, outside the store."""

Table = Literal["attempts", "predictions", "labels"]

FEATURE_PREFIX: Final = "feature_"
"""Column of the input column NAME in ``predictions``: ``feature_NAME``, typed by the model's signature."""

ATTEMPT_COLUMNS: Final = {
    "request_id": "string",
    "time": "timestamp[us, UTC]",  # when the attempt began
    "user_id": "string",  # empty: none was given, and the request id stands in for it
    "assigned": "string",  # deployment that the split meant; empty for an override
    "override": "string",  # deployment that the client asked for by header; else empty
    "attempt": "int32",  # 1 for the first
    "status": "int32",  # HTTP status of this attempt; 0: no response
    "flags": "string",  # Envoy response flags, such as UF or URX; MF: the model failed under a 4xx; empty: none
    "latency_ms": "double",  # from the first byte sent to the last received
    "commit": "string",  # commit whose split served it
}
"""Columns of ``attempts`` beside the partition keys. The partition's ``deployment`` is who was tried."""

PREDICTION_COLUMNS: Final = {
    "request_id": "string",
    "row": "int32",  # index of the row in its request
    "time": "timestamp[us, UTC]",
    "user_id": "string",
    "assigned": "string",
    "trace_id": "string",  # W3C Trace Context of the request; empty: it came with none
    "span_id": "string",  # ours within that trace, as the answer's traceparent says
    "model_digest": "string",
    "protocol": "string",
    "status": "string",  # success or error
    "latency_ms": "double",  # inside the Bento
    "prediction": "double",  # a number or a class index; null where the output is text or has many values
    "prediction_text": "string",  # JSON of the output where it is not one number
}
"""Columns of ``predictions`` beside the partition keys and the features."""

LARGEST_LABEL: Final = 1e140
"""Of labels that are numbers: their squares can be added up, a thousand million of them. Larger ones are refused."""

LABEL_COLUMNS: Final = {
    "request_id": "string",
    "row": "int32",
    "time": "timestamp[us, UTC]",  # when the label arrived
    "label": "double",
    "label_text": "string",  # JSON of the label where it is not a number
}


def partition(table: Table, *, stage: str, endpoint: str, day: datetime, deployment: str = "") -> PurePosixPath:
    """Folder of one partition, relative to the store.

    >>> from datetime import UTC
    >>> str(partition("labels", stage="production", endpoint="churn", day=datetime(2026, 1, 2, tzinfo=UTC)))
    'labels/stage=production/endpoint=churn/date=2026-01-02'
    """
    folder = PurePosixPath(table, f"stage={stage}", f"endpoint={endpoint}", f"date={day:%Y-%m-%d}")
    return folder / f"deployment={deployment}" if deployment else folder
