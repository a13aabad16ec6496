"""One agent for each home: a lock that the system releases when its holder dies, however it dies."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from mlflow_deploy_plugin.agent.processes import born
from mlflow_deploy_plugin.errors import UserError

TAKEN: Final = "an agent already serves"


class AlreadyRunningError(UserError):
    """Another agent holds the home."""


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold the lock at ``path``.

    Raises:
        AlreadyRunningError: another process holds it; the message has its pid.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise AlreadyRunningError(
                f"{TAKEN} {path.parent.parent} (pid {holder(path)}); stop it by 'modelserve stop'"
            ) from error
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()} {born(os.getpid())}".encode(), 0)
        yield
        os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


def holder(path: Path) -> int | None:
    """Process that holds the lock at ``path``; ``None``: nobody.

    By what the holder wrote: to try the lock could make an agent that starts in this moment believe that another runs.
    """
    try:
        pid, _, when = path.read_text(encoding="ascii").partition(" ")
    except (FileNotFoundError, UnicodeDecodeError):
        return None
    if not (pid.isdigit() and when.isdigit()):
        return None
    return int(pid) if born(int(pid)) == int(when) else None
