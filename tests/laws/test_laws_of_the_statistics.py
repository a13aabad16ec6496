"""The statistics keep their promises on simulated streams: false alarms, coverage, and delay.

A rate passes where a one-sided binomial test at 0.1 % does not refute it, on fixed seeds: alarms at most alpha, misses
at most alpha, and at least 95 % of the worse canaries found within three times the fixed horizon.
``python -m pipelines laws`` measures the same with more repetitions.
"""

import math

import pytest
from scipy import stats

from pipelines.analysis import judges, law_tables, laws, simulate, two_rates
from pipelines.analysis.coverage import coverage
from pipelines.analysis.measures import Alarms, Delay
from pipelines.analysis.simulate import Scene

REFUTED = 0.001
ALPHA = 0.05
"""Larger than the 0.01 of a rollout, so that few repetitions can refute it."""


@pytest.fixture(scope="module")
def independent() -> dict[str, Alarms]:
    rows = laws.false_alarms(Scene(repetitions=120, users=laws.REQUESTS, share=0.1), seed=11, alpha=ALPHA)
    return {row.judge: row for row in rows}


@pytest.fixture(scope="module")
def clustered() -> dict[str, Alarms]:
    rows = laws.clustered_false_alarms(
        Scene(repetitions=120, users=laws.CLUSTERED_USERS, share=0.1), seed=12, alpha=ALPHA
    )
    return {row.judge: row for row in rows}


def test_a_good_canary_is_rarely_rolled_back_though_every_one_of_a_hundred_thousand_requests_is_looked_at(
    independent: dict[str, Alarms],
) -> None:
    assert independent["ours"].p > REFUTED


@pytest.mark.parametrize("judge", ["ours, final outcomes (250 looks)", "ours, margin 0.5 pp (250 looks)"])
def test_a_good_canary_is_rarely_rolled_back_under_a_margin_or_by_labels(
    independent: dict[str, Alarms], judge: str
) -> None:
    assert independent[judge].p > REFUTED


def test_labels_may_be_looked_at_after_every_user() -> None:
    stream = simulate.users(Scene(repetitions=100, users=2000, share=0.1), stable=0.2, canary=0.2, seed=20)
    alarms = (judges.by_two_rates(stream, alpha=ALPHA, line=two_rates.Line(), looks=2000) >= 0).sum()
    assert stats.binomtest(int(alarms), 100, ALPHA, alternative="greater").pvalue > REFUTED


def test_peeking_at_a_z_test_breaks_its_promise(independent: dict[str, Alarms]) -> None:
    peeked = independent["the same z-test at every look"]
    assert peeked.rate > 4 * ALPHA


@pytest.mark.parametrize("judge", ["ours, by user", "ours, by user, margin 0.5 pp"])
def test_users_who_differ_and_return_do_not_break_the_promise(clustered: dict[str, Alarms], judge: str) -> None:
    assert clustered[judge].p > REFUTED


def test_counting_requests_of_such_users_would_break_it(clustered: dict[str, Alarms]) -> None:
    assert clustered["the same e-value by request"].rate > 2 * ALPHA


def test_the_latency_gate_keeps_its_promise() -> None:
    (row,) = laws.latency_false_alarms(Scene(repetitions=200, users=10_000, share=0.1), seed=13, alpha=ALPHA)
    assert row.p > REFUTED


def test_a_split_that_is_kept_rarely_alarms() -> None:
    (row,) = laws.split_false_alarms(Scene(repetitions=200, users=20_000, share=0.1), seed=14, alpha=ALPHA)
    assert row.p > REFUTED


def test_every_interval_covers_at_every_look() -> None:
    refuted = [row.judge for row in coverage(repetitions=100, seed=15) if row.p <= REFUTED]
    assert refuted == []


def _ours(rows: list[Delay]) -> list[Delay]:
    return [row for row in rows if row.judge.startswith("ours")]


@pytest.mark.parametrize("share", laws.SHARES)
def test_three_times_the_errors_are_found_about_as_soon_as_by_a_fixed_horizon(share: float) -> None:
    for row in _ours(laws.error_delays(repetitions=300, seed=16, share=share)):
        assert row.median <= 1.25 * row.fixed_users, row
        assert row.p > REFUTED, row


@pytest.mark.parametrize("share", laws.SHARES)
def test_a_p99_half_as_high_again_is_found_about_as_soon_as_by_a_fixed_horizon(share: float) -> None:
    for row in _ours(laws.latency_delays(repetitions=400, seed=17, share=share)):
        assert row.median <= 1.25 * row.fixed_users, row
        assert row.p > REFUTED, row


def test_a_fixed_horizon_has_one_chance_and_misses_a_fifth() -> None:
    rows = laws.error_delays(repetitions=200, seed=18, share=0.5)
    planned = next(row for row in rows if row.judge == "fixed-horizon z-test, one look")
    assert 0.7 < planned.found < 0.9
    assert planned.late == math.inf


def test_the_same_seed_prints_the_same_tables() -> None:
    first, again = (law_tables.tables(repetitions=2, seed=19, tuning_seed=20) for _ in range(2))
    assert first == again


def test_the_tuning_seed_changes_the_table_of_the_choice_alone() -> None:
    first, other = (law_tables.tables(repetitions=2, seed=19, tuning_seed=tuning) for tuning in (20, 21))
    assert [name for name in first if first[name] != other[name]] == ["threshold-choice"]
