"""The gateway's log of attempts, from Envoy's raw lines to table ``attempts`` of the event store.

For the agent's loop::

    log = AttemptLog(raw_dir=home.envoy / "raw", events_dir=home.events, stage="production")
    bootstrap: upstream_log(str(log.path)), unreached_log(str(log.path)) and the rest of ``access_log``'s rules
    every second or so, and once at the end: log.rotate_and_convert(reopen)      # reopen: POST /reopen_logs

Each call renames Envoy's file, has Envoy open a new one, and converts every renamed file that Envoy has let go of;
an idle gateway costs one ``stat``. Nothing is lost or doubled by a crash of the agent, of Envoy or of the machine:

- A renamed file is finished when the file of :attr:`AttemptLog.path` exists again, since one thread of Envoy closes
  the old file before it opens the new one. Until then it stays; so an Envoy that is away delays and does not lose.
- A file's Parquet parts are written under dotted names, then listed in a commit file, then renamed, then the raw file
  goes. A crash before the commit file writes the same parts again; one after it only finishes the renames, so that
  parts which compaction has meanwhile merged do not come back.
- A torn or foreign line (Envoy was killed while it wrote) is dropped and counted in :class:`Conversion`.
"""

import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mlflow_deploy_plugin.agent.parquet import hidden, publish, sync_folder, write_hidden
from mlflow_deploy_plugin.errors import EventStoreError
from mlflow_deploy_plugin.spec.events import partition

if TYPE_CHECKING:
    from mlflow_deploy_plugin.agent.attempt_rows import Part

LINES_OF_A_PART: Final = 50_000
"""Lines that are held in memory at a time; about 40 MB."""

REOPEN_TIMEOUT_S: Final = 2.0
_ACTIVE: Final = "attempts.log"


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversion:
    """What one turn did."""

    attempts: int = 0
    """Rows that became visible."""
    files: int = 0
    """Parquet files that became visible."""
    dropped: int = 0
    """Lines that no attempt could be read from."""
    pending: int = 0
    """Raw files that wait for Envoy to let go of them."""
    outcomes: Mapping[tuple[str, str, str], int] = field(default_factory=dict, compare=False)
    """The attempts by endpoint, deployment and :func:`~.access_log.outcome`: the same rows, seen closer."""

    def __add__(self, other: "Conversion") -> "Conversion":
        return Conversion(
            attempts=self.attempts + other.attempts,
            files=self.files + other.files,
            dropped=self.dropped + other.dropped,
            pending=self.pending + other.pending,
            outcomes=Counter(self.outcomes) + Counter(other.outcomes),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptLog:
    """The raw log of one gateway and the store that it flows into. One at a time per ``raw_dir`` (the agent's lock)."""

    raw_dir: Path
    events_dir: Path
    stage: str
    clock_ns: Callable[[], int] = field(default=time.time_ns)

    @property
    def path(self) -> Path:
        """Where Envoy writes. The folder must exist before Envoy starts; :meth:`prepare` makes it."""
        return self.raw_dir / _ACTIVE

    def prepare(self) -> None:
        """Make the raw folder, for this user alone."""
        self.raw_dir.mkdir(parents=True, exist_ok=True, mode=0o700)

    def rotate_and_convert(self, reopen: Callable[[], None]) -> Conversion:
        """Turn the raw file over and convert all finished ones. ``reopen`` asks Envoy to open :attr:`path` anew.

        Raises:
            EventStoreError: the store or the raw folder cannot be written; nothing is lost, call again later.
        """
        try:
            done = self._finish_commits()
            self._rotate(reopen)
            raw_files = sorted(self.raw_dir.glob("attempts-*.log"))
            if not self.path.exists():  # Envoy has not let go of the newest of them
                return done + Conversion(pending=len(raw_files))
            return sum((self._convert(raw) for raw in raw_files), done)
        except OSError as error:
            raise EventStoreError(
                f"attempts under {self.raw_dir} were not converted: {error}; they are kept and tried again"
            ) from error

    def _rotate(self, reopen: Callable[[], None]) -> None:
        if self.path.exists() and self.path.stat().st_size:
            self.path.rename(self.raw_dir / f"attempts-{self.clock_ns():020d}.log")
        elif self.path.exists() or not any(self.raw_dir.glob("attempts-*.log")):
            return
        reopen()
        deadline = time.monotonic() + REOPEN_TIMEOUT_S
        while not self.path.exists() and time.monotonic() < deadline:
            time.sleep(0.01)  # Envoy opens the file on its flush thread, after it has answered

    def _convert(self, raw: Path) -> Conversion:
        from mlflow_deploy_plugin.agent import attempt_rows  # noqa: PLC0415  half a second, which the agent's start saves

        parts: list[str] = []
        outcomes: Counter[tuple[str, str, str]] = Counter()
        dropped = 0
        with raw.open("rb") as lines:
            for number, chunk in enumerate(_chunks(lines)):
                rows = attempt_rows.read(chunk)
                dropped += rows.dropped
                outcomes.update(rows.outcomes)
                parts += (self._write(part, f"{raw.stem}-{number:04d}") for part in rows.parts)
        _commit_file(raw).with_suffix(".new").write_text(json.dumps(parts), encoding="utf-8")
        _commit_file(raw).with_suffix(".new").replace(_commit_file(raw))
        sync_folder(self.raw_dir)
        self._publish(_commit_file(raw), parts)
        return Conversion(attempts=outcomes.total(), files=len(parts), dropped=dropped, outcomes=outcomes)

    def _write(self, part: "Part", stem: str) -> str:
        folder = partition(
            "attempts", stage=self.stage, endpoint=part.endpoint, day=part.day, deployment=part.deployment
        )
        write_hidden(part.table, self.events_dir / folder / f"{stem}.parquet")
        return str(folder / f"{stem}.parquet")

    def _finish_commits(self) -> Conversion:
        done = Conversion()
        for commit in sorted(self.raw_dir.glob("attempts-*.commit")):
            parts = json.loads(commit.read_text(encoding="utf-8"))
            done += Conversion(files=len(parts))
            self._publish(commit, parts)
        return done

    def _publish(self, commit: Path, parts: Iterable[str]) -> None:
        for part in parts:
            path = self.events_dir / part
            if hidden(path).exists():
                publish(path)
        commit.with_suffix(".log").unlink(missing_ok=True)
        commit.unlink()


def _commit_file(raw: Path) -> Path:
    return raw.with_suffix(".commit")


def _chunks(lines: Iterable[bytes]) -> Iterator[list[bytes]]:
    iterator = iter(lines)
    while chunk := list(islice(iterator, LINES_OF_A_PART)):
        yield chunk
