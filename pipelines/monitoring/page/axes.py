"""Scales and their ticks. Pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

_STEPS: Final = tuple(
    timedelta(minutes=minutes)
    for minutes in (1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720, 1440, 2880, 10080, 20160, 43200, 129600, 525600)
)
MOST: Final = 6
"""Ticks of a time axis."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """From numbers to places of the picture, straight.

    >>> Scale(low=0.0, high=10.0, begin=100.0, end=0.0)(2.5)
    75.0
    """

    low: float
    high: float
    begin: float
    end: float

    def __call__(self, value: float) -> float:
        """The place of ``value``, to a hundredth."""
        share = (value - self.low) / (self.high - self.low) if self.high > self.low else 0.0
        return round(self.begin + share * (self.end - self.begin), 2)


def round_ticks(high: float, *, count: int = 4) -> tuple[float, ...]:
    """Round numbers from 0 to at least ``high``.

    >>> round_ticks(0.07)
    (0.0, 0.02, 0.04, 0.06, 0.08)
    >>> round_ticks(0.0)
    (0.0, 1.0)
    """
    if high <= 0 or not math.isfinite(high):
        return (0.0, 1.0)
    raw = high / count
    size: float = 10.0 ** math.floor(math.log10(raw))
    step = size * next(factor for factor in (1, 2, 5, 10) if factor * size >= raw * 0.999)
    number = math.ceil(high / step - 1e-9)
    return tuple(float(f"{step * index:.10g}") for index in range(number + 1))


def time_ticks(begin: datetime, end: datetime) -> Sequence[tuple[datetime, str]]:
    """At most :data:`MOST` moments at round times of UTC, with their labels.

    >>> day = datetime(2026, 1, 2, tzinfo=UTC)
    >>> [label for _, label in time_ticks(day, day + timedelta(hours=10))]
    ['00:00', '02:00', '04:00', '06:00', '08:00', '10:00']
    """
    span = max(end - begin, timedelta(minutes=1))
    step = next((step for step in _STEPS if span / step <= MOST - 1), _STEPS[-1])
    is_of_hours = step < timedelta(days=1)
    form = "%d %b %Y" if span > timedelta(days=300) else "%d %b"
    if is_of_hours:
        form = "%H:%M" if span <= timedelta(days=1) else "%d %b %H:%M"
    seconds = step.total_seconds()
    first = math.ceil(begin.timestamp() / seconds)
    last = math.floor(end.timestamp() / seconds)
    moments = [datetime.fromtimestamp(number * seconds, tz=UTC) for number in range(first, last + 1)]
    return [(moment, moment.strftime(form)) for moment in moments[:MOST]]
