"""Files that are whole or absent, for their owner alone."""

import os
from pathlib import Path
from typing import Final

OWNER_ONLY: Final = 0o600


def replace_text(path: Path, text: str) -> None:
    """Let ``path`` say ``text``, in one step: a rename, which is also what Envoy watches for.

    Raises:
        OSError: the disk refuses; the file keeps what it said.
    """
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, OWNER_ONLY), "w", encoding="utf-8") as file:  # noqa: PTH123  pathlib opens no descriptor
            file.write(text)
        fresh.replace(path)
    except OSError:
        fresh.unlink(missing_ok=True)
        raise
