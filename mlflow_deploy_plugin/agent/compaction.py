"""Merging the event store's many small files, while others read and write it.

Every flush and every turn of the gateway's log leaves a small file; left alone they make each query slower. Files of
one partition and one schema that have lain for ``settle_s`` are merged into one, streamed so that memory stays small.

What makes it safe without a lock for readers:

- The merged file says in its footer which files it replaces (:data:`REPLACES`). It appears by one rename; from then on
  a reader that knows the footer leaves the replaced ones out (``pipelines.monitoring.events`` does). They are removed
  ``grace_s`` later, so that a query which began before still finds its files. A reader that globs by hand may see
  rows twice during that time.
- A crash anywhere leaves either nothing visible, or the merged file with its list; the next run removes the rest.
- A merged file is merged again only when all that it replaces is gone.
- One compaction at a time: a lock file that a second run finds held makes it do nothing.
- Files that cannot be read stay where they are and are counted. Dotted files of writers that died are removed after
  ``stale_s``; those of the gateway's log never, since :mod:`.attempts` takes them up again.

pyarrow alone; the agent calls this from its own thread, or a person by the CLI.
"""

import fcntl
import hashlib
import json
import os
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

from mlflow_deploy_plugin.agent.parquet import COMPRESSION, HIDDEN_SUFFIX, UNIQUE, hidden, publish
from mlflow_deploy_plugin.errors import EventStoreError
from mlflow_deploy_plugin.spec.events import SCHEMA_KEY

if TYPE_CHECKING:
    import pyarrow as pa

REPLACES: Final = b"modelserve.replaces"
"""Key of a merged file's footer: JSON list of the file names that it stands for."""

MERGED_PREFIX: Final = "merged-"
_LOCK: Final = ".compaction.lock"


@dataclass(frozen=True, slots=True, kw_only=True)
class CompactionPolicy:
    """When files are merged and removed."""

    settle_s: float = 60.0
    """Seconds since a file's last change before it may be merged."""
    grace_s: float = 120.0
    """Seconds that a replaced file stays for queries that began before; longer than any query."""
    stale_s: float = 3600.0
    """Seconds after which a dotted file belongs to nobody."""
    min_files: int = 8
    """Files of one partition that are worth a merge."""
    max_bytes: int = 128 * 1024 * 1024
    """Files of this size are left alone, and no merged one grows much beyond."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compacted:
    """What one run did."""

    merged: int = 0
    """Files that were replaced."""
    written: int = 0
    removed: int = 0
    """Replaced and stale files that were removed."""
    unreadable: tuple[str, ...] = ()
    """Files that are no Parquet, relative to the store."""
    is_busy: bool = False
    """Another compaction held the lock; nothing was done."""


def compact(events_dir: Path, policy: CompactionPolicy | None = None, *, now: float | None = None) -> Compacted:
    """Merge and tidy the whole store once. ``now`` in seconds since the epoch.

    Raises:
        EventStoreError: the store cannot be written; what was merged before stays merged.
    """
    if not events_dir.is_dir():
        return Compacted()
    run = _Run(events_dir, policy or CompactionPolicy(), time.time() if now is None else now)
    try:
        with locked(events_dir) as is_ours:
            return run.whole() if is_ours else Compacted(is_busy=True)
    except OSError as error:
        raise EventStoreError(f"event store {events_dir} was not compacted: {error}") from error


def replaced_by(path: Path | IO[bytes]) -> tuple[str, ...]:
    """File names of the same folder that the merged file ``path``, or what was opened of one, stands for.

    Raises:
        pyarrow.ArrowInvalid: it is no Parquet file.
        OSError: it cannot be read, or has gone.
    """
    import pyarrow.parquet as pq  # noqa: PLC0415  half a second that other commands need not pay

    footer: Mapping[bytes, bytes] = pq.read_metadata(path).metadata or {}
    return tuple(json.loads(footer.get(REPLACES, b"[]")))


@contextmanager
def locked(events_dir: Path) -> Iterator[bool]:
    """Hold the store's lock; what is yielded says whether it is ours, or somebody else is at work."""
    descriptor = os.open(events_dir / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)


