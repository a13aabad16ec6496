"""Scans of the event store's files in DuckDB: bounded memory, no torn or vanished file goes unnoticed.

Knows files and tables; what is asked of them is :mod:`.event_queries`' and :mod:`.events`' matter.
"""

import tempfile
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from mlflow_deploy_plugin.errors import EventStoreError
from mlflow_deploy_plugin.spec.events import ATTEMPT_COLUMNS, LABEL_COLUMNS, PREDICTION_COLUMNS, Table
from pipelines.monitoring.event_files import Listing, Span, files_of
from pipelines.monitoring.event_roots import root_of
from pipelines.monitoring.event_types import KINDS, Held, misfits

if TYPE_CHECKING:
    import duckdb
    import pandas as pd
    import pyarrow as pa

RUNS: Final = 4
"""Runs of one question while files come and go under it."""

_COLUMNS: Final[Mapping[Table, Mapping[str, str]]] = {
    "attempts": {**ATTEMPT_COLUMNS, "deployment": "string"},
    "predictions": {**PREDICTION_COLUMNS, "deployment": "string"},
    "labels": LABEL_COLUMNS,
}
_SQL_TYPES: Final = {
    "string": "VARCHAR",
    "timestamp[us, UTC]": "TIMESTAMP WITH TIME ZONE",
    "double": "DOUBLE",
    "int32": "INTEGER",
}

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """The rows of one table within a span, as SQL for a FROM clause."""

    source: str
    columns: Mapping[str, str]
    """Name to DuckDB type, features included; empty without files."""
    unreadable: tuple[str, ...]
    files: tuple[str, ...] = ()
    """Where the rows lie."""


