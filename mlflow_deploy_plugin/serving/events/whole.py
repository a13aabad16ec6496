"""Files that appear whole, or not at all."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HIDDEN_SUFFIX: Final = ".tmp"
"""Ends the name, which begins with a dot, of a file that is being written."""


@contextmanager
def whole(path: Path, *, is_durable: bool = True) -> Iterator[IO[bytes]]:
    """What is written within the block gets the name ``path`` after it; a block that fails leaves nothing behind.

    No process that is killed can tear it; one that ``is_durable`` outlives a machine that loses its power as well.

    Raises:
        OSError: the disk is full or the folder cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    hidden = path.with_name(f".{path.name}{HIDDEN_SUFFIX}")  # DuckDB's glob takes dotted names, but only *.parquet
    try:
        with hidden.open("wb") as file:
            yield file
            if is_durable:
                file.flush()
                os.fsync(file.fileno())
        hidden.rename(path)
    except BaseException:
        hidden.unlink(missing_ok=True)
        raise
    if is_durable:
        _sync(path.parent)


def _sync(folder: Path) -> None:
    """Make the names within ``folder`` durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
