"""How often the always-on alarm is false: ninety days of traffic like the training sample, looked at every hour.

An alarm is what ``drift`` says of inputs beside the reference (whole window, then k of n parts); it lasts until the
window is below the exit level, so one alarm that stands for a day counts once. The promise is at most one in 90 days.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from scipy import stats

from pipelines.monitoring import univariate
from pipelines.promotion.drift.policy import DriftPolicy

if TYPE_CHECKING:
    import pandas as pd

    from pipelines.promotion.drift.evidence import FeatureShift

POLICY: Final = DriftPolicy()
DAYS: Final = 90
WINDOW_H: Final = 7 * 24
REFERENCE: Final = 1000
COLUMNS: Final = 8
PER_HOUR: Final = (1, 4)
"""Users an hour: few, since a small sample is what a false alarm needs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calm:
    """False alarms of the drift job on calm traffic."""

    users_per_hour: int
    days: int
    runs: int
    alarms: int

    @property
    def per_90_days(self) -> float:
        """Alarms in 90 days, on average."""
        return self.alarms / (self.runs * self.days) * DAYS

    @property
    def p(self) -> float:
        """Probability of so many alarms or more where there is one in 90 days."""
        return float(stats.poisson.sf(self.alarms - 1, self.runs * self.days / DAYS))


def calm(*, users_per_hour: int, days: int, runs: int, seed: int) -> Calm:
    """Count false alarms over ``runs`` stretches of ``days``, each with a training sample of its own."""
    alarms = sum(_alarms(users_per_hour, days, seed=seed + run) for run in range(runs))
    return Calm(users_per_hour=users_per_hour, days=days, runs=runs, alarms=alarms)


def _alarms(users_per_hour: int, days: int, *, seed: int) -> int:
    import pandas as pd  # noqa: PLC0415  heavy

    rng = np.random.default_rng(seed)
    names = [f"f{number}" for number in range(COLUMNS)]
    base = pd.DataFrame(rng.standard_normal((REFERENCE, COLUMNS)), columns=names)
    hours = WINDOW_H + days * 24
    stream = pd.DataFrame(rng.standard_normal((hours * users_per_hour, COLUMNS)), columns=names)
    alarms, stands = 0, False
    for hour in range(WINDOW_H, hours):
        window = stream.iloc[(hour - WINDOW_H) * users_per_hour : hour * users_per_hour]
        is_on = _is_on(window, base, stands=stands)
        alarms += is_on and not stands
        stands = is_on
    return alarms


def _is_on(window: "pd.DataFrame", base: "pd.DataFrame", *, stands: bool) -> bool:
    found = univariate.shifts(window, base, arm="stable", against="reference", policy=POLICY)
    if stands:
        return any(s.q <= POLICY.fdr and s.effect >= POLICY.exit_effect for s in found)
    if not any(_is_large(s) for s in found):
        return False
    parts = [(window[mask], base) for mask in univariate.parts_of(window.index.to_series(), POLICY)]
    lasting = univariate.lasting(found, parts, POLICY)
    return any(_is_large(s) and s.hits >= POLICY.needed_of(s.parts) for s in lasting)


def _is_large(shift: "FeatureShift") -> bool:
    return shift.q <= POLICY.fdr and shift.effect >= POLICY.enter_effect


def table(found: Sequence[Calm]) -> str:
    """The counts as Markdown.

    >>> print(table([Calm(users_per_hour=1, days=90, runs=10, alarms=3)]).splitlines()[-1])
    | 1 | 10 x 90 days | 3 | 0.30 | ≤ 1 | 1 |
    """
    lines = [
        "| users an hour | watched | false alarms | in 90 days | promised | p |",
        "|---|---|---|---|---|---|",
    ]
    return "\n".join([*lines, *map(_row, found)])


def _row(one: Calm) -> str:
    watched = f"{one.runs} x {one.days} days"
    return f"| {one.users_per_hour} | {watched} | {one.alarms} | {one.per_90_days:.2f} | ≤ 1 | {one.p:.2g} |"