class Scanner:
    """One DuckDB connection over the store at ``place``, a folder or a URL."""

    def __init__(self, place: str | Path, *, memory_mb: int, threads: int) -> None:
        import duckdb  # noqa: PLC0415  an extra; only the readers of events need it

        self.root = root_of(place)
        self._spill = tempfile.TemporaryDirectory(prefix="modelserve-events-")
        self._error = duckdb.Error
        self._misfit = duckdb.ConversionException
        self._connection: duckdb.DuckDBPyConnection = duckdb.connect(
            config={
                "memory_limit": f"{memory_mb}MB",
                "threads": threads,
                "temp_directory": self._spill.name,
                "preserve_insertion_order": False,  # our own ORDER BY decides; this one would hold rows in memory
                "autoinstall_known_extensions": False,
                "autoload_known_extensions": False,
            }
        )
        self._connection.execute("SET TimeZone = 'UTC'")
        self._connection.execute("SET enable_progress_bar = false")  # standard output is the command's answer
        self.root.attach(self._connection)
        self._damaged: set[str] = set()
        self._listed: set[str] = set()
        self._has_misfits = False  # whether to look which files hold a feature as another kind of value

    def close(self) -> None:
        """End the connection and remove what was spilled."""
        self._connection.close()
        self._spill.cleanup()

    def fetch(self, query: str, given: Mapping[str, Any] | None = None) -> "duckdb.DuckDBPyConnection":
        """Run one query; its parameters are written ``$name``, and ``given`` may hold more than it names."""
        used = {name: value for name, value in (given or {}).items() if f"${name}" in query}
        return self._connection.execute(query, used)

    def rows(self, query: str, given: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        """The few rows of a summary, by column name."""
        found = self.fetch(query, given)
        names = [column[0] for column in found.description or ()]
        return [dict(zip(names, row, strict=True)) for row in found.fetchall()]

    def frame(self, query: str, given: Mapping[str, Any] | None = None) -> "pd.DataFrame":
        """The rows as a frame; the query limits them."""
        found: pd.DataFrame = self.fetch(query, given).df()
        return found

    def keep(self, name: str, query: str, given: Mapping[str, Any] | None = None) -> None:
        """Keep the rows of a query as table ``name`` of this connection, on disk where they are many."""
        self.fetch(f"CREATE OR REPLACE TEMP TABLE {identifier(name)} AS {query}", given)

    def drop(self, name: str) -> None:
        """Forget a table, where one was kept."""
        self.fetch(f"DROP TABLE IF EXISTS {identifier(name)}")

    @contextmanager
    def holding(self, name: str, table: "pa.Table") -> Iterator[None]:
        """Let queries read ``table`` as ``name``."""
        self._connection.register(name, table)
        try:
            yield
        finally:
            self._connection.unregister(name)

    def scan(self, table: Table, span: Span, *, deployment: str = "") -> Scan:
        """The rows of ``table`` within ``span``; its end excluded. Features are what they are to ``deployment``.

        Rows of other deployments are there as well, since whoever asks has its own way to choose.
        """
        listing = self._listing(table, span)
        if not listing.files:
            return Scan(source=_empty(table), columns={}, unreadable=listing.unreadable)
        read = self._together(table, listing.files, deployment)
        found = dict(self.fetch(f"SELECT column_name, column_type FROM (DESCRIBE FROM {read})").fetchall())  # noqa: S608
        bounds = f"time >= {moment_literal(span.begin)} AND time < {moment_literal(span.end)}"
        return Scan(
            source=f"(SELECT * FROM {_as_agreed(table, read, found)} WHERE {bounds})",  # noqa: S608  paths are quoted, moments are ours
            columns=found,
            unreadable=listing.unreadable,
            files=listing.files,
        )

    def own_columns(self, scan: Scan, deployment: str) -> frozenset[str]:
        """Columns of the files of ``deployment``, also those that hold no value; a scan has those of all files."""
        files = [file for file in scan.files if f"/deployment={deployment}/" in file]
        if not files:
            return frozenset()
        listed = ", ".join(map(quoted, files))
        return frozenset(row["name"] for row in self.rows(f"SELECT DISTINCT name FROM parquet_schema([{listed}])"))  # noqa: S608

    def steady(self, ask: Callable[[], T]) -> T:
        """The answer of ``ask``, asked anew while files vanish or turn out damaged under it.

        Raises:
            EventStoreError: the store cannot be read, and no single file is at fault.
        """
        for _ in range(RUNS):
            self._listed.clear()
            try:
                return ask()
            except self._error as error:
                reason = error
                gone = [file for file in self._listed if not self.root.exists(file)]
                if isinstance(error, self._misfit) and not self._has_misfits:
                    self._has_misfits = True
                    continue
                damaged = [] if gone else [file for file in sorted(self._listed) if not self._is_sound(file)]
                self._damaged.update(damaged)
                if not gone and not damaged:
                    break
        raise EventStoreError(f"event store {self.root} cannot be read: {reason}") from reason

    def _together(self, table: Table, files: Sequence[str], deployment: str) -> str:
        """All files as one relation; those that hold a feature as another kind of value, without that feature."""
        if table != "predictions" or not self._has_misfits:
            return _read(table, files)
        asked = KINDS.format(files=", ".join(map(quoted, files)))
        left_out = misfits([Held(**row) for row in self.rows(asked)], deployment=deployment)
        groups: dict[frozenset[str], list[str]] = defaultdict(list)
        for file in files:
            groups[left_out.get(file, frozenset())].append(file)
        parts = (f"SELECT *{_excluding(without)} FROM {_read(table, some)}" for without, some in groups.items())  # noqa: S608
        return f"({' UNION ALL BY NAME '.join(parts)})"

    def _listing(self, table: Table, span: Span) -> Listing:
        try:
            listing = files_of(self.root, table, span)
        except OSError as error:
            raise EventStoreError(f"event store {self.root} cannot be listed: {error}") from error
        files = tuple(file for file in listing.files if file not in self._damaged)
        self._listed.update(files)
        return Listing(
            files=files, unreadable=listing.unreadable + tuple(f for f in listing.files if f in self._damaged)
        )

    def _is_sound(self, file: str) -> bool:
        try:
            self.fetch(f"SELECT bit_xor(hash(t)) FROM read_parquet([{quoted(file)}]) t").fetchall()  # noqa: S608
        except self._error:
            return False
        return True


def quoted(text: str) -> str:
    """A string literal of SQL.

    >>> quoted("it's")
    "'it''s'"
    """
    return "'" + text.replace("'", "''") + "'"


def identifier(name: str) -> str:
    """A quoted name of SQL.

    >>> identifier('5" pipe')
    '"5"" pipe"'
    """
    return '"' + name.replace('"', '""') + '"'


def _as_agreed(table: Table, read: str, found: Mapping[str, str]) -> str:
    """The rows with the columns of ``spec.events`` as what they are there.

    Whoever writes files of their own may say a time by the nanosecond, or leave a column out; where a value is no such
    thing it is missing, and the rows of all others stay.
    """
    agreed = {name: _SQL_TYPES[kind] for name, kind in _COLUMNS[table].items()}
    cast = ", ".join(
        f"TRY_CAST({name} AS {kind}) AS {name}" for name, kind in agreed.items() if found.get(name, kind) != kind
    )
    lacking = "".join(f", NULL::{kind} AS {name}" for name, kind in agreed.items() if name not in found)
    if not cast and not lacking:
        return read
    return f"(SELECT *{f' REPLACE ({cast})' if cast else ''}{lacking} FROM {read})"  # noqa: S608  names and types are ours


def _excluding(columns: Collection[str]) -> str:
    return f" EXCLUDE ({', '.join(map(identifier, sorted(columns)))})" if columns else ""


def _read(table: Table, files: Sequence[str]) -> str:
    keys = ["stage", "endpoint", *(["deployment"] if table != "labels" else [])]
    types = ", ".join(f"{key}: VARCHAR" for key in keys)
    listed = ", ".join(map(quoted, files))
    return f"read_parquet([{listed}], union_by_name=true, hive_partitioning=true, hive_types={{{types}}})"


def _empty(table: Table) -> str:
    columns = ", ".join(f"NULL::{_SQL_TYPES[kind]} AS {name}" for name, kind in _COLUMNS[table].items())
    return f"(SELECT {columns} WHERE false)"


def moment_literal(moment: datetime) -> str:
    """A moment of SQL."""
    return f"TIMESTAMPTZ {quoted(moment.isoformat())}"
