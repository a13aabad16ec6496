"""Parquet files that appear whole or not at all. Imported by the writing thread only, since it brings pyarrow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pyarrow as pa
import pyarrow.parquet as pq

from mlflow_deploy_plugin.serving.events.whole import whole
from mlflow_deploy_plugin.spec.events import SCHEMA_KEY, SCHEMA_VERSION

if TYPE_CHECKING:
    from pathlib import Path

COMPRESSION: Final = "none"
"""The worker has requests to answer; the agent compresses with zstd when it merges the files, minutes later. zstd costs
twice as much as all else that is done to a row of 30 numbers, and the fastest codecs half of it (measured)."""

SOUGHT: Final = ("time", "request_id")
"""Columns whose smallest and largest value lets a reader pass a file over."""

REPETITIVE: Final = ("user_id", "assigned", "model_digest", "protocol", "status", "prediction_text", "label_text")
"""Columns with few values. A dictionary of any other triples the cost and makes the file larger (measured)."""


def write_whole(table: pa.Table, path: Path) -> None:
    """Write ``table`` as ``path``: under a dotted name first, durable, then renamed.

    Raises:
        OSError: the disk is full or the folder cannot be written; nothing is left behind.
    """
    repetitive = [name for name in REPETITIVE if name in table.column_names]
    sought = [name for name in SOUGHT if name in table.column_names]
    with whole(path) as file:
        pq.write_table(
            versioned(table), file, compression=COMPRESSION, use_dictionary=repetitive, write_statistics=sought
        )


def versioned(table: pa.Table) -> pa.Table:
    """The table, saying which version of the columns it has, and which columns have no hole.

    Parquet keeps a mark for every value of a column that may have holes, which is half of what numbers cost (measured).
    """
    pairs = zip(table.schema, table.columns, strict=True)
    fields = [field.with_nullable(column.null_count > 0) for field, column in pairs]
    schema = pa.schema(fields, metadata={SCHEMA_KEY: str(SCHEMA_VERSION)})
    return pa.Table.from_arrays(table.columns, schema=schema)
