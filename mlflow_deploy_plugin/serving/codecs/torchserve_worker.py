"""This process in the words of TorchServe's ``describe``; all that a worker can say of what really runs."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

_BEGAN: Final = datetime.now(UTC)


def this_worker() -> Mapping[str, Any]:
    """Process id, when it began to serve, whether it sees a GPU, and its resident memory in bytes."""
    return {
        "id": str(os.getpid()),
        "startTime": _BEGAN.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "gpu": os.environ.get("CUDA_VISIBLE_DEVICES", "") not in {"", "-1"},
        "memoryUsage": _resident_bytes(),
    }


def _resident_bytes() -> int:
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except OSError:  # no Linux
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")
