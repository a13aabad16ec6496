"""The key of hashed log columns: random, made once, for its owner alone.

Whoever has the key can try out values against the hashes; whoever loses it can no longer compare new rows with old.
Called under the agent's lock.
"""

import os
import secrets
from pathlib import Path
from typing import Final

KEY_BYTES: Final = 32


def ensure_key(path: Path) -> Path:
    """``path``, with a whole key in it; one that is there stays. A full disk leaves none, never half of one.

    Raises:
        OSError: the disk refuses.
    """
    if path.exists() and path.stat().st_size >= KEY_BYTES:
        return path
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:  # noqa: PTH123  pathlib opens no descriptor
            file.write(secrets.token_bytes(KEY_BYTES))
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except OSError:
        fresh.unlink(missing_ok=True)
        raise
    return path
