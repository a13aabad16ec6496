"""All laws of :mod:`.laws` as Markdown tables, measured in parts that know nothing of each other.

Each part has a seed of its own, so the tables are the same in whatever order the parts are measured, and by however
many processes; who measures them is for the caller to say.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from pipelines.analysis import laws
from pipelines.analysis.coverage import coverage
from pipelines.analysis.laws import CLUSTERED_USERS, REQUESTS, SHARES, SHORT_STREAM
from pipelines.analysis.measures import Alarms, Delay, alarm_table, delay_table
from pipelines.analysis.simulate import Scene

NAMES: Final = ("false-alarms", "error-detection", "latency-detection", "threshold-choice", "coverage")
"""Of the tables, in the order in which they are printed."""

_APART: Final = 10_000_000
"""Between the seeds of laws that share a table."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Rows of one table."""

    table: str
    alarms: Sequence[Alarms] = ()
    delays: Sequence[Delay] = ()


Part = Callable[[], Measured]
"""One part of the work; can be sent to another process."""

Run = Callable[[Iterable[Part]], Iterable[Measured]]
"""What measures parts and gives what they found, in their order."""


def in_turn(parts: Iterable[Part]) -> Iterable[Measured]:
    """Measure one part after the other."""
    return [part() for part in parts]


def tables(*, repetitions: int, seed: int, tuning_seed: int, run: Run = in_turn) -> dict[str, str]:
    """Measure all laws and write each as a Markdown table, by name.

    Args:
        repetitions: streams per cell; 200 take about a minute of one core.
        seed: same seed, same tables.
        tuning_seed: of the table that shows a choice; what was chosen by it is judged by ``seed``.
        run: measures the parts; the tables do not depend on how.

    >>> tuple(tables(repetitions=2, seed=1, tuning_seed=2)) == NAMES
    True
    """
    found = tuple(run(tuple(_parts(repetitions=repetitions, seed=seed, tuning_seed=tuning_seed))))
    known = {(row.judge, row.share): row for row in _alarms(found, "false-alarms")}
    chosen = {(row.judge, row.share): row for row in _alarms(found, "threshold-choice")}
    return {
        "false-alarms": alarm_table(_alarms(found, "false-alarms")),
        "error-detection": delay_table(_delays(found, "error-detection"), known),
        "latency-detection": delay_table(_delays(found, "latency-detection"), known),
        "threshold-choice": delay_table(_delays(found, "threshold-choice"), chosen),
        "coverage": alarm_table(_alarms(found, "coverage")),
    }


def _parts(*, repetitions: int, seed: int, tuning_seed: int) -> Iterator[Part]:
    """All parts, the longest first, so that several processes end at about the same time."""
    yield partial(_coverage, repetitions=repetitions, seed=seed)
    for share in SHARES:
        yield partial(_false, laws.false_alarms, Scene(repetitions=repetitions, users=REQUESTS, share=share), seed=seed)
    for share in SHARES:
        yield partial(_choice, repetitions=repetitions, seed=tuning_seed, share=share)
    for share in SHARES:
        for users, law, number in (
            (CLUSTERED_USERS, laws.clustered_false_alarms, 1),
            (SHORT_STREAM, laws.latency_false_alarms, 2),
            (SHORT_STREAM, laws.split_false_alarms, 3),
        ):
            scene = Scene(repetitions=repetitions, users=users, share=share)
            yield partial(_false, law, scene, seed=seed + number * _APART)
        yield partial(_errors, repetitions=repetitions, seed=seed, share=share)
        yield partial(_latency, repetitions=repetitions, seed=seed, share=share)


def _false(law: Callable[..., list[Alarms]], scene: Scene, *, seed: int) -> Measured:
    return Measured(table="false-alarms", alarms=law(scene, seed=seed))


def _errors(*, repetitions: int, seed: int, share: float) -> Measured:
    delays = laws.error_delays(repetitions=repetitions, seed=seed, share=share)
    return Measured(table="error-detection", delays=delays)


def _latency(*, repetitions: int, seed: int, share: float) -> Measured:
    delays = laws.latency_delays(repetitions=repetitions, seed=seed, share=share)
    return Measured(table="latency-detection", delays=delays)


def _choice(*, repetitions: int, seed: int, share: float) -> Measured:
    alarms, delays = laws.threshold_choice(repetitions=repetitions, seed=seed, share=share)
    return Measured(table="threshold-choice", alarms=alarms, delays=delays)


def _coverage(*, repetitions: int, seed: int) -> Measured:
    return Measured(table="coverage", alarms=coverage(repetitions=repetitions, seed=seed))


def _alarms(found: Iterable[Measured], table: str) -> list[Alarms]:
    """Rows of a table by share, each law's beside those of the same share."""
    rows = [row for each in found if each.table == table for row in each.alarms]
    return [row for share in dict.fromkeys(row.share for row in rows) for row in rows if row.share == share]


def _delays(found: Iterable[Measured], table: str) -> list[Delay]:
    return [row for each in found if each.table == table for row in each.delays]