class _Run:
    """One pass over the store."""

    def __init__(self, root: Path, policy: CompactionPolicy, now: float) -> None:
        self.root, self.policy, self.now = root, policy, now
        self.merged = self.written = self.removed = 0
        self.unreadable: list[str] = []

    def whole(self) -> Compacted:
        folders = {path.parent for path in self.root.rglob("*.parquet*")}
        for folder in sorted(folders):
            self._partition(folder)
        return Compacted(
            merged=self.merged, written=self.written, removed=self.removed, unreadable=tuple(self.unreadable)
        )

    def _partition(self, folder: Path) -> None:
        for path in folder.glob(f".*{HIDDEN_SUFFIX}"):
            self._remove_stale(path)
        visible = sorted(folder.glob("[!.]*.parquet"))
        pending = self._remove_replaced(visible)
        settled = [path for path in visible if path.exists() and path.name not in pending and self._is_settled(path)]
        for schema, paths in self._by_schema(settled).items():
            for group in self._groups(paths):
                self._merge(group, schema)

    def _remove_stale(self, path: Path) -> None:
        is_gateways = path.relative_to(self.root).parts[0] == "attempts" and not path.name.startswith(
            f".{MERGED_PREFIX}"
        )
        if not is_gateways and self._age_s(path) > self.policy.stale_s:
            path.unlink(missing_ok=True)
            self.removed += 1

    def _remove_replaced(self, visible: Sequence[Path]) -> set[str]:
        """Remove what merged files stand for, when its time has come. Returns names that no merge may touch yet."""
        names = {path.name for path in visible}
        untouchable: set[str] = set()
        for path in visible:
            if not path.name.startswith(MERGED_PREFIX):
                continue
            present = names.intersection(self._replaced(path))
            if present and self._age_s(path) <= self.policy.grace_s:
                untouchable |= present | {path.name}
                continue
            for name in present:
                (path.parent / name).unlink(missing_ok=True)
                self.removed += 1
        return untouchable

    def _replaced(self, path: Path) -> tuple[str, ...]:
        import pyarrow as pa  # noqa: PLC0415

        try:
            return replaced_by(path)
        except (pa.ArrowException, OSError, ValueError):
            return ()  # counted as unreadable when its turn to be merged comes

    def _is_settled(self, path: Path) -> bool:
        return self._age_s(path) > self.policy.settle_s and path.stat().st_size < self.policy.max_bytes // 2

    def _age_s(self, path: Path) -> float:
        return self.now - path.stat().st_mtime

    def _by_schema(self, paths: Sequence[Path]) -> Mapping["pa.Schema", list[Path]]:
        import pyarrow as pa  # noqa: PLC0415
        import pyarrow.parquet as pq  # noqa: PLC0415

        grouped: dict[pa.Schema, list[Path]] = defaultdict(list)
        for path in paths:
            try:
                schema = pq.read_schema(path)
                version = {name: text for name, text in (schema.metadata or {}).items() if name == SCHEMA_KEY}
                columns = [column.with_nullable(True) for column in schema]  # only some files may have holes in it  # noqa: FBT003
                grouped[pa.schema(columns, metadata=version)].append(path)
            except (pa.ArrowException, OSError):
                self.unreadable.append(str(path.relative_to(self.root)))
        return grouped

    def _groups(self, paths: Sequence[Path]) -> Iterator[list[Path]]:
        group: list[Path] = []
        size = 0
        for path in paths:
            group.append(path)
            size += path.stat().st_size
            if size > self.policy.max_bytes:
                yield group
                group, size = [], 0
        if len(group) >= self.policy.min_files:
            yield group

    def _merge(self, paths: Sequence[Path], schema: "pa.Schema") -> None:
        import pyarrow as pa  # noqa: PLC0415

        names = [path.name for path in paths]
        digest = hashlib.sha256("\n".join(names).encode()).hexdigest()[:16]
        target = paths[0].with_name(f"{MERGED_PREFIX}{digest}.parquet")
        try:
            _write_merged(
                paths, target, schema.with_metadata({**(schema.metadata or {}), REPLACES: json.dumps(names).encode()})
            )
        except (pa.ArrowException, OSError):
            hidden(target).unlink(missing_ok=True)
            bad = [path for path in paths if not _is_readable(path)]
            if not bad:  # the disk's fault, not a file's
                raise
            self.unreadable += [str(path.relative_to(self.root)) for path in bad]
            good = [path for path in paths if path not in bad]
            if len(good) >= self.policy.min_files:
                self._merge(good, schema)
            return
        publish(target)
        self.merged += len(paths)
        self.written += 1


def _write_merged(paths: Sequence[Path], target: Path, schema: "pa.Schema") -> None:
    import pyarrow.parquet as pq  # noqa: PLC0415

    # Few values repeat in ids, times and features; a dictionary of them costs more than it saves.
    repetitive = [field.name for field in schema if str(field.type) == "string" and field.name not in UNIQUE]
    with (
        hidden(target).open("wb") as file,
        pq.ParquetWriter(file, schema, compression=COMPRESSION, use_dictionary=repetitive) as writer,
    ):
        for path in paths:
            with pq.ParquetFile(path) as source:
                for batch in source.iter_batches():
                    writer.write_batch(batch.cast(schema))
        writer.close()
        file.flush()
        os.fsync(file.fileno())


def _is_readable(path: Path) -> bool:
    import pyarrow as pa  # noqa: PLC0415
    import pyarrow.parquet as pq  # noqa: PLC0415

    try:
        with pq.ParquetFile(path) as source:
            for _ in source.iter_batches():
                pass
    except (pa.ArrowException, OSError):
        return False
    return True
