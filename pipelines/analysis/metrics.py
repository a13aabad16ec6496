"""A metric of the canary against stable's: mean per user, or ratio of sums over users; CUPED where the past is known.

The interval of the difference is the asymptotic confidence sequence of :mod:`.means`: valid at every look after the
burn-in that the gate's ``minimum_users`` asks for. The variance of a ratio of sums is the delta method's (Deng,
Knoblich & Lu, KDD 2018, arXiv 1803.06336): a user's requests are not independent, so requests are no sample.

Where the split changed, users are compared within the period that dealt them and the differences are averaged, each
period by the users that both arms had in it: a good hour in which the canary was large is not to its credit.

A metric whose values are bounded beforehand gets one betting interval per arm instead, joined by the union bound:
exact at every n, for users in the order of time, and wider. Of several periods the newest speaks, at its part of alpha.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mlflow_deploy_plugin.errors import ConfigError
from pipelines.analysis.arms import Metric
from pipelines.analysis.checks import Floats, level
from pipelines.analysis.gates import MeanGate
from pipelines.analysis.means import asymptotic_half_width, betting_bounds, cuped, cuped_theta
from pipelines.analysis.verdict import Failed, Inconclusive, Numbers, Successful, Verdict


class Estimate(NamedTuple):
    """A mean or ratio, the squared standard error of it, and the users behind it."""

    value: float
    variance: float
    users: int


def estimate(arm: Metric) -> Estimate:
    """Estimate the metric of one arm: mean of the sums, or sum of sums over sum of counts with the delta method.

    ``var = (s_m^2 / d^2 - 2 m cov / d^3 + m^2 s_d^2 / d^4) / n``, m and d the means of sums and counts.

    Raises:
        ConfigError: fewer than two users, or no count at all.

    >>> from pipelines.analysis.arms import metric
    >>> estimate(metric([1.0, 3.0], counts=[2.0, 2.0]))
    Estimate(value=1.0, variance=0.25, users=2)
    """
    n = arm.sums.size
    if n <= 1:
        raise ConfigError(f"{n} users: an estimate needs at least two")
    if arm.counts is None:
        return Estimate(float(arm.sums.mean()), float(arm.sums.var(ddof=1)) / n, n)
    m, d = float(arm.sums.mean()), float(arm.counts.mean())
    if d == 0:
        raise ConfigError("counts are all zero: a ratio needs a denominator")
    (s_m, cov), (_, s_d) = np.cov(arm.sums, arm.counts).tolist()
    return Estimate(m / d, (s_m / d**2 - 2 * m * cov / d**3 + m**2 * s_d / d**4) / n, n)


def adjusted(stable: Metric, canary: Metric) -> tuple[Metric, Metric]:
    """Apply CUPED with one theta for both arms; without a past of both, or for ratios, return them as they are.

    >>> from pipelines.analysis.arms import metric
    >>> arms = metric([1.0, 2.0], before=[1.0, 2.0]), metric([3.0, 4.0], before=[3.0, 4.0])
    >>> [arm.sums.tolist() for arm in adjusted(*arms)]
    [[2.5, 2.5], [2.5, 2.5]]
    """
    if stable.before is None or canary.before is None or stable.counts is not None or canary.counts is not None:
        return stable, canary
    past = np.concatenate([stable.before, canary.before])
    theta, centre = cuped_theta(np.concatenate([stable.sums, canary.sums]), past), float(past.mean())
    before: tuple[Floats, Floats] = stable.before, canary.before
    first, second = (
        Metric(sums=cuped(arm.sums, x, theta=theta, centre=centre), period=arm.period)
        for arm, x in zip((stable, canary), before, strict=True)
    )
    return first, second


def compare_mean(stable: Metric, canary: Metric, gate: MeanGate, *, alpha: float) -> Verdict:
    """Judge a metric of the canary against stable's, at this look and all others after the burn-in.

    Args:
        stable: the control's users.
        canary: the new version's users, over the same time.
        gate: margin in the metric's unit, which direction is good, burn-in, bounds.
        alpha: chance (asymptotically, unless bounded) of a wrong ``Failed``, and of a wrong ``Successful``, over all
            looks.

    Returns:
        Failed, Successful or Inconclusive. Numbers: both values, difference with ``low`` and ``high``, users.

    Raises:
        ConfigError: values outside the gate's bounds, or a ratio of sums with bounds.

    >>> rng = np.random.default_rng(1)
    >>> from pipelines.analysis.arms import metric
    >>> calm, worse = metric(rng.normal(10, 2, 9000)), metric(rng.normal(9, 2, 1000))
    >>> compare_mean(calm, worse, MeanGate(margin=0.2), alpha=0.01).reason
    'metric 8.892 against 9.988 of stable: worse by more than 0.2 [-1.335, -0.8563]'
    """
    users = {"stable_users": stable.sums.size, "canary_users": canary.sums.size, "alpha": level(alpha)}
    fewest = min(stable.sums.size, canary.sums.size)
    if fewest < max(gate.minimum_users, 2):
        return Inconclusive(reason=f"{fewest} users of an arm are fewer than {gate.minimum_users}", numbers=users)
    if any(arm.counts is not None and not arm.counts.any() for arm in (stable, canary)):
        return Inconclusive(reason=f"{gate.metric} has no denominator", numbers=users)
    if not _strata(stable, canary):
        return Inconclusive(reason=f"no period of {gate.metric} has two users of each arm", numbers=users)
    found = _asymptotic(stable, canary, alpha) if gate.bounds is None else _exact(stable, canary, gate.bounds, alpha)
    has_past = gate.bounds is None and stable.before is not None and canary.before is not None
    return judged(found, gate, users, past=", adjusted by their past" if has_past else "")


class Difference(NamedTuple):
    """Of both arms, and the ends of the interval of canary less stable."""

    stable: float
    canary: float
    low: float
    high: float


def _asymptotic(stable: Metric, canary: Metric, alpha: float) -> Difference:
    pairs = [(estimate(control), estimate(treated)) for control, treated in _strata(*adjusted(stable, canary))]
    return averaged(pairs, alpha)


def averaged(pairs: Sequence[tuple[Estimate, Estimate]], alpha: float) -> Difference:
    """Average over the periods, weighted by ``n_s n_c / (n_s + n_c)``, and its interval.

    Args:
        pairs: stable and canary in each period.
        alpha: chance, asymptotically, that the truth is ever outside.
    """
    sizes = np.array([[control.users, treated.users] for control, treated in pairs], dtype=np.float64)
    weights = sizes.prod(axis=1) / sizes.sum(axis=1)
    weights = weights / weights.sum()
    values = weights @ np.array([[control.value, treated.value] for control, treated in pairs])
    variance = weights**2 @ np.array([control.variance + treated.variance for control, treated in pairs])
    half = float(asymptotic_half_width(variance, sizes.sum(), alpha=alpha))
    difference = float(values[1] - values[0])
    return Difference(float(values[0]), float(values[1]), difference - half, difference + half)


def _strata(stable: Metric, canary: Metric) -> list[tuple[Metric, Metric]]:
    """Both arms by period; periods in which one of them cannot be estimated are left out."""
    if stable.period is None or canary.period is None:
        return [(stable, canary)]
    periods = np.intersect1d(stable.period, canary.period)
    pairs = [(_within(stable, int(each)), _within(canary, int(each))) for each in periods]
    return [pair for pair in pairs if all(_is_known(arm) for arm in pair)]


def _within(arm: Metric, period: int) -> Metric:
    kept = arm.period == period
    return Metric(sums=arm.sums[kept], counts=None if arm.counts is None else arm.counts[kept])


def _is_known(arm: Metric) -> bool:
    return arm.sums.size > 1 and (arm.counts is None or bool(arm.counts.any()))


def _exact(stable: Metric, canary: Metric, bounds: tuple[float, float], alpha: float) -> Difference:
    """Ends of the two arms' betting intervals, each wrong with probability alpha/2 at most."""
    if stable.counts is not None or canary.counts is not None:
        raise ConfigError("a ratio of sums has no bounds of its own: leave bounds out, or give one value per user")
    if stable.period is not None and canary.period is not None:
        newest = int(np.intersect1d(stable.period, canary.period).max())
        alpha *= 6 / (math.pi * (newest + 1)) ** 2  # sums to alpha over all periods that may ever come
        stable, canary = _within(stable, newest), _within(canary, newest)
    least, largest = bounds
    width = largest - least
    (stable_low, stable_high), (canary_low, canary_high) = (
        betting_bounds((arm.sums - least) / width, alpha=alpha) for arm in (stable, canary)
    )
    return Difference(
        stable=float(stable.sums.mean()),
        canary=float(canary.sums.mean()),
        low=width * (canary_low - stable_high),
        high=width * (canary_high - stable_low),
    )


def judged(seen: Difference, gate: MeanGate, users: Numbers, *, past: str) -> Verdict:
    """Whether the difference is beyond the margin, within it, or neither."""
    sign = 1 if gate.better == "higher" else -1
    loss = sorted((-sign * seen.low, -sign * seen.high))
    numbers = {**users, "difference": seen.canary - seen.stable, **seen._asdict()}
    found = f"{gate.metric} {seen.canary:.4g} against {seen.stable:.4g} of stable{past}"
    interval = f"{gate.margin:g} [{seen.low:+.4g}, {seen.high:+.4g}]"
    if not math.isfinite(seen.high - seen.low):
        return Inconclusive(reason=f"{found}: the variance is not a number", numbers=numbers)
    if loss[0] > gate.margin:
        return Failed(reason=f"{found}: worse by more than {interval}", numbers=numbers)
    if loss[1] < gate.margin:
        return Successful(reason=f"{found}: not worse by more than {interval}", numbers=numbers)
    return Inconclusive(reason=f"{found}: neither worse by more than nor within {interval}", numbers=numbers)
