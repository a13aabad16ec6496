import math

import numpy as np
import pytest

from mlflow_deploy_plugin.errors import ConfigError
from pipelines.analysis.arms import Latencies, user_latencies
from pipelines.analysis.gates import QuantileGate
from pipelines.analysis.quantiles import compare_quantile, quantile_bounds, thresholds
from pipelines.analysis.verdict import Failed, Inconclusive, Successful


def arms(
    *, slowdown: float, users: int = 20_000, share: float | None = 0.1, seed: int = 1
) -> tuple[Latencies, Latencies]:
    rng = np.random.default_rng(seed)
    is_canary = rng.random(users) < (share or 0.1)
    values = 40 * np.exp(0.5 * rng.standard_normal(users)) * np.where(is_canary, slowdown, 1.0)
    stable, canary = (
        user_latencies(values[arm], order=np.flatnonzero(arm), shares=part)
        for arm, part in ((~is_canary, share and 1 - share), (is_canary, share))
    )
    return stable, canary


@pytest.mark.parametrize("quantile", [0.5, 0.99])
@pytest.mark.parametrize("share", [0.1, None])
def test_a_canary_twice_as_slow_fails(quantile: float, share: float | None) -> None:
    verdict = compare_quantile(*arms(slowdown=2.0, share=share), QuantileGate(quantile=quantile), alpha=0.01)
    assert isinstance(verdict, Failed)
    assert verdict.reason.startswith(f"p{100 * quantile:g} ")


@pytest.mark.parametrize("quantile", [0.5, 0.99])
def test_an_equal_canary_is_not_slower_beyond_a_wide_margin(quantile: float) -> None:
    gate = QuantileGate(quantile=quantile, relative_margin=0.5)
    assert isinstance(compare_quantile(*arms(slowdown=1.0), gate, alpha=0.01), Successful)


def test_a_canary_within_its_margin_does_not_fail() -> None:
    gate = QuantileGate(quantile=0.5, relative_margin=0.2)
    assert not isinstance(compare_quantile(*arms(slowdown=1.2), gate, alpha=0.01), Failed)


def test_an_equal_canary_without_a_margin_stays_open() -> None:
    gate = QuantileGate(quantile=0.99, relative_margin=0.0)
    assert isinstance(compare_quantile(*arms(slowdown=1.0), gate, alpha=0.01), Inconclusive)


def test_the_guardrail_is_absolute() -> None:
    gate = QuantileGate(quantile=0.99, guardrail_ms=100.0)
    verdict = compare_quantile(*arms(slowdown=1.0), gate, alpha=0.01)
    assert isinstance(verdict, Failed)
    assert "above the guardrail 100 ms" in verdict.reason


def test_a_given_threshold_is_used_as_it_is() -> None:
    gate = QuantileGate(quantile=0.99, threshold_ms=128.0)
    assert thresholds(np.array([1.0]), np.array([False, True]), gate).tolist() == [128.0, 128.0]
    assert isinstance(compare_quantile(*arms(slowdown=2.0), gate, alpha=0.01), Failed)


def test_a_threshold_never_knows_the_user_whom_it_judges() -> None:
    stable = np.random.default_rng(2).random(200)
    is_canary = np.zeros(200, dtype=bool)
    before = thresholds(stable, is_canary, QuantileGate(quantile=0.9))
    stable[150:] = 1e6
    after = thresholds(stable, is_canary, QuantileGate(quantile=0.9))
    assert np.array_equal(before[:151], after[:151], equal_nan=True)


def test_later_looks_find_the_same_thresholds() -> None:
    stable = np.random.default_rng(3).random(300)
    gate = QuantileGate(quantile=0.9)
    early = thresholds(stable[:120], np.zeros(120, dtype=bool), gate)
    late = thresholds(stable, np.zeros(300, dtype=bool), gate)
    assert np.array_equal(early, late[:120], equal_nan=True)


def test_without_stable_users_nothing_is_decided() -> None:
    empty = user_latencies([], order=[], shares=0.9)
    verdict = compare_quantile(empty, arms(slowdown=2.0)[1], QuantileGate(), alpha=0.01)
    assert verdict.reason == "no users of stable were seen"


def test_few_users_decide_nothing() -> None:
    assert isinstance(compare_quantile(*arms(slowdown=1.0, users=25), QuantileGate(), alpha=0.01), Inconclusive)


def test_a_split_that_was_not_kept_is_inconclusive() -> None:
    stable, canary = arms(slowdown=3.0, share=0.5)
    wrong = user_latencies(canary.values_ms[:1000], order=canary.order[:1000], shares=0.5)
    assert "sample ratio mismatch" in compare_quantile(stable, wrong, QuantileGate(), alpha=0.01).reason


def test_a_slow_night_while_the_canary_was_large_is_not_held_against_it() -> None:
    """Pooled over both periods the canary's median is 4 times stable's, though every user is treated alike."""
    rng = np.random.default_rng(5)
    parts = []
    for is_canary in (False, True):
        users = (500, 9500) if is_canary else (9500, 500)
        values = np.concatenate([50 * rng.lognormal(0, 0.3, users[0]), 200 * rng.lognormal(0, 0.3, users[1])])
        order = np.concatenate([np.sort(rng.random(users[0])), 1 + np.sort(rng.random(users[1]))])
        shares = (0.05, 0.95) if is_canary else (0.95, 0.05)
        parts.append(user_latencies(values, order=order, period=np.repeat([0, 1], users), shares=shares))
    for quantile in (0.5, 0.99):
        assert not isinstance(compare_quantile(*parts, QuantileGate(quantile=quantile), alpha=0.01), Failed)


def test_arms_of_other_periods_are_refused() -> None:
    two = user_latencies([1.0, 2.0], order=[1, 2], period=[0, 1], shares=[0.5, 0.5])
    with pytest.raises(ConfigError, match="same periods"):
        compare_quantile(two, user_latencies([1.0], order=[1], shares=0.5), QuantileGate(), alpha=0.01)


def test_the_interval_of_a_quantile_narrows_and_holds_it() -> None:
    values = np.random.default_rng(4).exponential(size=20_000)
    widths = []
    for users in (500, 2000, 20_000):
        low, high = quantile_bounds(values[:users], 0.9, alpha=0.05)
        assert low < -math.log(0.1) < high
        widths.append(high - low)
    assert widths == sorted(widths, reverse=True)


def test_a_quantile_of_equal_values_is_that_value() -> None:
    low, high = quantile_bounds(np.full(2000, 7.0), 0.5, alpha=0.05)
    assert (low, high) == (7.0, 7.0)


def test_no_value_bounds_no_quantile() -> None:
    assert quantile_bounds(np.array([]), 0.5, alpha=0.05) == (-math.inf, math.inf)
