"""Addresses of repositories: which are on this machine, and how git is to be given them. Touches no network."""

import hashlib
import re
from pathlib import Path
from typing import Final

from mlflow_deploy_plugin.errors import ConfigError

_URL: Final = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_SSH: Final = re.compile(r"[^/:]+:.+")
_SCHEMES: Final = ("https://", "http://", "ssh://", "git://", "file://")


def normal(address: str | Path) -> str:
    """``address`` as git takes it from any folder: a path becomes absolute.

    Raises:
        ConfigError: it is none that git may be given.

    >>> normal("git@github.com:team/models.git")
    'git@github.com:team/models.git'
    """
    text = str(address).strip()
    if not text or text.startswith("-") or "\n" in text or "\0" in text:
        raise ConfigError(f"{text!r} is no address of a git repository; give a path or an https://, ssh:// or git@ URL")
    if _URL.match(text):
        if not text.lower().startswith(_SCHEMES):
            raise ConfigError(f"{text!r} has a scheme that is not served; use one of {', '.join(_SCHEMES)}")
        return text
    if "::" in text.partition("/")[0]:
        raise ConfigError(f"{text!r} names a transport program; use one of {', '.join(_SCHEMES)} or a path")
    if _SSH.fullmatch(text) and not Path(text).exists():
        return text
    return str(Path(text).expanduser().absolute())


def local_folder(address: str) -> Path | None:
    """The folder of a repository on this machine; ``None`` for any other."""
    if address.lower().startswith("file://"):
        return Path(address[len("file://") :])
    return Path(address) if address.startswith("/") else None


def git_folder(folder: Path) -> Path:
    """The git directory of a repository: of a checkout its ``.git``, of a bare one itself.

    A ``.git`` that is a file (a worktree, a submodule) names the directory.
    """
    inside = folder / ".git"
    if inside.is_dir():
        return inside
    if inside.is_file():
        target = inside.read_text(encoding="utf-8").removeprefix("gitdir:").strip()
        return (folder / target).resolve()
    return folder


def clone_name(address: str, branch: str) -> str:
    """The folder of a private clone: one for each address and branch."""
    return hashlib.sha256(f"{address}\n{branch}".encode()).hexdigest()[:24]
