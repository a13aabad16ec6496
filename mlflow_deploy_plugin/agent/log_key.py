"""The key of hashed log columns: random, made once, for its owner alone.

Whoever has the key can try out values against the hashes; whoever loses it can no longer compare new rows with old.
"""

import os
import secrets
from pathlib import Path
from typing import Final

KEY_BYTES: Final = 32


def ensure_key(path: Path) -> Path:
    """``path``, with a key in it; one that is there stays.

    Raises:
        OSError: the disk refuses.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path
    try:
        os.write(descriptor, secrets.token_bytes(KEY_BYTES))
    finally:
        os.close(descriptor)
    return path
