"""Latency quantiles, valid at every look: an interval for one arm, and canary against concurrent stable.

A quantile is a share: ``Q_p <= x`` says that at least p of the users are answered within x. So each question is one
about a Bernoulli stream (Howard & Ramdas, "Sequential estimation of quantiles", Bernoulli 28:1704, 2022, arXiv
1906.09714, section 3): the interval excludes every x whose count is impossible under p, and the guardrail asks whether
the canary's share above the bound exceeds 1 - p.

The comparison puts the canary's latencies divided by ``1 + relative_margin`` and stable's beside one threshold and asks
whether the canary has more users above it: with the threshold at stable's quantile that is the same as
``Q_canary > (1 + relative_margin) Q_stable``. The threshold is given (stable's own past), or is the quantile of
stable's users so far: it is known before the user whom it judges, so "slow users fall on the arms by the split" stays
exact. Assumes one value per user. Where the split changed, users are compared within the period of the split that dealt
them, so that a slow hour in which the canary was small, or large, is not held against it.

Exact for a canary that is not slower beyond the threshold. The first thresholds lie below stable's quantile (see
:func:`thresholds`), so a canary whose p97 is slower and whose p99 is not may fail on few users; on many it does not.
"""

import math
from typing import NamedTuple

import numpy as np

from mlflow_deploy_plugin.errors import ConfigError
from pipelines.analysis import event_share, rates, srm, two_rates
from pipelines.analysis.arms import Latencies
from pipelines.analysis.checks import Flags, Floats, Integers, level
from pipelines.analysis.gates import QuantileGate
from pipelines.analysis.verdict import Failed, Inconclusive, Number, Numbers, Successful, Verdict

GROWTH = 1.2
"""Growth of stable's users after which the threshold is taken anew."""

RARE = 0.1
"""Share of slow users up to which the slow ones alone carry the evidence."""

SRM_ALPHA = 0.001


def quantile_bounds(values: Floats, quantile: float, *, alpha: float) -> tuple[float, float]:
    """Confidence sequence of one quantile: it covers at every look with probability 1 - alpha.

    Args:
        values: one per user, shape (users,), in any order and unit.
        quantile: p, between 0 and 1.
        alpha: chance that the quantile is ever outside.

    Returns:
        Lower and upper end in the unit of ``values``; infinite where too few values speak.

    Raises:
        ConfigError: alpha or the quantile outside (0, 1).

    >>> low, high = quantile_bounds(np.arange(1000.0), 0.5, alpha=0.05)
    >>> 430 < low < 500 < high < 570
    True
    >>> quantile_bounds(np.arange(50.0), 0.99, alpha=0.05)[1]
    inf
    """
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    below = np.arange(ordered.size + 1)
    evidence = rates.log_martingale(below, ordered.size, level(quantile, "quantile"))
    kept = np.flatnonzero(evidence < -math.log(level(alpha)))
    padded = np.concatenate([[-np.inf], ordered, [np.inf]])
    return float(padded[kept[0]]), float(padded[kept[-1] + 1])


