"""Who was wrong: every user once, by the first of their predictions that has a label."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from pipelines.monitoring import performance
from pipelines.monitoring.event_labels import LabelCut
from pipelines.monitoring.event_summaries import Window
from pipelines.monitoring.events import EventStore, FeatureChoice
from pipelines.monitoring.exposure import Period
from pipelines.promotion.drift.evidence import Performance

HOUR = timedelta(hours=1)
ARMS = ("v3", "v4")


def performances(
    store: EventStore, window: Window, found: Sequence[Period] = (), *, as_of: timedelta = 9 * HOUR
) -> dict[str, Performance]:
    cut = LabelCut(as_of=window.begin + as_of)
    outcomes = store.outcomes(window, cut, arms=ARMS, splits=[period.began for period in found])
    return performance.performances(outcomes, arms=ARMS, found=found, coverage={})


def told(build: Any, number: int, *, says: Any, truth: Any, arm: str = "v4", **more: Any) -> None:
    """One prediction and its label; text where they are text."""
    as_text = isinstance(says, str)
    said = {"prediction": None, "prediction_text": says} if as_text else {"prediction": says}
    true = {"label": None, "label_text": truth} if isinstance(truth, str) else {"label": truth}
    build.predictions({"request_id": str(number), **said, **more}, deployment=arm)
    build.labels({"request_id": str(number), **true})


def test_a_user_counts_once_by_the_first_labelled_prediction(build: Any, store: EventStore, window: Window) -> None:
    later = window.begin + 1.5 * HOUR
    build.predictions({"request_id": "0", "user_id": "ada", "time": window.begin}, deployment="v4")  # never labelled
    told(build, 1, user_id="ada", says=1.0, truth=0.0)
    told(build, 2, user_id="ada", says=1.0, truth=1.0, time=later)
    told(build, 3, user_id="bob", says=1.0, truth=1.0)
    found = performances(store, window)
    assert set(found) == {"v4"}
    assert found["v4"].wrong is not None
    assert (found["v4"].wrong.exposed, found["v4"].wrong.events) == ((2,), (1,))


def test_a_user_of_both_arms_belongs_to_the_first(build: Any, store: EventStore, window: Window) -> None:
    told(build, 1, user_id="ada", says=1.0, truth=1.0, arm="v3")
    told(build, 2, user_id="ada", says=1.0, truth=0.0, time=window.begin + 1.5 * HOUR)
    found = performances(store, window)
    assert {arm: each.users for arm, each in found.items()} == {"v3": 1}


def test_outcomes_lie_in_the_period_of_constant_split(build: Any, store: EventStore, window: Window) -> None:
    found = [
        Period(began=window.begin + minutes * HOUR / 60, commits=(), shares={"v3": 0.9, "v4": 0.1}, users={}, failed={})
        for minutes in (30, 90)
    ]
    for number, minutes in enumerate((10, 40, 50, 100)):
        told(build, number, user_id=f"u{number}", says=1.0, truth=minutes % 20, time=window.begin + minutes * HOUR / 60)
    wrong = performances(store, window, found)["v4"].wrong
    assert wrong is not None
    assert (wrong.exposed, wrong.events, wrong.shares) == ((2, 1), (2, 1), (0.1, 0.1))


def test_text_labels_are_classes(build: Any, store: EventStore, window: Window) -> None:
    told(build, 1, user_id="ada", says='"yes"', truth='"no"')
    told(build, 2, user_id="bob", says='"yes"', truth='"yes"')
    told(build, 3, user_id="cy", says='"yes"', truth=1.0)  # cannot be compared
    wrong = performances(store, window)["v4"].wrong
    assert wrong is not None
    assert (wrong.exposed, wrong.events) == ((2,), (1,))


def test_numbers_that_are_not_whole_are_scored_by_their_absolute_error(
    build: Any, store: EventStore, window: Window
) -> None:
    told(build, 1, user_id="ada", says=1.5, truth=1.0)
    told(build, 2, user_id="bob", says=2.0, truth=4.0)
    error = performances(store, window)["v4"].error
    assert error is not None
    assert (error.users, error.total, error.squares) == (2, 2.5, 4.25)


def test_whole_numbers_of_many_kinds_are_counts_and_no_classes(build: Any, store: EventStore, window: Window) -> None:
    rows = [{"request_id": str(n), "user_id": str(n), "prediction": float(n)} for n in range(200)]
    build.predictions(*rows, deployment="v4")
    build.labels(*({"request_id": str(n), "label": n + 1.0} for n in range(200)))
    error = performances(store, window)["v4"].error
    assert error is not None
    assert (error.users, error.mean) == (200, 1.0)


@pytest.mark.parametrize("limit", [5, 40])
def test_a_sample_of_users_grows_into_a_larger_one(build: Any, store: EventStore, window: Window, limit: int) -> None:
    rows = [{"request_id": f"{n}", "user_id": f"u{n % 100}", "feature_n": n % 100} for n in range(1000)]
    build.predictions(*rows)

    def sampled(users: int) -> list[int]:
        choice = FeatureChoice(limit=users, order="sample", is_one_per_user=True)
        return list(store.features(window, choice).frame["n"])

    assert sampled(limit) == sampled(100)[:limit]
    assert len(set(sampled(100))) == 100
