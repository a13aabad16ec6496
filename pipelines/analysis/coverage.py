"""Do the intervals cover? Streams with a known truth, and how many of them an interval ever misses.

A test of the true value that rejects is an interval that misses, so coverage is measured on the martingale at the truth
where that is the interval's own definition, and on the interval itself elsewhere.
"""

import math

import numpy as np

from pipelines.analysis import judges, rates, simulate, two_rates
from pipelines.analysis.arms import metric
from pipelines.analysis.checks import Flags, Floats
from pipelines.analysis.gates import MeanGate
from pipelines.analysis.means import asymptotic_half_width, betting_bounds
from pipelines.analysis.measures import Alarms
from pipelines.analysis.metrics import compare_mean, estimate
from pipelines.analysis.simulate import Scene
from pipelines.analysis.verdict import Failed, Successful, Verdict

USERS = 5000
LOOKS = 15
SHARE = 0.3
BURN_IN = 1000
STABLE, CANARY = 0.05, 0.08
KNOWN = 0.7
"""Share of the users who were seen before."""


def coverage(*, repetitions: int, seed: int, alpha: float = 0.05) -> list[Alarms]:
    """Count streams in which an interval ever misses the truth.

    >>> len(coverage(repetitions=2, seed=1))
    9
    """
    missed = {
        "rate of one arm (1 %), every user": _rate_misses(0.01, repetitions, seed, alpha=alpha),
        "p99 of one arm, every user": _rate_misses(0.99, repetitions, seed + 1, alpha=alpha),
        "difference of rates, lower end": _difference_misses(repetitions, seed + 2, alpha=alpha, is_upper=True),
        "difference of rates, upper end": _difference_misses(repetitions, seed + 2, alpha=alpha, is_upper=False),
        f"mean in [0, 1], betting, {LOOKS} looks": _betting_misses(repetitions, seed + 3, alpha=alpha),
        f"difference of means in [0, 1], betting, {LOOKS} looks": _bounded_misses(repetitions, seed + 5, alpha=alpha),
        "ratio of sums by user, asymptotic, from 1,000 users": _ratio_misses(repetitions, seed + 4, alpha=alpha),
        "mean of a skewed metric, asymptotic, from 1,000 users": _skewed_misses(repetitions, seed + 6, alpha=alpha),
        "the same, adjusted by the users' own past": _adjusted_misses(repetitions, seed + 7, alpha=alpha),
    }
    return [
        Alarms(
            judge=name, stream="misses at any look", alarms=count, repetitions=repetitions, share=SHARE, promised=alpha
        )
        for name, count in missed.items()
    ]


def _rate_misses(rate: float, repetitions: int, seed: int, *, alpha: float) -> int:
    events = np.cumsum(np.random.default_rng(seed).random((repetitions, USERS)) < rate, axis=1)
    evidence = rates.log_martingale(events, np.arange(1, USERS + 1), rate)
    return int((evidence >= -math.log(alpha)).any(axis=1).sum())


def _difference_misses(repetitions: int, seed: int, *, alpha: float, is_upper: bool) -> int:
    scene = Scene(repetitions=repetitions, users=USERS, share=SHARE)
    stream = simulate.users(scene, stable=STABLE, canary=CANARY, seed=seed)
    line = two_rates.Line(margin=CANARY - STABLE, is_upper=is_upper)
    return int((judges.by_two_rates(stream, alpha=alpha, line=line) >= 0).sum())


