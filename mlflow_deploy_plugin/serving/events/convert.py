"""The process that makes tables of raw files, so that no process that answers requests has to.

``python -m mlflow_deploy_plugin.serving.events.convert --raw DIR --events DIR`` converts what lies in ``DIR`` for each
line that it reads and answers with one line of JSON (:class:`Turn`), until its input ends; so it lives as long as the
agent that started it. With ``--every S`` it needs nobody to ask: it converts every S seconds until SIGTERM.

A raw file goes when its table has its name. A crash between the two makes the same table again, under the same name.
A file that cannot be read keeps its bytes under a name that ends in ``.bad``. What a worker had begun to write when it
was killed is removed after an hour.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import logging
import os
import signal
import sys
import threading
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

import orjson

from mlflow_deploy_plugin.errors import EXIT_DONE, EventStoreError
from mlflow_deploy_plugin.serving import logs
from mlflow_deploy_plugin.serving.events import raw
from mlflow_deploy_plugin.serving.events.prediction_files import weight
from mlflow_deploy_plugin.serving.events.whole import HIDDEN_SUFFIX
from mlflow_deploy_plugin.spec.events import RAW_SUFFIX

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

BAD: Final = ".bad"
TURN_S: Final = 20.0
"""Seconds after which a turn begins no other file, so that whoever asked hears of it; the rest is the next turn's."""
STALE_S: Final = 3600.0
"""Seconds after its last change at which a file that has no name yet belongs to nobody: a flush takes less than one."""
_LOCK: Final = ".lock"
_logger = logging.getLogger("modelserve.convert")


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What one look at the folder did."""

    files: int = 0
    """Raw files that became tables."""
    requests: int = 0
    """Of them."""
    left: int = 0
    """Raw files that wait for the next turn."""
    bad: tuple[str, ...] = ()
    """What is wrong with files that could not be read."""
    trouble: str = ""
    """Why it ended early: the disk refused. What was not converted waits."""


@dataclass(slots=True)
class Converter:
    """Makes tables of one folder's raw files."""

    folder: Path
    events_dir: Path
    turn_s: float = TURN_S
    _files: int = 0
    _requests: int = 0
    _bad: list[str] = field(default_factory=list)
    _tidy_at: float = 0.0

    def turn(self) -> Turn:
        """Convert what lies there now, oldest first. Another converter of the same folder waits meanwhile."""
        self._files, self._requests, self._bad = 0, 0, []
        trouble, paths = "", []
        end = time.monotonic() + self.turn_s
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            with (self.folder / _LOCK).open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                self._tidy()
                paths = sorted(self.folder.glob(f"[!.]*{RAW_SUFFIX}"), reverse=True)
                while paths and (not self._files or time.monotonic() < end):
                    self._convert(paths[-1])
                    paths.pop()
        except OSError as error:
            trouble = f"predictions under {self.folder} were not converted: {error}; they are kept and tried again"
        return Turn(files=self._files, requests=self._requests, left=len(paths), bad=tuple(self._bad), trouble=trouble)

    def _tidy(self) -> None:
        """Now and then, remove what killed workers left half written."""
        if time.monotonic() < self._tidy_at:
            return
        self._tidy_at = time.monotonic() + STALE_S / 10
        for path in self.folder.glob(f".*{RAW_SUFFIX}{HIDDEN_SUFFIX}"):
            with contextlib.suppress(FileNotFoundError):  # its worker lives and has just given it its name
                if time.time() - path.stat().st_mtime > STALE_S:
                    path.unlink()

    def _convert(self, path: Path) -> None:
        try:
            tables, events = raw.read(path, events_dir=self.events_dir)
            tables(events)
        except OSError:  # of the disk, for which the file can wait
            raise
        except Exception as error:  # noqa: BLE001  whatever a file holds, those behind it must not wait for it
            path.rename(path.with_name(path.name + BAD))
            self._bad.append(str(error) if isinstance(error, EventStoreError) else f"{path}: {error!r}")
            return
        path.unlink()
        self._files += 1
        self._requests += sum(map(weight, events))


def main(arguments: Sequence[str] | None = None) -> int:
    """Convert until nobody asks any more; the exit code."""
    options = _parse(arguments)
    logs.configure()
    os.nice(5)  # whoever waits for an answer goes first
    converter = Converter(options.raw, options.events)
    for _ in _every(options.every) if options.every else sys.stdin:
        turn = converter.turn()
        for text in turn.bad:
            _logger.warning("%s", text)
        if options.every:
            if turn.trouble:
                _logger.warning("%s", turn.trouble)
            continue
        sys.stdout.buffer.write(orjson.dumps(asdict(turn)) + b"\n")
        sys.stdout.buffer.flush()
    return EXIT_DONE


def _every(seconds: float) -> Iterator[None]:
    """Now and then until SIGTERM, and once more."""
    end = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: end.set())
    while not end.wait(seconds):
        yield
    yield


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="modelserve-convert", description="Make tables of raw predictions.")
    parser.add_argument("--raw", type=Path, required=True, help="folder of raw files (MODELSERVE_LOG_RAW_DIR)")
    parser.add_argument("--events", type=Path, required=True, help="folder of the event store (MODELSERVE_EVENTS_DIR)")
    parser.add_argument("--every", type=float, default=0.0, help="seconds between two turns (default: once per line)")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
