"""What was measured of a judge on simulated streams, and how a table shows it."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from scipy import stats

FOUND_IN_TIME = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarms:
    """How often a judge was wrong over whole streams."""

    judge: str
    stream: str
    alarms: int
    repetitions: int
    share: float
    """The canary's share of the users."""

    promised: float | None
    """Rate that it promises; None: it promises none."""

    @property
    def rate(self) -> float:
        """Share of the streams with an alarm."""
        return self.alarms / self.repetitions

    @property
    def p(self) -> float:
        """Probability of so many alarms or more at the promised rate; 1 where nothing is promised."""
        if self.promised is None:
            return 1.0
        return float(stats.binomtest(self.alarms, self.repetitions, self.promised, alternative="greater").pvalue)


@dataclass(frozen=True, slots=True, kw_only=True)
class Delay:
    """How many canary users a judge needs to find a worse canary."""

    judge: str
    share: float
    fixed_users: int
    """Canary users of the fixed-horizon z-test, one-sided at the same alpha, power 80 %."""

    median: float
    late: float
    """95th percentile; infinite where fewer were found within the stream."""

    found: float
    """Share of the streams in which it was found at all."""

    in_time: int
    """Streams in which it was found within three times the fixed horizon."""

    repetitions: int
    """Streams in all."""

    @property
    def p(self) -> float:
        """Probability of so few streams or fewer found in time, if 95 % were to be."""
        return float(stats.binomtest(self.in_time, self.repetitions, FOUND_IN_TIME, alternative="less").pvalue)


def alarm_table(rows: Iterable[Alarms]) -> str:
    """Write rates of alarms as a Markdown table.

    >>> counted = {"alarms": 1, "repetitions": 200, "share": 0.1, "promised": 0.01}
    >>> print(alarm_table([Alarms(judge="ours", stream="100 users", **counted)]))
    | judge | streams | canary | alarms | rate | promised | p |
    |---|---|---|---|---|---|---|
    | ours | 100 users | 10 % | 1 of 200 | 0.50 % | ≤ 1.00 % | 0.87 |
    """
    lines = ["| judge | streams | canary | alarms | rate | promised | p |", "|---|---|---|---|---|---|---|"]
    for row in rows:
        promise = "nothing" if row.promised is None else f"≤ {100 * row.promised:.2f} %"
        p_value = "" if row.promised is None else f"{row.p:.2g}"
        counted = f"{100 * row.share:.0f} % | {row.alarms} of {row.repetitions}"
        lines.append(f"| {row.judge} | {row.stream} | {counted} | {100 * row.rate:.2f} % | {promise} | {p_value} |")
    return "\n".join(lines)


def delay_table(rows: Iterable[Delay], false_alarms: Mapping[tuple[str, float], Alarms]) -> str:
    """Write delays as a Markdown table, each beside the false alarm rate that was measured of the judge at that share.

    >>> users = {"fixed_users": 100, "median": 90.0, "late": math.inf}
    >>> row = Delay(judge="ours", share=0.5, **users, found=0.9, in_time=90, repetitions=100)
    >>> print(delay_table([row], {}).splitlines()[-1])
    | 50 % | ours | 90 (0.90 x) | never | 90 % | 100 |  |
    """
    lines = [
        "| canary | judge | median canary users | 95 % found by | found | fixed horizon | false alarms in A/A |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        known = false_alarms.get((row.judge, row.share))
        alarms = f"{100 * known.rate:.2f} %" if known else ""
        median, late = (_users(users, row.fixed_users) for users in (row.median, row.late))
        found = f"{100 * row.found:.0f} % | {row.fixed_users}"
        lines.append(f"| {100 * row.share:.0f} % | {row.judge} | {median} | {late} | {found} | {alarms} |")
    return "\n".join(lines)


def _users(users: float, fixed: int) -> str:
    return f"{users:.0f} ({users / fixed:.2f} x)" if math.isfinite(users) else "never"
