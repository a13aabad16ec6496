"""One writer at a time on a private clone, across processes and threads."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from mlflow_deploy_plugin.errors import RetryLaterError

_PAUSE_S: Final = 0.01


@contextmanager
def locked(path: Path, *, timeout_s: float) -> Iterator[None]:
    """Hold the lock file ``path``; the kernel lets go of it when the process ends, however it ends.

    Raises:
        RetryLaterError: somebody else holds it for longer than ``timeout_s``.
    """
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        _acquire(descriptor, path, timeout_s)
        yield
    finally:
        os.close(descriptor)


def _acquire(descriptor: int, path: Path, timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise RetryLaterError(
                    f"{path} is held by another process for more than {timeout_s:g} s; try again later"
                ) from None
            time.sleep(_PAUSE_S)
        else:
            return
