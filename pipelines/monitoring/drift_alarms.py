"""How often the always-on alarms are false: calm traffic like the training sample, looked at every hour.

Two alarms are always on. One is of single columns: the whole window, then k of its n parts. The other is the
classifier's, of all columns together. An alarm lasts until its window is below the exit level, so one that stands for
a day counts once. The promise is at most one in 90 days, of both together; each is measured alone.

Every look of the columns is judged by :mod:`.sliding`, which is fast; where it says that a column left, the drift job's
own functions are asked whether the shift lasts. The classifier is asked every six hours, and every hour beside a look
at which it came anywhere near an alarm. Assumed: users come evenly and independently, and the columns are independent.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, get_args

import numpy as np
from scipy import stats

from pipelines.monitoring import univariate
from pipelines.monitoring.multivariate import Separation, separation
from pipelines.monitoring.sliding import Arrivals, figures
from pipelines.promotion.drift.policy import DriftPolicy

if TYPE_CHECKING:
    import pandas as pd

Test = Literal["columns", "classifier"]

POLICY: Final = DriftPolicy()
DAYS: Final = 90
WINDOW_H: Final = 7 * 24
REFERENCE: Final = 1000
NUMBERS: Final = 6
KINDS: Final = (4, 12)
"""Values of the two columns that are text; those of the second are ever rarer."""
PER_HOUR: Final = (0.6, 1.0, 4.0)
"""Users an hour: few, since a small sample is what a false alarm needs; 0.6 is 100 a week, the fewest judged."""
EVERY_H: Final = 6
"""Hours from one look of the classifier to the next where nothing comes near."""
NEAR_AUC: Final = 0.55
"""AUC from which all hours within ``EVERY_H`` of such a look are looked at too. Well below the exit level, since one
deal into folds has luck of its own (:mod:`.multivariate`): a standard deviation of 0.03, besides that of the window."""
CONFIDENCE: Final = 0.95
PROMISED: Final = 1.0
"""False alarms in 90 days, of both tests together, that are not exceeded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calm:
    """False alarms of one test on calm traffic."""

    test: Test
    users_per_hour: float
    days: int
    """Of all runs together."""
    looks: int
    above: int
    """Looks that were above the level."""
    alarms: int

    @property
    def per_90_days(self) -> float:
        """Alarms in 90 days, on average."""
        return self.alarms / self.days * DAYS

    @property
    def bound(self) -> float:
        """Alarms in 90 days that the truth does not exceed, 95 % sure (Garwood 1936: Poisson, exact, one-sided)."""
        return float(stats.chi2.ppf(CONFIDENCE, 2 * (self.alarms + 1)) / 2) / self.days * DAYS

    @property
    def p(self) -> float:
        """Probability of so many alarms or more where there is one in 90 days."""
        return float(stats.poisson.sf(self.alarms - 1, self.days / DAYS))


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One stretch of calm days beside a training sample of its own."""

    base: "pd.DataFrame"
    stream: "pd.DataFrame"
    arrivals: Arrivals

    def window(self, hour: int) -> "pd.DataFrame":
        """Rows of the window that ends at ``hour``."""
        return self.stream.iloc[self.arrivals.rows(hour)]


Tell = Callable[[Run, int], Separation]


def drawn(*, users_per_hour: float, days: int, seed: int) -> Run:
    """Draw a training sample and a stream like it."""
    rng = np.random.default_rng(seed)
    arrivals = Arrivals(per_hour=users_per_hour, hours=WINDOW_H + days * 24, window_h=WINDOW_H)
    users = int(arrivals.until[-1])
    return Run(base=_rows(rng, REFERENCE), stream=_rows(rng, users), arrivals=arrivals)


def calm(test: Test, *, users_per_hour: float, days: int, runs: int, seed: int) -> Calm:
    """Count false alarms over ``runs`` stretches of ``days``."""
    looks = {"columns": column_alarms, "classifier": classifier_alarms}[test]
    found = [looks(drawn(users_per_hour=users_per_hour, days=days, seed=seed + run)) for run in range(runs)]
    return Calm(
        test=test,
        users_per_hour=users_per_hour,
        days=days * runs,
        looks=days * 24 * runs,
        above=sum(above for above, _ in found),
        alarms=sum(alarms for _, alarms in found),
    )


def tell_apart(run: Run, hour: int) -> Separation:
    """What the drift job's classifier says of the window that ends at ``hour``."""
    return separation(run.window(hour).reset_index(drop=True), run.base)


def column_alarms(run: Run) -> tuple[int, int]:
    """Looks at which a column had left, and alarms."""
    seen = figures(run.stream, run.base, run.arrivals)
    enters = np.any((seen.q <= POLICY.fdr) & (seen.effect >= POLICY.enter_effect), axis=1).tolist()
    stays = np.any((seen.q <= POLICY.window_p) & (seen.effect >= POLICY.exit_effect), axis=1).tolist()
    alarms, stands = 0, False
    for hour, is_above, is_still in zip(run.arrivals.looks, enters, stays, strict=True):
        begins = not stands and is_above and lasts(run, hour)
        alarms += begins
        stands = begins or (stands and is_still)
    return sum(enters), alarms


