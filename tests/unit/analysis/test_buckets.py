"""Latency in buckets: what counters without users may say of a quantile, and how often they are wrong."""

import numpy as np
import pytest
from scipy import stats

from mlflow_deploy_plugin.errors import ConfigError
from pipelines.analysis.arms import Arm, RequestLatencies, request_latencies
from pipelines.analysis.buckets import compare_buckets
from pipelines.analysis.compare import compare
from pipelines.analysis.gates import QuantileGate
from pipelines.analysis.verdict import Failed, Inconclusive

BOUNDS = [10.0, 25.0, 50.0, 75.0, 100.0, 150.0, 250.0]


def counted(rng: np.random.Generator, *periods: tuple[int, float]) -> RequestLatencies:
    """Requests and median of each period, log-normal."""
    edges = [0.0, *BOUNDS, np.inf]
    return request_latencies(
        BOUNDS, [np.histogram(median * rng.lognormal(0, 0.5, requests), edges)[0] for requests, median in periods]
    )


@pytest.mark.parametrize("quantile", [0.5, 0.9, 0.99])
def test_a_canary_twice_as_slow_fails(quantile: float) -> None:
    rng = np.random.default_rng(1)
    arms = counted(rng, (9000, 40)), counted(rng, (1000, 80))
    verdict = compare_buckets(*arms, QuantileGate(quantile=quantile, relative_margin=0.2), alpha=0.01)
    assert isinstance(verdict, Failed)
    assert verdict.reason.endswith("(assumes independence)")


def test_an_equal_canary_is_never_promoted_by_buckets() -> None:
    rng = np.random.default_rng(2)
    verdict = compare_buckets(counted(rng, (9000, 40)), counted(rng, (1000, 40)), QuantileGate(), alpha=0.01)
    assert isinstance(verdict, Inconclusive)
    assert verdict.reason.endswith("counts without users do not promote")


def test_a_margin_allows_what_lies_within() -> None:
    rng = np.random.default_rng(3)
    arms = counted(rng, (90_000, 40)), counted(rng, (10_000, 44))
    assert isinstance(compare_buckets(*arms, QuantileGate(relative_margin=0.2), alpha=0.01), Inconclusive)
    assert isinstance(compare_buckets(*arms, QuantileGate(relative_margin=0.0), alpha=0.01), Failed)


def test_a_slow_night_while_the_canary_was_large_is_not_held_against_it() -> None:
    rng = np.random.default_rng(4)
    arms = counted(rng, (9500, 40), (500, 160)), counted(rng, (500, 40), (9500, 160))
    for quantile in (0.5, 0.99):
        gate = QuantileGate(quantile=quantile, relative_margin=0.0)
        assert isinstance(compare_buckets(*arms, gate, alpha=0.01), Inconclusive)


def test_the_guardrail_is_absolute() -> None:
    rng = np.random.default_rng(5)
    arms = counted(rng, (9000, 60)), counted(rng, (1000, 60))
    verdict = compare_buckets(*arms, QuantileGate(guardrail_ms=100.0), alpha=0.01)
    assert isinstance(verdict, Failed)
    assert "above the guardrail" in verdict.reason


def test_arms_alike_rarely_fail_however_often_they_are_looked_at() -> None:
    rng = np.random.default_rng(6)
    gate, alpha, streams = QuantileGate(quantile=0.9, relative_margin=0.0), 0.05, 40
    edges = [0.0, *BOUNDS, np.inf]
    alarms = 0
    for _ in range(streams):
        values, is_canary = 40 * rng.lognormal(0, 0.5, 4000), rng.random(4000) < 0.3
        alarms += any(
            isinstance(
                compare_buckets(
                    *(
                        request_latencies(BOUNDS, [np.histogram(values[:look][arm[:look]], edges)[0]])
                        for arm in (~is_canary, is_canary)
                    ),
                    gate,
                    alpha=alpha,
                ),
                Failed,
            )
            for look in (200, 1000, 2000, 4000)
        )
    assert stats.binomtest(alarms, streams, alpha, alternative="greater").pvalue > 0.001


def test_nothing_is_said_without_requests_or_far_from_the_quantile() -> None:
    none = request_latencies(BOUNDS, [[0] * 8])
    fast = request_latencies(BOUNDS, [[1000, 0, 0, 0, 0, 0, 0, 0]])
    gate = QuantileGate()
    assert "both arms had requests" in compare_buckets(none, fast, gate, alpha=0.01).reason
    assert "no bound of the buckets" in compare_buckets(fast, fast, gate, alpha=0.01).reason


def test_gates_take_buckets_where_the_source_has_no_users() -> None:
    rng = np.random.default_rng(7)
    stable, canary = (
        Arm(name=name, latency=counted(rng, given)) for name, given in (("v3", (9000, 40)), ("v4", (1000, 80)))
    )
    assert isinstance(compare(stable, canary, QuantileGate(), alpha=0.01), Failed)


@pytest.mark.parametrize(
    ("bounds", "counts"), [([2, 1], [[1, 1, 1]]), ([1], [[1]]), ([1], [1, 2]), ([1], [[-1, 2]]), ([], [[1]])]
)
def test_buckets_that_cannot_be_are_refused(bounds: list[float], counts: list[object]) -> None:
    with pytest.raises(ConfigError):
        request_latencies(bounds, counts)


def test_arms_with_other_buckets_are_refused() -> None:
    with pytest.raises(ConfigError, match="other buckets"):
        compare_buckets(request_latencies([1], [[1, 1]]), request_latencies([2], [[1, 1]]), QuantileGate(), alpha=0.01)
