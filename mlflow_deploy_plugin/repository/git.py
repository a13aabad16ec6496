"""The one door to git: runs its command line, with an environment in which it neither asks nor surprises.

Does not know what is committed or why. Rules: no prompt, no hook of the caller's, no variable of a surrounding git
process, plain English messages, and an end to everything that it started when the time is up or the caller is
interrupted. Credential helpers and ssh work as the user set them up.
"""

import contextlib
import os
import re
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from mlflow_deploy_plugin.errors import GitError, RetryLaterError

LOCAL_TIMEOUT_S: Final = 60.0
REMOTE_TIMEOUT_S: Final = 120.0

_TIMED_OUT: Final = 124
_SURROUNDING: Final = frozenset(
    {
        "GIT_DIR",
        "GIT_WORK_TREE",
        "GIT_INDEX_FILE",
        "GIT_OBJECT_DIRECTORY",
        "GIT_ALTERNATE_OBJECT_DIRECTORIES",
        "GIT_COMMON_DIR",
        "GIT_NAMESPACE",
        "GIT_PREFIX",
        "GIT_QUARANTINE_PATH",
        "GIT_SHALLOW_FILE",
        "GIT_EXTERNAL_DIFF",
        "GIT_PUSH_OPTION_COUNT",
        "GIT_GLOB_PATHSPECS",
        "GIT_ICASE_PATHSPECS",
        "GIT_TRACE",
        "GIT_REPLACE_REF_BASE",
        "LANGUAGE",
    }
)
_ALWAYS: Final = (
    "core.hooksPath=/dev/null",
    "core.quotePath=false",
    "gc.autoDetach=false",
    "maintenance.autoDetach=false",
    "protocol.ext.allow=never",  # a URL must not be a command
    "advice.pushFetchFirst=false",
    "advice.pushNonFastForward=false",
)
_PASSWORD: Final = re.compile(r"(://)[^/@\s]*@")
_AWAY: Final = re.compile(
    r"could not read from remote repository|unable to access|connection (refused|reset|timed out|closed)"
    r"|could not resolve host|hung up unexpectedly|operation timed out|network is unreachable|early eof"
    r"|unexpected disconnect|the requested URL returned error: (429|5\d\d)",
    re.IGNORECASE,
)
_FORBIDDEN: Final = re.compile(
    r"authentication failed|permission denied|could not read (username|password)|host key verification failed"
    r"|invalid credentials|the requested URL returned error: 40[13]",
    re.IGNORECASE,
)
_ABSENT: Final = re.compile(
    r"does not appear to be a git repository|repository .*not found|not a git repository|does not exist"
    r"|no such file or directory|the requested URL returned error: 404",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Completed:
    """What a git command left behind."""

    arguments: tuple[str, ...]
    status: int
    out: bytes = b""
    err: str = ""

    @property
    def text(self) -> str:
        """Standard output as text, without the last line end."""
        return self.out.decode("utf-8", "replace").removesuffix("\n")

    @property
    def timed_out(self) -> bool:
        """Whether it was stopped since its time was up."""
        return self.status == _TIMED_OUT

    @property
    def said(self) -> str:
        """What git printed for people, on one line and without passwords."""
        return " ".join(without_password(f"{self.err} {self._said_on_stdout}").split()) or f"exit status {self.status}"

    @property
    def _said_on_stdout(self) -> str:
        return "" if self.err.strip() else self.text[-500:]


class GitDoor(Protocol):
    """How git is run."""

    def run(
        self,
        folder: Path,
        arguments: Sequence[str],
        *,
        feed: bytes = b"",
        variables: Mapping[str, str] | None = None,
        timeout_s: float = LOCAL_TIMEOUT_S,
    ) -> Completed:
        """Run ``git ARGUMENTS`` with the git directory ``folder``; any exit status is an answer."""
        ...


class Git:
    """The real git of ``PATH``."""

    def run(
        self,
        folder: Path,
        arguments: Sequence[str],
        *,
        feed: bytes = b"",
        variables: Mapping[str, str] | None = None,
        timeout_s: float = LOCAL_TIMEOUT_S,
    ) -> Completed:
        """Run ``git ARGUMENTS``; see :class:`GitDoor`.

        Raises:
            GitError: there is no git.
        """
        settings = [part for setting in _ALWAYS for part in ("-c", setting)]
        command = ["git", f"--git-dir={folder}", *settings, *arguments]
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={**environment(os.environ), **(variables or {})},
                start_new_session=True,  # no terminal to ask on, and one group to end
            )
        except FileNotFoundError as error:
            raise GitError("git is not on PATH; install it") from error
        out, err, timed_out = _outcome(process, feed, timeout_s)
        return Completed(
            arguments=tuple(arguments),
            status=_TIMED_OUT if timed_out else process.returncode,
            out=out,
            err=err.decode("utf-8", "replace") + (f"no answer within {timeout_s:g} s" if timed_out else ""),
        )


def environment(surrounding: Mapping[str, str]) -> dict[str, str]:
    """The variables for git, from those of this process."""
    kept = {key: value for key, value in surrounding.items() if key not in _SURROUNDING}
    # A null device instead of no value: git would wait for an answer that nobody can give.
    return {
        **kept,
        "GIT_TERMINAL_PROMPT": "0",
        "LC_ALL": "C",
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_PAGER": "cat",
        "GIT_LITERAL_PATHSPECS": "1",
    }


def without_password(text: str) -> str:
    """``text`` with the user and password of any URL left out.

    >>> without_password("https://me:secret@host/repo.git")
    'https://host/repo.git'
    """
    return _PASSWORD.sub(r"\1", text)


def failure(completed: Completed, *, doing: str) -> GitError | RetryLaterError:
    """The error that a failed command is: somebody's to mend, or time's."""
    said = completed.said
    if _FORBIDDEN.search(said):
        return GitError(f"{doing}: access refused; check the credentials that git uses for it ({said})")
    if _ABSENT.search(said):
        return GitError(f"{doing}: there is no git repository; check the address ({said})")
    if completed.timed_out or _AWAY.search(said):
        return RetryLaterError(f"{doing}: the repository cannot be reached now; try again later ({said})")
    return GitError(f"{doing}: git {_verb(completed.arguments)} failed ({said})")


def _verb(arguments: Sequence[str]) -> str:
    """The git command among its options: ``("-c", "a=b", "push")`` is a push."""
    options = {index for index, word in enumerate(arguments) if word == "-c"}
    return next(word for index, word in enumerate(arguments) if not {index, index - 1} & options)


def _outcome(process: subprocess.Popen[bytes], feed: bytes, timeout_s: float) -> tuple[bytes, bytes, bool]:
    """Both outputs, and whether the time was up; what was started is gone on every way out."""
    try:
        out, err = process.communicate(feed, timeout=timeout_s)
    except subprocess.TimeoutExpired:
        _end(process)
        return b"", b"", True
    except BaseException:
        _end(process)
        raise
    return out, err, False


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the whole group: git leaves ssh and helpers behind when it is killed alone."""
    with contextlib.suppress(ProcessLookupError):  # it may end by itself in this moment
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
