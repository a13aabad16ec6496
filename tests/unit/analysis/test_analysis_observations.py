import subprocess
import sys

import pytest

from mlflow_deploy_plugin.errors import ConfigError
from pipelines.analysis.arms import (
    Missing,
    counter_increase,
    first_latencies,
    metric,
    user_counts,
    user_latencies,
)
from pipelines.analysis.verdict import Error, Failed, Inconclusive, Successful, combine, word

NAN = float("nan")


@pytest.mark.parametrize(
    ("exposed", "events"), [(NAN, 0), (10, NAN), (-1, 0), (10, -1), (10, 11), (10.5, 1), ([10, 20], [1])]
)
def test_counts_that_cannot_be_are_refused(exposed: object, events: object) -> None:
    with pytest.raises(ConfigError):
        user_counts(exposed, events)  # type: ignore[arg-type]


@pytest.mark.parametrize("shares", [0.0, 1.0, -0.1, NAN, [0.1, 0.2]])
def test_shares_that_are_no_split_are_refused(shares: object) -> None:
    with pytest.raises(ConfigError):
        user_counts(10, 1, shares=shares)  # type: ignore[arg-type]


def test_counts_add_up_over_periods() -> None:
    arm = user_counts([100, 300], [1, 5], shares=[0.1, 0.2])
    assert (arm.users, arm.users_with_event, arm.ratio) == (400, 6, 0.015)


def test_counts_cannot_be_changed_after_they_are_built() -> None:
    with pytest.raises(ValueError, match="read-only"):
        user_counts(10, 1).exposed[0] = 5


def test_a_user_counts_once_in_latency_whatever_the_order_of_requests() -> None:
    seen = first_latencies([9.0, 5.0, 7.0, 6.0], users=["b", "a", "a", "b"], order=[4, 1, 3, 2])
    assert dict(zip(seen.order.tolist(), seen.values_ms.tolist(), strict=True)) == {1.0: 5.0, 2.0: 6.0}


def test_latency_with_nan_is_refused() -> None:
    with pytest.raises(ConfigError, match="NaN"):
        first_latencies([NAN], users=["a"], order=[1])


def test_latencies_without_their_times_are_refused() -> None:
    with pytest.raises(ConfigError, match="2 latencies and 1 times"):
        user_latencies([1.0, 2.0], order=[1.0])


@pytest.mark.parametrize("wrong", [{"period": [0]}, {"period": [0, 1], "shares": [0.1]}, {"shares": [1.0]}])
def test_latencies_of_periods_that_cannot_be_are_refused(wrong: dict[str, list[float]]) -> None:
    with pytest.raises(ConfigError):
        user_latencies([1.0, 2.0], order=[1.0, 2.0], **wrong)


@pytest.mark.parametrize("column", ["counts", "before"])
def test_metric_columns_must_match_the_users(column: str) -> None:
    with pytest.raises(ConfigError, match=column):
        metric([1.0, 2.0], **{column: [1.0]})


@pytest.mark.parametrize(
    ("readings", "expected"),
    [
        ([5, 9, 12], 7),
        ([5, 9, 2], Missing(reason="counter was reset")),
        ([5], Missing(reason="counter has fewer than two readings")),
        ([5, NAN], Missing(reason="counter has readings that are no numbers")),
    ],
)
def test_a_counter_that_was_reset_or_has_gaps_is_missing(readings: list[float], expected: object) -> None:
    assert counter_increase(readings) == expected


def test_the_worst_verdict_speaks_for_all_gates() -> None:
    good, unknown, broken, bad = Successful(reason="a"), Inconclusive(reason="b"), Error(reason="c"), Failed(reason="d")
    assert combine([good, unknown, broken, bad]) is bad
    assert combine([good, unknown, broken]) is broken
    assert combine([good, unknown]) is unknown
    assert combine([good, good]) is good


def test_no_gate_at_all_is_inconclusive() -> None:
    assert word(combine([])) == "inconclusive"


def test_importing_the_room_loads_no_statistics_library() -> None:
    program = "import sys, pipelines.analysis, pipelines.analysis.verdict; print('scipy' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"
