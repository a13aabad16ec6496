"""Has a repository on this machine a new commit? A few system calls, so that it can be asked twenty times a second."""

from pathlib import Path

from mlflow_deploy_plugin.repository.address import git_folder


def head_token(path: Path, branch: str = "main") -> tuple[object, ...]:
    """A value that differs from the last one when the branch may have moved; cheap, and never a process.

    A missing repository has a token too, so that its appearance is seen.
    """
    folder = git_folder(path)
    common = _common(folder)
    return (_content(common / "refs" / "heads" / branch), _stamp(common / "packed-refs"), _stamp(common / "reftable"))


def _common(folder: Path) -> Path:
    """Where the references lie: a worktree shares those of its main repository."""
    shared = _content(folder / "commondir").strip()
    return (folder / shared).resolve() if shared else folder


def _content(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:  # absent, or replaced in this moment: the next look sees it
        return ""


def _stamp(path: Path) -> tuple[int, int, int]:
    try:
        status = path.stat()
    except OSError:
        return (0, 0, 0)
    return (status.st_mtime_ns, status.st_size, status.st_ino)
