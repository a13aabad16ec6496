"""Spans and moments as people type them.

>>> duration("7d"), duration("90m")
(datetime.timedelta(days=7), datetime.timedelta(seconds=5400))
>>> moment("2026-01-02")
datetime.datetime(2026, 1, 2, 0, 0, tzinfo=datetime.timezone.utc)
"""

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from mlflow_deploy_plugin.errors import ConfigError

UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
LONGEST: Final = timedelta(days=36_500)
EARLIEST: Final = datetime(1970, 1, 1, tzinfo=UTC)
"""Further back no log reaches, and arithmetic with times soon ends."""
_SPAN: Final = re.compile(r"(\d+(?:\.\d+)?)([smhdw])")


def duration(text: str) -> timedelta:
    """A span of time: a number and its unit.

    Raises:
        ConfigError: it is none, is shorter than a microsecond, or longer than a hundred years.
    """
    hit = _SPAN.fullmatch(text.strip().lower())
    seconds = float(hit[1]) * UNITS[hit[2]] if hit else 0.0
    if seconds > LONGEST.total_seconds():
        raise ConfigError(
            f"{text!r} is longer than {LONGEST.days}d, a hundred years; write a shorter span, such as 90d"
        )
    if not (span := timedelta(seconds=seconds)):
        raise ConfigError(f"{text!r} is no span of time; write a number and a unit, such as 30m, 12h or 7d")
    return span


def moment(text: str) -> datetime:
    """A moment: an ISO date or time; UTC where no zone is given.

    Raises:
        ConfigError: it is none, or lies before 1970.
    """
    try:
        read = datetime.fromisoformat(text.strip())
        told = (read if read.tzinfo else read.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise ConfigError(f"{text!r} is no moment; write 2026-01-31 or 2026-01-31T12:00:00Z") from error
    if told < EARLIEST:
        raise ConfigError(f"{text!r} lies before {EARLIEST:%Y-%m-%d}, when no log had begun; write a later moment")
    return told
