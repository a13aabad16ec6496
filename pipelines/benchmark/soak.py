"""The soak: one client for minutes, to see what a look of seconds does not: stalls, and memory that grows.

The server and the empty app are both started. The server is asked in stretches, and after each the empty app for a
quarter of the time, so that what the machine does to everybody is seen on it. Pure but for :func:`run`.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

from pipelines.benchmark.latencies import Latencies, together
from pipelines.benchmark.load import Load, Measured
from pipelines.benchmark.results import EMPTY
from pipelines.benchmark.seats import Seat, seated
from pipelines.benchmark.stage import Stage, Up
from pipelines.benchmark.subjects import Subject
from pipelines.benchmark.works import Prepared

STRETCHES: Final = 20
EMPTY_SHARE: Final = 4
"""The empty app is asked for a quarter of the time."""
WARMUP_S: Final = 3.0
"""Enough for the first flush of the log, which loads what it writes with."""
TIMES_P50: Final = 3.0
TIMES_EMPTY: Final = 1.5
STALL_MS: Final = 100.0
"""The longest answer that is no stall; or twice the empty app's longest, where the machine itself stood still."""
GROWTH: Final = 0.05
"""Of the memory, between the first fifth of the time and the last."""
_MEGA: Final = 10**6


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """One stretch of one server."""

    seconds: float
    requests: int
    checked: int
    """Of them, those whose answers were compared."""
    bad: int
    """Failed, lost, and wrong answers."""
    latencies: Latencies
    pss_mb: float
    """After it; 10⁶ bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One thing that must hold."""

    what: str
    figure: float
    limit: float
    unit: str

    @property
    def holds(self) -> bool:
        """Whether it does."""
        return self.figure <= self.limit


@dataclass(frozen=True, slots=True, kw_only=True)
class Soaked:
    """What a soak found, by server; one of them is the empty app."""

    subject: str
    stretches: Mapping[str, Sequence[Stretch]]

    def latencies(self, name: str) -> Latencies:
        """Of all stretches of a server."""
        return together(stretch.latencies for stretch in self.stretches[name])

    def growth(self, name: str) -> float:
        """Of the memory, from the median of the first fifth to that of the last."""
        memory = [stretch.pss_mb for stretch in self.stretches[name]]
        fifth = max(1, len(memory) // 5)
        return median(memory[-fifth:]) / median(memory[:fifth]) - 1

    def claims(self) -> tuple[Claim, ...]:
        """What must hold of the server."""
        ours, empty = self.latencies(self.subject), self.latencies(EMPTY)
        p99_ms = max(TIMES_P50 * ours.percentile_ms(50), TIMES_EMPTY * empty.percentile_ms(99))
        bad = sum(stretch.bad for stretch in self.stretches[self.subject])
        return (
            Claim(what="p99", figure=ours.percentile_ms(99), limit=p99_ms, unit="ms"),
            Claim(
                what="longest answer",
                figure=ours.longest_ms,
                limit=max(STALL_MS, 2 * empty.longest_ms),
                unit="ms",
            ),
            Claim(what="growth of memory", figure=100 * self.growth(self.subject), limit=100 * GROWTH, unit="%"),
            Claim(what="failed, lost or wrong", figure=bad, limit=0, unit="requests"),
        )


def run(  # noqa: PLR0913  a stage, who plays, and for how long
    stage: Stage,
    prepared: Prepared,
    subjects: Sequence[Subject],
    folder: Path,
    *,
    seconds: float,
    tell: Callable[[str], None],
) -> Soaked:
    """Soak the last of ``subjects`` beside the empty app, the first, with one connection.

    Raises:
        ModelserveError: one of them does not start, or stopped answering.
    """
    stretch_s = max(1.0, round(seconds / STRETCHES))
    count = max(1, round(seconds / stretch_s))
    lengths_s = {
        subject.name: stretch_s if subject.has_answers else max(1.0, stretch_s // EMPTY_SHARE) for subject in subjects
    }
    found: dict[str, list[Stretch]] = {subject.name: [] for subject in subjects}
    with ExitStack() as stack:
        seats = [seated(stack, stage, prepared, one, folder / one.name) for one in subjects]
        for seat in seats:
            _load(seat).run(seat.up, connections=1, seconds=WARMUP_S)
        for nth in range(count):
            for seat in reversed(seats):
                measured = _load(seat).run(seat.up, connections=1, seconds=lengths_s[seat.name])
                found[seat.name].append(_stretch(measured, seat.up))
            latest = found[subjects[-1].name][-1]
            p99_ms, longest_ms = latest.latencies.percentile_ms(99), latest.latencies.longest_ms
            tell(
                f"stretch {nth + 1} of {count}: {latest.requests:,} requests, p99 {p99_ms:.2f} ms,"
                f" longest {longest_ms:.1f} ms, {latest.pss_mb:.0f} MB"
            )
    return Soaked(subject=subjects[-1].name, stretches=found)


def _load(seat: Seat) -> Load:
    """In the first format that it speaks."""
    return next(iter(seat.loads.values()))


def _stretch(measured: Measured, up: Up) -> Stretch:
    return Stretch(
        seconds=measured.seconds,
        requests=measured.requests,
        checked=measured.checked,
        bad=measured.failed + measured.socket_errors + measured.wrong,
        latencies=measured.latencies,
        pss_mb=up.family.pss_bytes() / _MEGA,
    )
