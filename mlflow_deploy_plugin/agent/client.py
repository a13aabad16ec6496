"""The agent of a home, seen from another process: start it, read its word, wait for it, stop it.

Talks through ``status.json`` and signals alone. Imports neither the reconciler nor Envoy's rooms, so that
``modelserve status`` answers at once.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from mlflow_deploy_plugin.agent.lock import TAKEN, holder
from mlflow_deploy_plugin.agent.processes import rotate
from mlflow_deploy_plugin.agent.status import AgentStatus
from mlflow_deploy_plugin.config.home import HOME_VARIABLE, Home
from mlflow_deploy_plugin.errors import EXIT_USER, AgentError, UserError

T = TypeVar("T")

POLL_S: Final = 0.02
ERROR: Final = "modelserve: "
"""What a command's last line on stderr begins with."""
START_TIMEOUT_S: Final = 60.0
STOP_TIMEOUT_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Applied:
    """The commit is served, as far as was asked."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The commit will not be served; what was good before still is."""

    reason: str


@dataclass(frozen=True, slots=True)
class TimedOut:
    """No word yet."""


Outcome = Applied | Refused | TimedOut


class CannotStartError(UserError):
    """The agent ended at its start, and its message says what a person can mend."""


def read_status(home: Home) -> AgentStatus | None:
    """What the agent said last; ``None`` where none runs."""
    try:
        status = AgentStatus.from_json(home.status.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return status if holder(home.agent / "lock") == status.pid else None


def start(
    home: Home,
    *,
    port: int | None = None,
    stage: str | None = None,
    repository: str | None = None,
    timeout_s: float = START_TIMEOUT_S,
) -> AgentStatus:
    """The agent, started detached where none runs; its status once it has one. What is not given is its own default.

    Raises:
        CannotStartError: a person can mend why it ended, such as a taken port.
        AgentError: it ended otherwise, or says nothing within ``timeout_s``.
    """
    if status := read_status(home):
        return status
    home.ensure()
    options = {"--port": port, "--stage": stage, "--repository": repository}
    words = [word for name, value in options.items() if value is not None for word in (name, str(value))]
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if status := _started(home, words, deadline):
            return status
    raise AgentError(f"the agent says nothing after {timeout_s:g} s; see {home.agent / 'agent.log'}")


def _started(home: Home, words: list[str], deadline: float) -> AgentStatus | None:
    """The status of an agent that is started now; ``None`` where an earlier one was in its way and has gone by now."""
    log = home.agent / "agent.log"
    since = log.stat().st_size if log.exists() else 0
    agent = _launch(home, words, log)
    while time.monotonic() < deadline:
        if status := read_status(home):
            agent.returncode = 0  # it outlives us, and Popen would warn that nobody has waited for it
            return status
        code = agent.poll()
        # Another one may have been quicker with the lock: its status comes. Or it was leaving: ours is started again.
        if code is not None and holder(home.agent / "lock") is None:
            said = _last_words(log, since)
            if TAKEN in said:
                return None
            kind = CannotStartError if code == EXIT_USER else AgentError
            raise kind(said or f"the agent ended at its start (exit code {code}); see {log}")
        time.sleep(POLL_S)
    agent.returncode = 0
    return None


def _launch(home: Home, words: list[str], log: Path) -> "subprocess.Popen[bytes]":
    rotate(log)
    with log.open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "mlflow_deploy_plugin.agent.run", *words],
            env={**os.environ, HOME_VARIABLE: str(home.root)},
            cwd=home.root,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _last_words(log: Path, since: int) -> str:
    """The error that an agent ended with; others may have written below it."""
    with log.open("rb") as file:
        file.seek(min(since, log.stat().st_size))
        lines = file.read().decode(errors="replace").splitlines()
    errors = [line.removeprefix(ERROR) for line in lines if line.startswith(ERROR)]
    return errors[-1] if errors else ""


def wait_applied(home: Home, commit: str, timeout_s: float, *, endpoint: str = "") -> Outcome:
    """The agent's word on ``commit``, once it has one.

    With ``endpoint`` the word is on that endpoint alone: what else the commit, or a later one, changes does not count.
    """

    def look() -> Outcome | None:
        return _word(read_status(home), commit, endpoint)

    return _until(look, timeout_s) or TimedOut()


def _word(status: AgentStatus | None, commit: str, endpoint: str) -> Outcome | None:
    if status is None:
        return None
    for verdict in reversed(status.verdicts):
        if verdict.commit == commit:
            is_meant = not endpoint or not verdict.endpoints or endpoint in verdict.endpoints
            return Refused(verdict.reason) if verdict.outcome == "refused" and is_meant else Applied()
    if status.applied == commit:
        return Applied()
    return _word_on(status, endpoint) if endpoint and commit in status.seen else None


def _word_on(status: AgentStatus, endpoint: str) -> Outcome | None:
    """The word on one endpoint, while the rest of its commit is still on its way."""
    if endpoint in status.failing:
        return Refused(status.failing[endpoint])
    return Applied() if status.is_settled and endpoint not in status.pending else None


def stop(home: Home, *, timeout_s: float = STOP_TIMEOUT_S) -> bool:
    """End the agent, its gateway and its workers; whether one ran.

    Raises:
        AgentError: it does not end.
    """
    pid = holder(home.agent / "lock")
    if pid is None:
        return False
    try:
        os.kill(pid, signal.SIGTERM)
    except ProcessLookupError:
        return True
    except PermissionError as error:
        raise AgentError(f"the agent (pid {pid}) belongs to another user; stop it as that user") from error
    if _until(lambda: holder(home.agent / "lock") is None or None, timeout_s) is None:
        raise AgentError(f"the agent (pid {pid}) has not ended after {timeout_s:g} s; see {home.agent / 'agent.log'}")
    return True


def _until(look: Callable[[], T | None], timeout_s: float) -> T | None:
    deadline = time.monotonic() + timeout_s
    while True:
        if (found := look()) is not None or time.monotonic() >= deadline:
            return found
        time.sleep(POLL_S)