def compare_quantile(stable: Latencies, canary: Latencies, gate: QuantileGate, *, alpha: float) -> Verdict:
    """Judge a quantile of the canary's latency against stable's, at this look and all others.

    Args:
        stable: the control's users.
        canary: the new version's users, over the same periods.
        gate: quantile, margin, guardrail, threshold.
        alpha: chance, over all looks, of ``Failed`` for a canary within the margin, or ``Successful`` for one beyond.

    Returns:
        Failed, Successful or Inconclusive. Numbers: quantiles of both arms, users above the threshold, and the
        log e-values.

    Raises:
        ConfigError: arms with different periods, or a level outside (0, 1).

    >>> from pipelines.analysis.arms import user_latencies
    >>> rng = np.random.default_rng(1)
    >>> calm, slow = (user_latencies(rng.lognormal(3 + s, 0.5, n), order=np.arange(n), shares=n / 10_000)
    ...               for s, n in ((0.0, 9000), (0.7, 1000)))
    >>> type(compare_quantile(calm, slow, QuantileGate(), alpha=0.01)).__name__
    'Failed'
    """
    numbers = _described(stable, canary, gate) | {"alpha": level(alpha)}
    if breach := _breached(canary, gate, numbers):
        return breach
    if not stable.values_ms.size or not canary.values_ms.size:
        unseen = "the canary" if stable.values_ms.size else "stable"
        return Inconclusive(reason=f"no users of {unseen} were seen", numbers=numbers)
    if stable.shares is None or canary.shares is None:
        return _verdict(gate, numbers, _by_arm(stable, canary, gate, alpha=alpha))
    if stable.shares.shape != canary.shares.shape:
        raise ConfigError(
            f"stable has {stable.shares.size} periods, the canary {canary.shares.size}: must be the same periods"
        )
    share = np.asarray(canary.shares / (stable.shares + canary.shares))
    seen = np.stack([np.bincount(arm.period, minlength=share.size) for arm in (stable, canary)], axis=-1)
    mismatch = srm.judge_split(seen, np.stack([1 - share, share], axis=-1), alpha=SRM_ALPHA)
    if isinstance(mismatch, Inconclusive):
        return Inconclusive(reason=mismatch.reason, numbers={**numbers, "srm_p": mismatch.numbers["p"]})
    return _verdict(gate, numbers, _by_threshold(stable, canary, gate, share=share, alpha=alpha))


def thresholds(stable_ms: Floats, is_canary: Flags, gate: QuantileGate) -> Floats:
    """Threshold for each user, from stable's users before them; NaN for users before the first ``calibration_users``.

    The first users of stable give the first threshold, and each growth by a fifth another: a threshold never knows the
    user that it judges, and later looks find the same ones. It is the quantile at p less ``caution`` standard errors
    ``sqrt(p (1 - p) / n)``, which vanish: a threshold too high by chance has nobody above it and learns slowly.

    Args:
        stable_ms: stable's latencies in the order of time, shape (stable users,).
        is_canary: arm of each user of both arms in the order of time, shape (users,).
        gate: quantile, and a given threshold.

    Returns:
        Shape (users,).

    >>> gate = QuantileGate(quantile=0.5, calibration_users=3)
    >>> thresholds(np.array([1.0, 2.0, 3.0]), np.array([False, False, False, True]), gate).round(1)
    array([nan, nan, nan, 1.4])
    """
    if gate.threshold_ms is not None:
        return np.full(is_canary.shape, gate.threshold_ms)
    known: Integers = np.cumsum(~is_canary, dtype=np.int64) - ~is_canary
    growth = math.log(max(stable_ms.size, gate.calibration_users) / gate.calibration_users) / math.log(GROWTH)
    marks = np.unique(np.ceil(gate.calibration_users * GROWTH ** np.arange(math.floor(growth) + 1)).astype(np.int64))
    marks = marks[marks <= stable_ms.size]
    levels = np.array([math.nan, *(_cautious(stable_ms[:mark], gate) for mark in marks)])
    return np.asarray(levels[np.searchsorted(marks, known, side="right")], dtype=np.float64)


def _cautious(values: Floats, gate: QuantileGate) -> float:
    below = gate.caution * math.sqrt(gate.quantile * (1 - gate.quantile) / values.size)
    return float(np.quantile(values, max(0.0, gate.quantile - below)))


class _Finding(NamedTuple):
    is_worse: bool
    is_not_worse: bool
    numbers: Numbers