def _betting_misses(repetitions: int, seed: int, *, alpha: float) -> int:
    values = np.random.default_rng(seed).beta(0.5, 2.0, (repetitions, USERS // 5))
    return sum(_is_ever_missed(row, alpha=alpha) for row in values)


def _is_ever_missed(values: Floats, *, alpha: float) -> bool:
    truth = 0.2
    for look in np.geomspace(10, values.size, LOOKS).astype(int):
        low, high = betting_bounds(values[:look], alpha=alpha)
        if not low <= truth <= high:
            return True
    return False


def _bounded_misses(repetitions: int, seed: int, *, alpha: float) -> int:
    """The same law on both arms: the difference is zero, and the gate's interval must hold it."""
    rng = np.random.default_rng(seed)
    gate = MeanGate(margin=0.0, bounds=(0.0, 1.0), minimum_users=2)
    misses = 0
    for _ in range(repetitions):
        values, is_canary = rng.beta(0.5, 2.0, USERS), rng.random(USERS) < SHARE
        misses += any(
            isinstance(_compared(values[:look], is_canary[:look], gate, alpha=alpha), Failed | Successful)
            for look in np.geomspace(50, USERS, LOOKS).astype(int)
        )
    return misses


def _compared(values: Floats, is_canary: Flags, gate: MeanGate, *, alpha: float) -> Verdict:
    """Failed or Successful exactly where zero lies outside the interval, since the margin is zero."""
    return compare_mean(metric(values[~is_canary]), metric(values[is_canary]), gate, alpha=alpha)


def _skewed_misses(repetitions: int, seed: int, *, alpha: float) -> int:
    """Revenue, say: log-normal with a standard deviation of the logarithm of 1.5, equal on both arms."""
    rng = np.random.default_rng(seed)
    gate = MeanGate(margin=0.0, minimum_users=2)
    misses = 0
    for _ in range(repetitions):
        values, is_canary = rng.lognormal(0.0, 1.5, 2 * USERS), rng.random(2 * USERS) < SHARE
        misses += any(
            isinstance(_compared(values[:look], is_canary[:look], gate, alpha=alpha), Failed | Successful)
            for look in np.geomspace(BURN_IN, 2 * USERS, LOOKS).astype(int)
        )
    return misses


def _adjusted_misses(repetitions: int, seed: int, *, alpha: float) -> int:
    """The same metric, half of whose logarithm the past explains; three users in ten have none, and get the average."""
    rng = np.random.default_rng(seed)
    gate = MeanGate(margin=0.0, minimum_users=2)
    misses = 0
    for _ in range(repetitions):
        own, is_canary = rng.normal(0.0, 1.06, 2 * USERS), rng.random(2 * USERS) < SHARE
        past, values = (np.exp(own + rng.normal(0.0, 1.06, 2 * USERS)) for _ in range(2))
        is_known = rng.random(2 * USERS) < KNOWN
        past = np.where(is_known, past, past[is_known].mean())
        misses += any(
            isinstance(_adjusted(values[:look], past[:look], is_canary[:look], gate, alpha=alpha), Failed | Successful)
            for look in np.geomspace(BURN_IN, 2 * USERS, LOOKS).astype(int)
        )
    return misses


def _adjusted(values: Floats, past: Floats, is_canary: Flags, gate: MeanGate, *, alpha: float) -> Verdict:
    stable, canary = (metric(values[arm], before=past[arm]) for arm in (~is_canary, is_canary))
    return compare_mean(stable, canary, gate, alpha=alpha)


def _ratio_misses(repetitions: int, seed: int, *, alpha: float) -> int:
    """Ratio of sums over users who send 1 to many requests, equal on both arms: the difference is zero."""
    rng = np.random.default_rng(seed)
    misses = 0
    for _ in range(repetitions):
        sent = np.ceil(rng.lognormal(1.0, 1.0, 2 * USERS))
        clicks = rng.binomial(sent.astype(np.int64), rng.beta(2.0, 8.0, 2 * USERS)).astype(np.float64)
        is_canary = rng.random(2 * USERS) < SHARE
        misses += any(
            _is_zero_missed(clicks[:look], sent[:look], is_canary[:look], alpha=alpha)
            for look in np.geomspace(BURN_IN, 2 * USERS, LOOKS).astype(int)
        )
    return misses


def _is_zero_missed(sums: Floats, sent: Floats, is_canary: Flags, *, alpha: float) -> bool:
    stable, canary = (estimate(metric(sums[arm], counts=sent[arm])) for arm in (~is_canary, is_canary))
    half = asymptotic_half_width(stable.variance + canary.variance, sums.size, alpha=alpha)
    return bool(abs(canary.value - stable.value) > half)
