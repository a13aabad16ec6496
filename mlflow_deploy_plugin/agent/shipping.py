"""Moving closed files of the event store to a URL: an object store, or whatever else fsspec knows.

Writers write locally, since a request must not wait for a network; files that have lain for ``settle_s`` are moved and
keep their place and name. What makes it safe:

- A file is removed here only after the store has told its whole size there; a crash or a store that is away leaves it,
  and the next run goes on. A file that is there already is not sent again.
- Object stores show an object whole or not at all; elsewhere it is sent under a dotted name and renamed.
- A merged file and what it stands for wait until compaction has removed the latter, so that no row is read twice.
- One at a time with compaction and retention, by their lock.
- A URL that leads back into the store itself is refused: each file would be found there already, and be removed.

Credentials and addresses are fsspec's own business (``AWS_*`` for ``s3://``, and so on).
"""

import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mlflow_deploy_plugin.agent.compaction import MERGED_PREFIX, locked, replaced_by
from mlflow_deploy_plugin.errors import ConfigError, EventStoreError

ATOMIC: Final = frozenset({"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "oss", "memory"})
"""Protocols whose objects appear whole."""

LOCAL: Final = frozenset({"file", "local"})
"""Protocols whose paths are this machine's own."""

_MAGIC: Final = b"PAR1"


@dataclass(frozen=True, slots=True, kw_only=True)
class ShippingPolicy:
    """Where to, and which files."""

    url: str
    settle_s: float = 600.0
    """Seconds since a file's last change before it is moved; compaction has merged what it will by then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shipped:
    """What one run did."""

    files: int = 0
    sent_bytes: int = 0
    waiting: int = 0
    """Files that are too young, or wait for compaction."""
    unreadable: tuple[str, ...] = ()
    """Torn files, relative to the store; they stay here."""
    is_busy: bool = False
    """Compaction held the lock; nothing was done."""


def ship(events_dir: Path, policy: ShippingPolicy, *, now: float | None = None) -> Shipped:
    """Move what is closed. ``now`` in seconds since the epoch.

    Raises:
        ConfigError: the URL is none that fsspec knows, its package is not installed, or it leads into ``events_dir``.
        EventStoreError: the other store refuses or is away; what was not moved stays here.
    """
    fs, base = open_url(policy.url)
    if not events_dir.is_dir():
        return Shipped()
    _refuse_itself(events_dir, fs, base, url=policy.url)
    run = _Run(events_dir, fs, base, settled_before=(time.time() if now is None else now) - policy.settle_s)
    with locked(events_dir) as is_ours:
        if not is_ours:
            return Shipped(is_busy=True)
        try:
            return run.whole()
        except Exception as error:  # each store has its own errors: botocore's are no OSError
            first = " ".join(str(error).split()) or type(error).__name__
            raise EventStoreError(
                f"events were not moved to {policy.url} ({first}); those that were not stay here, try again later"
            ) from error


def open_url(url: str) -> tuple[Any, str]:
    """The file system of ``url`` and the path within it.

    Raises:
        ConfigError: the URL is none that fsspec knows, or its package is not installed.
    """
    try:
        import fsspec  # noqa: PLC0415  heavy, and an extra

        fs, base = fsspec.core.url_to_fs(url)
    except (ImportError, ValueError, OSError) as error:
        raise ConfigError(
            f"event store {url!r} cannot be opened ({error}); give a URL such as s3://bucket/events"
        ) from error
    return fs, str(base).rstrip("/")


def put_whole(fs: Any, path: Path, target: str) -> None:  # noqa: ANN401  fsspec has no types
    """Copy ``path`` to ``target`` of ``fs`` so that nobody sees half of it."""
    folder, _, name = target.rpartition("/")
    fs.makedirs(folder, exist_ok=True)
    if ATOMIC.intersection(_protocols(fs)):
        fs.put_file(str(path), target)
        return
    fs.put_file(str(path), f"{folder}/.{name}.tmp")
    fs.mv(f"{folder}/.{name}.tmp", target)


def _protocols(fs: Any) -> tuple[str, ...]:  # noqa: ANN401  fsspec has no types
    return (fs.protocol,) if isinstance(fs.protocol, str) else tuple(fs.protocol)


def _refuse_itself(events_dir: Path, fs: Any, base: str, *, url: str) -> None:  # noqa: ANN401  fsspec has no types
    """A file that is moved onto itself has its whole size there, and the copy that is then removed is the only one."""
    if not LOCAL.intersection(_protocols(fs)):
        return
    ours, theirs = events_dir.resolve(), Path(base).resolve()
    if theirs == ours or ours in theirs.parents:
        raise ConfigError(
            f"{url!r} lies in the event store {events_dir} whose files are to be moved; name a folder outside of it,"
            " or another store such as s3://bucket/events"
        )


class _Run:
    """One pass over the store."""

    def __init__(self, root: Path, fs: Any, base: str, *, settled_before: float) -> None:  # noqa: ANN401  fsspec has no types
        self.root, self.fs, self.base, self.settled_before = root, fs, base, settled_before
        self.files = self.sent = self.waiting = 0
        self.unreadable: list[str] = []

    def whole(self) -> Shipped:
        for folder in sorted({path.parent for path in self.root.rglob("[!.]*.parquet")}):
            for path in self._movable(folder):
                self._move(path)
            with contextlib.suppress(OSError):  # not empty: somebody writes on
                folder.rmdir()
        return Shipped(files=self.files, sent_bytes=self.sent, waiting=self.waiting, unreadable=tuple(self.unreadable))

    def _movable(self, folder: Path) -> Iterator[Path]:
        paths = sorted(folder.glob("[!.]*.parquet"))
        held: set[str] = set()
        present = {path.name for path in paths}
        whole = [path for path in paths if self._is_whole(path)]
        for path in whole:
            if path.name.startswith(MERGED_PREFIX) and (still := present.intersection(replaced_by(path))):
                held |= still | {path.name}
        for path in whole:
            if path.name in held or path.stat().st_mtime > self.settled_before:
                self.waiting += 1
            else:
                yield path

    def _is_whole(self, path: Path) -> bool:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - len(_MAGIC)))
            is_whole = file.read() == _MAGIC
        if not is_whole:
            self.unreadable.append(str(path.relative_to(self.root)))
        return is_whole

    def _move(self, path: Path) -> None:
        size, target = path.stat().st_size, f"{self.base}/{path.relative_to(self.root).as_posix()}"
        if self._size_there(target) != size:
            put_whole(self.fs, path, target)
            if (there := self._size_there(target)) != size:
                raise OSError(f"{target} has {there} bytes after {size} were sent")
            self.sent += size
        path.unlink()
        self.files += 1

    def _size_there(self, target: str) -> int | None:
        self.fs.invalidate_cache()
        try:
            return int(self.fs.info(target)["size"])
        except FileNotFoundError:
            return None
