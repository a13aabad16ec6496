"""One writer at a time on a private clone, across processes and threads."""

import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mlflow_deploy_plugin.errors import RetryLaterError


@contextmanager
def locked(path: Path, *, timeout_s: float) -> Iterator[None]:
    """Hold the lock file ``path``; the kernel lets go of it when the process ends, however it ends.

    Who waits is woken the moment it is free: one who looked every so often would starve beside busy writers.

    Raises:
        RetryLaterError: others hold it for longer than ``timeout_s``.
    """
    turn = _Turn(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
    try:
        if not turn.take(timeout_s):
            raise RetryLaterError(f"{path} is held by another process for more than {timeout_s:g} s; try again later")
        yield
    finally:
        turn.leave()


class _Turn:
    """One wait for a lock, and the hold that follows.

    The kernel wakes only those who block, and a call that blocks cannot be given up: a thread makes it, and where it
    succeeds too late it lets go at once.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._guard = threading.Lock()
        self._is_held = threading.Event()
        self._is_waiting = False
        self._has_left = False

    def take(self, timeout_s: float) -> bool:
        """Wait ``timeout_s`` at most; whether the lock is held."""
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._is_waiting = True
            threading.Thread(target=self._block, name="lock", daemon=True).start()
            return self._is_held.wait(timeout_s)
        return True

    def _block(self) -> None:
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        with self._guard:
            self._is_waiting = False
            if self._has_left:
                os.close(self._descriptor)
            else:
                self._is_held.set()

    def leave(self) -> None:
        """Let go, or give up waiting."""
        with self._guard:
            self._has_left = True
            if not self._is_waiting:
                os.close(self._descriptor)
