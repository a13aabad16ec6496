"""Digests that name what was packaged: ``sha256:`` and 64 hexadecimal digits.

A folder's digest is that of its listing, as ``sha256sum`` would print it with sorted paths, so that anybody can
recompute it: ``cd FOLDER && find . -type f | sort ...``. Times, owners and empty folders do not count.
"""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Final

PREFIX: Final = "sha256:"


def of_file(path: Path) -> str:
    """Digest of the bytes of one file."""
    with path.open("rb") as stream:
        return PREFIX + hashlib.file_digest(stream, "sha256").hexdigest()


def of_folder(folder: Path) -> str:
    """Digest of every file below ``folder``: relative paths and contents."""
    files = sorted((path.relative_to(folder).as_posix(), path) for path in folder.rglob("*") if path.is_file())
    return of_lines(f"{of_file(path).removeprefix(PREFIX)}  {name}" for name, path in files)


def of_lines(lines: Iterable[str]) -> str:
    r"""Digest of lines, each ended by a newline.

    >>> of_lines(["a"]) == PREFIX + hashlib.sha256(b"a\n").hexdigest()
    True
    """
    return PREFIX + hashlib.sha256("".join(f"{line}\n" for line in lines).encode()).hexdigest()
