"""The Bentos' predictions, from the raw files that workers write to table ``predictions`` of the event store.

A process of its own makes the tables, from the code of this installation, so that neither the thread that decides nor
the workers' cores are kept busy by it. It is started when there is something to convert and lives as long as the agent,
since it ends with its input. Raw files of an agent that was killed are there for the next one; a converter that dies is
started again, and its files wait.
"""

import json
import logging
import os
import select
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final, cast

from mlflow_deploy_plugin.errors import EventStoreError
from mlflow_deploy_plugin.spec.events import RAW_SUFFIX

MODULE: Final = "mlflow_deploy_plugin.serving.events.convert"
INSTALLED: Final = Path(__file__).resolve().parents[2]
"""Where the package lies that this process runs."""
LIMIT_S: Final = 60.0
"""Seconds until a converter that does not answer is ended: three times those after which it begins no other file."""
EXIT_S: Final = 5.0

_log = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class PredictionTables:
    """The raw files of one home and the store that they flow into. One at a time (the agent's lock)."""

    raw_dir: Path
    events_dir: Path
    log: Path
    """Where the converter's own words go."""
    command: tuple[str, ...] = (sys.executable, "-m", MODULE)
    limit_s: float = LIMIT_S
    _child: subprocess.Popen[bytes] | None = None
    _asking: threading.Lock = field(default_factory=threading.Lock)

    def prepare(self) -> None:
        """Make the raw folder, for this user alone."""
        self.raw_dir.mkdir(parents=True, exist_ok=True, mode=0o700)

    def convert(self) -> int:
        """Make tables of all that lies there; how many requests became visible.

        Raises:
            EventStoreError: the store cannot be written, or there is no converter; nothing is lost, call again later.
        """
        with self._asking:
            if not any(self.raw_dir.glob(f"[!.]*{RAW_SUFFIX}")):
                return 0
            try:
                turn = self._ask()
            except (OSError, ValueError, EventStoreError) as error:
                self._end()
                raise EventStoreError(
                    f"predictions under {self.raw_dir} were not converted: {error}; they are kept and tried again,"
                    f" and {self.log} says more"
                ) from error
        for text in turn["bad"]:
            _log.warning("a file of predictions is left out: %s", text)
        if turn["trouble"]:
            raise EventStoreError(turn["trouble"])
        return int(turn["requests"])

    def stop(self) -> None:
        """End the converter."""
        with self._asking:
            self._end()

    def _ask(self) -> dict[str, Any]:
        child = self._started()
        cast("IO[bytes]", child.stdin).write(b"\n")
        answer: dict[str, Any] = json.loads(self._line(child))
        return answer

    def _line(self, child: subprocess.Popen[bytes]) -> bytes:
        """What it answers, or why there is nothing."""
        answers = cast("IO[bytes]", child.stdout)
        deadline = time.monotonic() + self.limit_s
        line = b""
        while not line.endswith(b"\n"):
            rest_s = deadline - time.monotonic()
            if rest_s <= 0 or not select.select([answers], [], [], rest_s)[0]:
                raise EventStoreError(f"the converter did not answer within {self.limit_s:g} s")
            piece = os.read(answers.fileno(), 65_536)
            if not piece:
                raise EventStoreError(f"the converter ended with code {child.wait()}")
            line += piece
        return line

    def _started(self) -> subprocess.Popen[bytes]:
        if self._child is not None and self._child.poll() is not None:
            self._end()
        if self._child is None:
            self.log.parent.mkdir(parents=True, exist_ok=True)
            with self.log.open("ab") as log:
                self._child = subprocess.Popen(
                    [*self.command, "--raw", str(self.raw_dir), "--events", str(self.events_dir)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    bufsize=0,
                    cwd=INSTALLED,
                    start_new_session=True,  # a Ctrl-C is for the agent, which asks once more before it ends
                )
        return self._child

    def _end(self) -> None:
        child, self._child = self._child, None
        if child is None:
            return
        for stream in (child.stdin, child.stdout):
            if stream is not None:
                stream.close()
        try:
            child.wait(EXIT_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
