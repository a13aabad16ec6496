"""Who watches a loop that stands still."""

import itertools
import threading
from collections.abc import Callable
from time import perf_counter

from mlflow_deploy_plugin.serving.watchdog import Watchdog

LIMIT_S, PERIOD_S, PATIENCE_S = 5.0, 0.01, 20.0


def bites(standing_since: Callable[[], float | None], *, looks: int) -> list[float]:
    """What a watchdog that looked so often has bitten for."""
    bitten: list[float] = []
    has_seen = threading.Event()
    counted = itertools.count(1)

    def look() -> float | None:
        if next(counted) > looks:
            has_seen.set()
            return None
        return standing_since()

    def bite(seconds: float) -> None:
        bitten.append(seconds)
        has_seen.set()

    watchdog = Watchdog(look, bite, limit_s=LIMIT_S, period_s=PERIOD_S)
    assert has_seen.wait(PATIENCE_S)
    watchdog.stop()
    return bitten


def test_a_call_that_stands_beyond_its_time_at_two_looks_is_bitten_for_once() -> None:
    since = perf_counter() - LIMIT_S - 1
    (seconds,) = bites(lambda: since, looks=9)
    assert seconds > LIMIT_S


def test_calls_that_end_in_time_and_none_at_all_are_let_be() -> None:
    assert bites(perf_counter, looks=9) == []
    assert bites(lambda: None, looks=9) == []


def test_a_call_that_is_over_at_the_next_look_is_let_be_though_it_seemed_to_take_long() -> None:
    said = itertools.cycle([perf_counter() - LIMIT_S - 1, None])
    assert bites(lambda: next(said), looks=9) == []
    others = itertools.count(perf_counter() - LIMIT_S - 9, 0.1)  # each look finds another call
    assert bites(lambda: next(others), looks=9) == []
