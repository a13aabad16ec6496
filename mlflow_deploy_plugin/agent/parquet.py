"""Parquet files of the event store as the agent writes them: schemas, and files that appear whole or not at all.

The Bentos write theirs by ``serving.events``, which nothing of the plugin may import; both follow ``spec.events``.
pyarrow is imported where it is used, so that ``modelserve status`` stays quick.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mlflow_deploy_plugin.spec.events import SCHEMA_KEY, SCHEMA_VERSION

if TYPE_CHECKING:
    import pyarrow as pa

COMPRESSION: Final = "zstd"

HIDDEN_SUFFIX: Final = ".tmp"

UNIQUE: Final = ("request_id", "time", "latency_ms", "trace_id", "span_id")
"""Columns whose values do not repeat; a dictionary of them costs more than it saves."""


def arrow_schema(columns: Mapping[str, str]) -> "pa.Schema":
    """The Arrow schema of a column table of ``spec.events``."""
    import pyarrow as pa  # noqa: PLC0415  see the module's docstring

    named = {"timestamp[us, UTC]": pa.timestamp("us", tz="UTC"), "double": pa.float64()}
    return pa.schema([(name, named.get(kind) or pa.type_for_alias(kind)) for name, kind in columns.items()])


def hidden(path: Path) -> Path:
    """The name that no reader sees while ``path`` is being written: dotted, and no ``*.parquet``.

    DuckDB's glob does not pass over dotted names, so the dot alone would show a torn file to whoever reads by hand.
    """
    return path.with_name(f".{path.name}{HIDDEN_SUFFIX}")


def write_hidden(table: "pa.Table", path: Path) -> None:
    """Write ``table`` under the hidden name of ``path`` and make it durable."""
    import pyarrow.parquet as pq  # noqa: PLC0415

    path.parent.mkdir(parents=True, exist_ok=True)
    repetitive = [name for name in table.column_names if name not in UNIQUE]
    versioned = table.replace_schema_metadata({SCHEMA_KEY: str(SCHEMA_VERSION).encode()})
    with hidden(path).open("wb") as file:
        pq.write_table(versioned, file, compression=COMPRESSION, use_dictionary=repetitive)
        file.flush()
        os.fsync(file.fileno())


def publish(path: Path) -> None:
    """Give the hidden file of ``path`` its name, in one step and durably."""
    hidden(path).replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names within ``folder`` durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
