"""Which files of the event store a query reads: by partition and day, without the torn and without the replaced.

A file counts as torn when its end is not that of a Parquet file, or when it lies beside the partitions instead of in
one; it is named, not hidden. A file that a merge stands
for (``mlflow_deploy_plugin.agent.compaction``) is left out, so that its rows are not read twice.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from mlflow_deploy_plugin.agent.compaction import MERGED_PREFIX
from mlflow_deploy_plugin.spec.events import Table, partition
from pipelines.monitoring.event_roots import EventRoot


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """Files to read, and those that cannot be read."""

    files: tuple[str, ...]
    unreadable: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Whose events, and of which time (UTC, both ends included)."""

    stage: str
    endpoint: str
    begin: datetime
    end: datetime


def files_of(root: EventRoot, table: Table, span: Span) -> Listing:
    """The files of all partitions whose day lies within ``span``."""
    files: list[str] = []
    unreadable: list[str] = []
    for day in _days(span.begin, span.end):
        found = root.files(partition(table, stage=span.stage, endpoint=span.endpoint, day=day))
        whole = {file: _is_in_place(file, table) and root.is_whole(file) for file in found}
        replaced = _replaced(root, [file for file, is_whole in whole.items() if is_whole])
        for file in found:
            if file not in replaced:
                (files if whole[file] else unreadable).append(file)
    return Listing(files=tuple(files), unreadable=tuple(unreadable))


def _is_in_place(file: str, table: Table) -> bool:
    """Whether its folder is a partition: DuckDB reads none of the others beside one that is not."""
    return file.split("/")[-2].startswith("date=" if table == "labels" else "deployment=")


def _days(begin: datetime, end: datetime) -> Iterator[datetime]:
    for number in range((end.date() - begin.date()).days + 1):
        yield begin + timedelta(days=number)


def _replaced(root: EventRoot, whole: Sequence[str]) -> set[str]:
    """Files that merged ones stand for."""
    found: set[str] = set()
    for file in whole:
        folder, _, name = file.rpartition("/")
        if name.startswith(MERGED_PREFIX):
            found.update(f"{folder}/{each}" for each in root.replaced_by(file))
    return found
