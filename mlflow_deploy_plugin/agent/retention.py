"""Keeping the event store within bounds: days that are too old go, and the oldest days where it is too large.

A whole day of a partition goes at a time, so that a comparison never loses some users of a day and keeps others. The
present day and the one before stay whatever the bounds say, since decisions are being made on them. Takes the
compaction's lock.
"""

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Final

from mlflow_deploy_plugin.agent.compaction import locked
from mlflow_deploy_plugin.errors import EventStoreError

KEPT_DAYS: Final = 2
_DATE: Final = "date="


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionPolicy:
    """How long and how much."""

    days: int = 90
    """Days that events stay; 0: for ever. ``drift --last`` and ``label`` look back 90."""
    max_bytes: int = 0
    """Bytes of the whole store; 0: no bound."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Removed:
    """What one run removed."""

    days: int = 0
    """Day folders, of all tables, endpoints and stages."""
    removed_bytes: int = 0
    left_bytes: int = 0
    is_busy: bool = False
    """A compaction held the lock; nothing was done."""


def prune(events_dir: Path, policy: RetentionPolicy, *, now: float) -> Removed:
    """Remove what is too old, then the oldest days until the store is small enough. ``now`` in seconds since the epoch.

    Raises:
        EventStoreError: the store cannot be listed or a folder cannot be removed.
    """
    if not events_dir.is_dir() or not (policy.days or policy.max_bytes):
        return Removed()
    today = datetime.fromtimestamp(now, tz=UTC).date()
    try:
        with locked(events_dir) as is_ours:
            return _prune(events_dir, policy, today) if is_ours else Removed(is_busy=True)
    except OSError as error:
        raise EventStoreError(f"event store {events_dir} was not pruned: {error}") from error


def _prune(root: Path, policy: RetentionPolicy, today: date) -> Removed:
    sizes = {folder: _size(folder) for folder in root.glob(f"*/stage=*/endpoint=*/{_DATE}*")}
    dated = {folder: day for folder in sizes if (day := _day(folder)) is not None}
    left = sum(sizes.values())
    gone: dict[Path, int] = {}
    for folder in _doomed(dated, sizes, policy, today):
        shutil.rmtree(folder)
        gone[folder] = sizes[folder]
    return Removed(days=len(gone), removed_bytes=sum(gone.values()), left_bytes=left - sum(gone.values()))


def _doomed(
    dated: Mapping[Path, date], sizes: Mapping[Path, int], policy: RetentionPolicy, today: date
) -> Iterator[Path]:
    """Day folders to remove, oldest first."""
    total = sum(sizes.values())
    for folder, day in sorted(dated.items(), key=lambda item: (item[1], item[0])):
        if today - day < timedelta(days=KEPT_DAYS):
            return
        is_old = bool(policy.days) and today - day >= timedelta(days=policy.days)
        if is_old or (policy.max_bytes and total > policy.max_bytes):
            total -= sizes[folder]
            yield folder


def _day(folder: Path) -> date | None:
    try:
        return date.fromisoformat(folder.name.removeprefix(_DATE))
    except ValueError:
        return None


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
