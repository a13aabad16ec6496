"""Sums of users say what the users say."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pipelines.analysis.arms import Metric, PastMoments, UserMoments, metric
from pipelines.analysis.gates import MeanGate
from pipelines.analysis.metrics import compare_mean
from pipelines.analysis.moments import compare_moments
from pipelines.analysis.verdict import Inconclusive, Successful

GATE = MeanGate(margin=0.3, minimum_users=2)


def users(seed: int, *sizes: int, shift: float = 0.0, has_past: bool = True) -> Metric:
    """Users of periods that differ, and a past that explains half of it."""
    rng = np.random.default_rng(seed)
    period = np.repeat(np.arange(len(sizes)), sizes)
    past = rng.normal(50, 3, period.size) + 2 * period
    values = past / 2 + rng.normal(shift, 1, period.size)
    return metric(values, before=past if has_past else None, period=period)


def added(arm: Metric) -> UserMoments:
    period = np.unique(arm.period)
    parts = [arm.period == each for each in period]
    means = np.array([arm.sums[part].mean() for part in parts])
    away = [arm.sums[part] - mean for part, mean in zip(parts, means, strict=True)]
    past = None
    if arm.before is not None:
        before = np.array([arm.before[part].mean() for part in parts])
        gone = [arm.before[part] - mean for part, mean in zip(parts, before, strict=True)]
        past = PastMoments(
            mean=before,
            squares=np.array([x @ x for x in gone]),
            products=np.array([x @ y for x, y in zip(gone, away, strict=True)]),
            least=np.array([arm.before[part].min() for part in parts]),
            largest=np.array([arm.before[part].max() for part in parts]),
        )
    sizes = np.array([part.sum() for part in parts])
    return UserMoments(period=period, users=sizes, mean=means, squares=np.array([y @ y for y in away]), past=past)


@pytest.mark.parametrize("has_past", [True, False])
@pytest.mark.parametrize("sizes", [[(900,), (100,)], [(900, 100, 500), (80, 700, 1)], [(500, 0, 400), (50, 60, 70)]])
def test_sums_give_the_verdict_of_the_users(sizes: Any, has_past: bool) -> None:  # noqa: FBT001
    stable, canary = users(1, *sizes[0], has_past=has_past), users(2, *sizes[1], shift=-0.2, has_past=has_past)
    theirs = compare_mean(stable, canary, GATE, alpha=0.01)
    ours = compare_moments(added(stable), added(canary), GATE, alpha=0.01)
    assert (type(ours), ours.reason) == (type(theirs), theirs.reason)
    assert ours.numbers == pytest.approx(theirs.numbers)


FEES = np.array([9.99, 19.99, 49.99])


@pytest.mark.parametrize("factor", [1.0, 1.1, -3.0])
@pytest.mark.parametrize("sizes", [(900,), (300, 200, 400)])
def test_a_past_that_explains_everything_leaves_no_doubt(sizes: Any, factor: float) -> None:
    rng = np.random.default_rng(7)
    period = np.repeat(np.arange(len(sizes)), sizes)
    pasts = [FEES[rng.integers(0, 3, period.size)] for _ in range(2)]
    stable, canary = (metric(factor * past, before=past, period=period) for past in pasts)
    theirs = compare_mean(stable, canary, GATE, alpha=0.01)
    ours = compare_moments(added(stable), added(canary), GATE, alpha=0.01)
    assert type(ours) is type(theirs) is Successful
    assert ours.numbers == pytest.approx(theirs.numbers, abs=1e-6)


def test_a_past_of_large_numbers_that_differ_little_is_adjusted_for() -> None:
    """Seconds since 1970, a second apart."""
    rng = np.random.default_rng(8)
    pasts = [1.8e9 + rng.integers(0, 2, 500) for _ in range(2)]
    stable, canary = (metric(past - 1.8e9 + rng.normal(0, 0.01, 500), before=past) for past in pasts)
    stable, canary = (replace(arm, period=np.zeros(500, dtype=np.int64)) for arm in (stable, canary))
    theirs = compare_mean(stable, canary, GATE, alpha=0.01)
    ours = compare_moments(added(stable), added(canary), GATE, alpha=0.01)
    assert (type(ours), ours.numbers) == (type(theirs), pytest.approx(theirs.numbers, rel=1e-3, abs=1e-6))


def test_values_that_are_huge_beside_their_past_raise_nothing() -> None:
    rng = np.random.default_rng(9)
    stable, canary = (metric(rng.normal(0, 1e139, 300), before=rng.normal(0, 1e-30, 300)) for _ in range(2))
    stable, canary = (replace(arm, period=np.zeros(300, dtype=np.int64)) for arm in (stable, canary))
    ours = compare_moments(added(stable), added(canary), GATE, alpha=0.01)
    assert ours.reason.split(":")[-1] == compare_mean(stable, canary, GATE, alpha=0.01).reason.split(":")[-1]


def test_a_past_that_is_alike_for_all_explains_nothing() -> None:
    stable, canary = (users(seed, 300, 300, has_past=False) for seed in (3, 4))
    alike = [metric(arm.sums, before=np.full(arm.sums.size, 0.1), period=arm.period) for arm in (stable, canary)]
    ours = compare_moments(*map(added, alike), GATE, alpha=0.01)
    assert ours.numbers == pytest.approx(compare_mean(stable, canary, GATE, alpha=0.01).numbers)


@pytest.mark.parametrize(
    ("gate", "sizes", "words"),
    [
        (MeanGate(margin=1.0, bounds=(0.0, 90.0)), (600, 600), "1,200 users are too many"),
        (MeanGate(margin=1.0), (600, 20), "20 users of an arm are fewer than"),
    ],
)
def test_what_sums_cannot_say_holds(gate: MeanGate, sizes: tuple[int, int], words: str) -> None:
    held = compare_moments(*(added(users(5, size)) for size in sizes), gate, alpha=0.01)
    assert isinstance(held, Inconclusive)
    assert words in held.reason


def test_periods_without_users_in_common_decide_nothing() -> None:
    early = added(users(6, 500))
    late = UserMoments(period=np.array([1]), users=early.users, mean=early.mean, squares=early.squares)
    held = compare_moments(early, late, GATE, alpha=0.01)
    assert held.reason == "no period of metric has two users of each arm"
