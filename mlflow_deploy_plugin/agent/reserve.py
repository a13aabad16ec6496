"""Room on the disk that is kept for the day when it is full: for the agent's few small files, status first."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

RESERVE_BYTES: Final = 2 * 1024 * 1024
_PLENTY: Final = 4
"""The reserve is made again when this many of it would fit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reserve:
    """A file of zeros that can be given up."""

    path: Path

    @property
    def is_kept(self) -> bool:
        """Whether there is still room."""
        return self.path.exists()

    def refill(self) -> None:
        """Make it, where it is missing and there is plenty of room."""
        if self.is_kept or shutil.disk_usage(self.path.parent).free < _PLENTY * RESERVE_BYTES:
            return
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, RESERVE_BYTES)
        finally:
            os.close(descriptor)

    def release(self) -> None:
        """Give it up."""
        self.path.unlink(missing_ok=True)
