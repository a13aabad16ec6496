"""One question for all gates: is this canary, by this gate, proven worse, proven not worse, or neither?

Everything is recomputed from the cumulative observation at each tick; no statistic is stored. The methods were chosen
so that the value of the current data is valid by itself, without the history of looks. What was not observed
(:class:`~pipelines.analysis.arms.Missing`) is Inconclusive.
"""

from typing import assert_never

from pipelines.analysis.arms import (
    Arm,
    Latencies,
    Metric,
    Missing,
    RequestCounts,
    RequestLatencies,
    UserCounts,
    UserMoments,
)
from pipelines.analysis.buckets import compare_buckets
from pipelines.analysis.counts import compare_requests
from pipelines.analysis.error_ratio import compare_error_ratio
from pipelines.analysis.gates import ErrorRatioGate, Gate, MeanGate, QuantileGate
from pipelines.analysis.metrics import compare_mean
from pipelines.analysis.moments import compare_moments
from pipelines.analysis.quantiles import compare_quantile
from pipelines.analysis.verdict import Inconclusive, Verdict


def compare(stable: Arm, canary: Arm, gate: Gate, *, alpha: float) -> Verdict:
    """Judge one gate of the canary against concurrent stable.

    Args:
        stable: what was observed of the control.
        canary: what was observed of the new version, over the same time.
        gate: what is asked; its type picks the statistic.
        alpha: this gate's part of the rollout's alpha (:func:`pipelines.analysis.multiple.split_alpha`).

    Returns:
        Successful, Failed or Inconclusive, with the reason and the numbers that decided.

    Raises:
        ConfigError: observations of the two arms that cannot belong together (other periods, shares above one).

    >>> compare(Arm(name="v3"), Arm(name="v4"), ErrorRatioGate(), alpha=0.01)
    Inconclusive(reason='v3: no errors were observed', numbers={})
    """
    match gate:
        case ErrorRatioGate():
            return _error_ratio(stable, canary, gate, alpha=alpha)
        case QuantileGate():
            return _quantile(stable, canary, gate, alpha=alpha)
        case MeanGate():
            return _mean(stable, canary, gate, alpha=alpha)
        case _:
            assert_never(gate)


def _error_ratio(stable: Arm, canary: Arm, gate: ErrorRatioGate, *, alpha: float) -> Verdict:
    control, treated = (arm.errors if gate.source == "errors" else arm.labels for arm in (stable, canary))
    if isinstance(control, UserCounts) and isinstance(treated, UserCounts):
        return compare_error_ratio(control, treated, gate, alpha=alpha)
    if isinstance(control, RequestCounts) and isinstance(treated, RequestCounts):
        return compare_requests(control, treated, gate, alpha=alpha)
    return _unseen((stable, control), (canary, treated))


def _quantile(stable: Arm, canary: Arm, gate: QuantileGate, *, alpha: float) -> Verdict:
    if isinstance(stable.latency, Latencies) and isinstance(canary.latency, Latencies):
        return compare_quantile(stable.latency, canary.latency, gate, alpha=alpha)
    if isinstance(stable.latency, RequestLatencies) and isinstance(canary.latency, RequestLatencies):
        return compare_buckets(stable.latency, canary.latency, gate, alpha=alpha)
    return _unseen((stable, stable.latency), (canary, canary.latency))


def _mean(stable: Arm, canary: Arm, gate: MeanGate, *, alpha: float) -> Verdict:
    absent = Missing(reason=f"metric {gate.metric!r} was not observed")
    control, treated = (arm.metrics.get(gate.metric, absent) for arm in (stable, canary))
    if isinstance(control, Metric) and isinstance(treated, Metric):
        if gate.bounds is not None and (outside := _outside(control, treated, gate.bounds)) is not None:
            low, high = gate.bounds
            return Inconclusive(
                reason=f"{gate.metric} of a user is {outside:g}, outside its bounds {low:g} to {high:g}"
            )
        return compare_mean(control, treated, gate, alpha=alpha)
    if isinstance(control, UserMoments) and isinstance(treated, UserMoments):
        return compare_moments(control, treated, gate, alpha=alpha)
    return _unseen((stable, control), (canary, treated))


def _outside(control: Metric, treated: Metric, bounds: tuple[float, float]) -> float | None:
    """A value that the bounds do not allow."""
    low, high = bounds
    values = (float(value) for arm in (control, treated) for value in arm.sums if not low <= value <= high)
    return next(values, None)


def _unseen(*observed: tuple[Arm, object]) -> Inconclusive:
    reasons = [f"{arm.name}: {seen.reason}" for arm, seen in observed if isinstance(seen, Missing)]
    return Inconclusive(reason=reasons[0])
