"""Rooms to work in and locks to wait for: what makes packaging atomic, and two of them at once harmless.

A half-made Bento lies in ``HOME/packaging`` until one rename puts it into the store. Whoever is killed in between
leaves a folder whose lock the kernel has dropped; the next one that works sweeps it away.
"""

import contextlib
import fcntl
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mlflow_deploy_plugin.config.home import OWNER_ONLY, Home
from mlflow_deploy_plugin.errors import RetryLaterError

WAIT_S: Final = 900.0  # as long as a large model takes to build, and an environment of torch to install
POLL_S: Final = 0.1
SUFFIX: Final = ".lock"


@dataclass(frozen=True, slots=True, kw_only=True)
class Workspace:
    """A folder of one's own, and the open file whose lock says that somebody works in it."""

    folder: Path
    lock: int
    """File descriptor; a child process that inherits it keeps the folder from being swept."""


@contextlib.contextmanager
def workspace(home: Home) -> Iterator[Workspace]:
    """A new folder on the store's file system; gone afterwards, whatever happened."""
    home.packaging.mkdir(mode=OWNER_ONLY, parents=True, exist_ok=True)
    sweep(home)
    folder = home.packaging / f"work-{uuid.uuid4().hex[:12]}"
    marker = folder.with_suffix(SUFFIX)
    lock = os.open(marker, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        folder.mkdir(mode=OWNER_ONLY)
        yield Workspace(folder=folder, lock=lock)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        marker.unlink(missing_ok=True)
        os.close(lock)


def sweep(home: Home) -> int:
    """Remove what killed processes left in ``HOME/packaging``; how many folders it was."""
    return sum(_swept(marker) for marker in home.packaging.glob(f"work-*{SUFFIX}"))


def _swept(marker: Path) -> bool:
    try:
        lock = os.open(marker, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not (folder := marker.with_suffix("")).is_dir() and time.time() - marker.stat().st_mtime < 1:
            return False  # its owner has made the file and not yet the lock
        shutil.rmtree(folder, ignore_errors=True)
        marker.unlink(missing_ok=True)
    except (BlockingIOError, FileNotFoundError):
        return False
    else:
        return True
    finally:
        os.close(lock)


@contextlib.contextmanager
def exclusive(home: Home, name: str, *, wait_s: float = WAIT_S) -> Iterator[None]:
    """Hold the lock ``name`` of this home; a second process waits for it.

    Raises:
        RetryLaterError: somebody holds it for longer than ``wait_s``.
    """
    home.packaging.mkdir(mode=OWNER_ONLY, parents=True, exist_ok=True)
    path = home.packaging / f"{name}{SUFFIX}"
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _acquire(lock, path, until=time.monotonic() + wait_s)
        yield
    finally:
        os.close(lock)


def _acquire(lock: int, path: Path, *, until: float) -> None:
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() >= until:
                raise RetryLaterError(f"another process packages {path.stem!r} (it holds {path}); try again") from error
            time.sleep(POLL_S)
        else:
            return