def _by_threshold(stable: Latencies, canary: Latencies, gate: QuantileGate, *, share: Floats, alpha: float) -> _Finding:
    """Compare by the randomised split: on which arm do the users fall who are slower than stable's quantile?"""
    in_time = np.argsort(np.concatenate([stable.order, canary.order]), kind="stable")
    is_canary = np.repeat([False, True], [stable.order.size, canary.order.size])[in_time]
    scaled = np.concatenate([stable.values_ms, canary.values_ms / (1 + gate.relative_margin)])[in_time]
    above = thresholds(scaled[~is_canary], is_canary, gate)
    is_judged, is_slow = ~np.isnan(above), scaled > above
    period = np.concatenate([stable.period, canary.period])[in_time]
    chosen = (is_judged & arm & kind for arm in (~is_canary, is_canary) for kind in (~is_slow, is_slow))
    table = two_rates.Table(*(np.bincount(period[users], minlength=share.size).astype(np.float64) for users in chosen))
    worse, not_worse = (_log_e(table, share, gate, is_upper=is_upper) for is_upper in (True, False))
    needed = -math.log(alpha)
    slow = {"stable_slow": float(table.stable_with.sum()), "canary_slow": float(table.canary_with.sum())}
    found = slow | {"judged": float(is_judged.sum())}
    evidence = {"log_e_worse": worse, "log_e_not_worse": not_worse, "log_e_needed": needed}
    return _Finding(is_worse=worse >= needed, is_not_worse=not_worse >= needed, numbers=found | evidence)


def _log_e(table: two_rates.Table, theta: Floats, gate: QuantileGate, *, is_upper: bool) -> float:
    if 1 - gate.quantile <= RARE:
        test = event_share.ShareTest(is_upper=is_upper)
        return float(test.log_e(table.stable_with, table.canary_with, theta))
    return float(two_rates.log_e(table, theta, two_rates.Line(is_upper=is_upper)))


def _by_arm(stable: Latencies, canary: Latencies, gate: QuantileGate, *, alpha: float) -> _Finding:
    """Compare without a split: each arm's own interval at alpha/2, by the union bound."""
    stable_low, stable_high = quantile_bounds(stable.values_ms, gate.quantile, alpha=alpha / 2)
    canary_low, canary_high = quantile_bounds(canary.values_ms, gate.quantile, alpha=alpha / 2)
    factor = 1 + gate.relative_margin
    return _Finding(
        is_worse=canary_low > factor * stable_high, is_not_worse=canary_high < factor * stable_low, numbers={}
    )


def _verdict(gate: QuantileGate, described: Numbers, finding: _Finding) -> Verdict:
    numbers = {**described, **finding.numbers}
    name = f"p{100 * gate.quantile:g}"
    found = f"{name} {described['canary_ms']:.0f} ms against {described['stable_ms']:.0f} ms of stable"
    if finding.is_worse:
        return Failed(reason=f"{found}: slower by more than {gate.relative_margin:.0%}", numbers=numbers)
    if not finding.is_not_worse:
        reason = f"{found}: neither slower by more than {gate.relative_margin:.0%} nor within, with certainty"
        return Inconclusive(reason=reason, numbers=numbers)
    if described["canary_users"] < gate.minimum_users:
        reason = f"{found}: {described['canary_users']} canary users are fewer than the {gate.minimum_users} asked for"
        return Inconclusive(reason=reason, numbers=numbers)
    return Successful(reason=f"{found}: not slower by more than {gate.relative_margin:.0%}", numbers=numbers)


def _breached(canary: Latencies, gate: QuantileGate, numbers: Numbers) -> Failed | None:
    """Say Failed where more than 1 - p of the canary's users are above the absolute bound with certainty."""
    if gate.guardrail_ms is None or not canary.values_ms.size:
        return None
    above = int((canary.values_ms > gate.guardrail_ms).sum())
    low = float(rates.bounds(above, canary.values_ms.size, alpha=numbers["alpha"])[0])
    if low <= 1 - gate.quantile:
        return None
    name = f"p{100 * gate.quantile:g}"
    reason = f"{name} of the canary is above the guardrail {gate.guardrail_ms:.0f} ms ({above} users were slower)"
    return Failed(reason=reason, numbers={**numbers, "guardrail_ms": gate.guardrail_ms, "canary_above": above})


def _described(stable: Latencies, canary: Latencies, gate: QuantileGate) -> dict[str, Number]:
    described: dict[str, Number] = {"quantile": gate.quantile}
    for name, arm in (("stable", stable), ("canary", canary)):
        described[f"{name}_users"] = int(arm.values_ms.size)
        described[f"{name}_ms"] = float(np.quantile(arm.values_ms, gate.quantile)) if arm.values_ms.size else math.nan
    return described