def lasts(run: Run, hour: int) -> bool:
    """Whether the drift job's own functions call this look an alarm."""
    window = run.window(hour)
    found = univariate.shifts(window, run.base, arm="stable", against="reference", policy=POLICY)
    parts = [(window[mask.to_numpy()], run.base) for mask in univariate.parts_of(window.index.to_series(), POLICY)]
    return any(
        s.q <= POLICY.fdr and s.effect >= POLICY.enter_effect and s.hits >= POLICY.needed_of(s.parts)
        for s in univariate.lasting(found, parts, POLICY)
    )


def classifier_alarms(run: Run, *, tell: Tell = tell_apart) -> tuple[int, int]:
    """Looks at which the classifier told window and sample apart, and alarms. An hour not looked at is below."""
    looks = run.arrivals.looks
    first = {hour: tell(run, hour) for hour in looks[::EVERY_H]}
    near = [hour for hour, found in first.items() if found.auc >= NEAR_AUC]
    close = {hour for at in near for hour in range(at - EVERY_H + 1, at + EVERY_H) if hour in looks}
    found = first | {hour: tell(run, hour) for hour in close - first.keys()}
    above = {hour for hour, one in found.items() if one.auc >= POLICY.enter_auc and one.p <= POLICY.auc_p}
    still = {hour for hour, one in found.items() if one.auc >= POLICY.exit_auc and one.p <= POLICY.window_p}
    alarms, stands = 0, False
    for hour in looks:
        alarms += hour in above and not stands
        stands = hour in above or (stands and hour in still)
    return len(above), alarms


def _rows(rng: np.random.Generator, rows: int) -> "pd.DataFrame":
    import pandas as pd  # noqa: PLC0415  heavy

    numbers = {f"f{number}": rng.standard_normal(rows) for number in range(NUMBERS)}
    return pd.DataFrame(numbers | {f"k{count}": _kinds(rng, count, rows) for count in KINDS})


def _kinds(rng: np.random.Generator, count: int, rows: int) -> "np.ndarray[tuple[int], np.dtype[np.str_]]":
    """Text of ``count`` values; beyond four they are ever rarer."""
    weights = 1.0 / np.arange(1, count + 1) if count > min(KINDS) else np.ones(count)
    return rng.choice(np.array([f"v{number:02d}" for number in range(count)]), rows, p=weights / weights.sum())


def together(found: Sequence[Calm]) -> str:
    """What the tests that were measured may do in sum at each load, as a sentence.

    >>> from dataclasses import replace
    >>> rare = Calm(test="columns", users_per_hour=1, days=9000, looks=216_000, above=0, alarms=0)
    >>> together([rare])
    'In sum, 95 % sure of each test: at most 0.03 in 90 days at 1 users an hour. Not every test was measured.'
    >>> together([rare, replace(rare, test="classifier", alarms=99)])[-74:]
    'The promised one, of both tests together, is not shown at 1 users an hour.'
    """
    loads = dict.fromkeys(each.users_per_hour for each in found)
    sums = {load: sum(each.bound for each in found if each.users_per_hour == load) for load in loads}
    told = ", ".join(f"{bound:.2f} in 90 days at {load:g} users an hour" for load, bound in sums.items())
    return f"In sum, 95 % sure of each test: at most {told}. {_promise(found, sums)}"


def _promise(found: Sequence[Calm], sums: Mapping[float, float]) -> str:
    measured = {(each.users_per_hour, each.test) for each in found}
    if any((load, test) not in measured for load in sums for test in get_args(Test)):
        return "Not every test was measured."
    if broken := [f"{load:g}" for load, bound in sums.items() if bound > PROMISED]:
        return f"The promised one, of both tests together, is not shown at {', '.join(broken)} users an hour."
    return "The promise of one, of both tests together, is kept at each of these loads."


def needed() -> str:
    """What the classifier must reach at each load before its alarm begins, as a sentence."""
    users = [Arrivals(per_hour=load, hours=WINDOW_H, window_h=WINDOW_H).until[-1] for load in PER_HOUR]
    told = ", ".join(f"{least_auc(int(count), REFERENCE):.3f} with {count} users in the window" for count in users)
    return f"The classifier's alarm needs an AUC of {told}, beside {REFERENCE:,} rows of the training sample."


def least_auc(users: int, rows: int) -> float:
    """AUC from which both levels of the classifier are reached (Mann and Whitney 1947: normal, no ties).

    >>> [round(least_auc(users, 1000), 3) for users in (100, 1000)]
    [0.629, 0.6]
    """
    error = math.sqrt((users + rows + 1) / (12 * users * rows))
    return max(POLICY.enter_auc, 0.5 + float(stats.norm.isf(POLICY.auc_p)) * error)


def table(found: Sequence[Calm]) -> str:
    """The counts as Markdown.

    >>> one = Calm(test="columns", users_per_hour=1, days=900, looks=21_600, above=30, alarms=3)
    >>> print(table([one]).splitlines()[-1])
    | columns | 1 | 900 | 0.139 % | 3 | 0.30 | 0.78 | 1 |
    """
    lines = [
        "| test | users an hour | days | looks above the level | false alarms | in 90 days | at most, 95 % sure | p |",
        "|---|---|---|---|---|---|---|---|",
    ]
    return "\n".join([*lines, *map(_row, found)])


def _row(one: Calm) -> str:
    share = f"{one.above / one.looks * 100:.3f} %"
    counts = f"{one.alarms} | {one.per_90_days:.2f} | {one.bound:.2f}"
    return f"| {one.test} | {one.users_per_hour:g} | {one.days:,} | {share} | {counts} | {one.p:.2g} |"
