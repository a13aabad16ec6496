"""Which files of the event store a query reads: by partition and day, without the torn and without the replaced.

A file counts as torn when its end is not that of a Parquet file; it is named, not hidden. A file that a merge stands
for (``mlflow_deploy_plugin.agent.compaction``) is left out, so that its rows are not read twice.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from mlflow_deploy_plugin.agent.compaction import MERGED_PREFIX, replaced_by
from mlflow_deploy_plugin.spec.events import Table, partition

_MAGIC: Final = b"PAR1"
_FOOTER: Final = 8  # bytes: length of the metadata, then the magic word


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


def files_of(root: Path, table: Table, span: Span) -> Listing:
    """The files of all partitions whose day lies within ``span``."""
    files: list[str] = []
    unreadable: list[str] = []
    for day in _days(span.begin, span.end):
        folder = root / partition(table, stage=span.stage, endpoint=span.endpoint, day=day)
        for path in _current(sorted(folder.rglob("[!.]*.parquet"))):
            (files if _is_whole(path) else unreadable).append(str(path))
    return Listing(files=tuple(files), unreadable=tuple(unreadable))


def _days(begin: datetime, end: datetime) -> Iterator[datetime]:
    for number in range((end.date() - begin.date()).days + 1):
        yield begin + timedelta(days=number)


def _current(paths: Sequence[Path]) -> list[Path]:
    merged = [path for path in paths if path.name.startswith(MERGED_PREFIX) and _is_whole(path)]
    replaced = {path.with_name(name) for path in merged for name in replaced_by(path)}
    return [path for path in paths if path not in replaced]


def _is_whole(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            if size <= 2 * _FOOTER:
                return False
            file.seek(-_FOOTER, 2)
            footer = file.read(_FOOTER)
    except FileNotFoundError:  # compaction removed it between the listing and now
        return True
    return footer[4:] == _MAGIC and int.from_bytes(footer[:4], "little") < size
