"""Who was wrong: every user once, by the first of their predictions that has a label."""

import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pandas as pd
import pytest

from pipelines.monitoring import before, performance, validity
from pipelines.monitoring.event_labels import LabelCut
from pipelines.monitoring.event_summaries import Outcomes, Window
from pipelines.monitoring.events import EventStore, FeatureChoice
from pipelines.monitoring.exposure import Period
from pipelines.promotion.drift.evidence import Performance, UserSums

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


@pytest.mark.parametrize(
    ("says", "truth"), [(1e308, 1.5), (1.5, 1e308), (1e200, -1e200), (math.nan, 1.5), (1.5, -math.inf)]
)
def test_an_error_that_cannot_be_added_up_is_left_out_and_counted(
    build: Any, store: EventStore, window: Window, says: float, truth: float
) -> None:
    told(build, 1, user_id="ada", says=1.5, truth=1.0)
    told(build, 2, user_id="bob", says=says, truth=truth)
    told(build, 3, user_id="cy", says=says, truth=truth, arm="v3")
    error = performances(store, window)["v4"].error
    assert error is not None
    assert (error.users, error.total, error.squares) == (1, 0.5, 0.25)
    outcomes = store.outcomes(window, LabelCut(as_of=window.end), arms=ARMS, splits=[])
    assert [(row.deployment, row.measured, row.unmeasured) for row in outcomes] == [("v3", 0, 1), ("v4", 1, 1)]


@pytest.mark.parametrize("odd", [math.nan, math.inf])
def test_a_prediction_that_is_not_finite_is_a_wrong_class_and_makes_no_numbers_of_the_others(
    build: Any, store: EventStore, window: Window, odd: float
) -> None:
    told(build, 1, user_id="ada", says=1.0, truth=1.0)
    told(build, 2, user_id="bob", says=odd, truth=1.0)
    wrong = performances(store, window)["v4"].wrong
    assert wrong is not None
    assert (wrong.exposed, wrong.events) == ((2,), (1,))


def test_users_left_out_are_told_and_where_they_are_many_nothing_is_compared_by_labels() -> None:
    few, many = (outcome("v3", measured=990, unmeasured=10), outcome("v4", measured=60, unmeasured=40))
    one, other = validity.unmeasured_checks([few, many, outcome("v5", measured=9, unmeasured=0)])
    assert (one.subject, one.scope, one.is_ok) == ("v3", "none", False)
    assert one.detail.endswith("10 of 1000 users of v3 is not finite or beyond 1e+140; their errors are left out")
    assert (other.subject, other.scope, other.is_ok) == ("v4", "labels", False)
    assert "40 of 100 users of v4" in other.detail


def test_labels_that_no_version_ever_answers_are_told_and_tell_nothing() -> None:
    def wrong(arm: str, wrong: int, users: int = 60) -> Outcomes:
        return replace(outcome(arm, measured=users, unmeasured=0), wrong=wrong)

    (told,) = validity.contrary_checks([wrong("v3", 60), wrong("v4", 60)], needed=50)
    assert (told.scope, told.is_ok) == ("labels", False)
    assert "none of 120 users was answered what their label says, by any version" in told.detail
    assert [*validity.contrary_checks([wrong("v3", 59), wrong("v4", 60)], needed=50)] == [], "the canary may be so bad"
    assert [*validity.contrary_checks([wrong("v3", 60), wrong("v4", 40, users=40)], needed=50)] == [], "that is chance"
    assert [*validity.contrary_checks([], needed=50)] == []


def outcome(arm: str, *, measured: int, unmeasured: int) -> Outcomes:
    return Outcomes(
        deployment=arm, period=0, users=measured, wrong=0, measured=measured, unmeasured=unmeasured, total=0.0,
        squares=0.0, has_fractions=True, kinds=9,
    )  # fmt: skip


@pytest.mark.parametrize("odd", [1e308, -1e200, math.nan, math.inf])
def test_the_version_before_is_compared_by_the_errors_that_can_be_added_up(odd: float) -> None:
    rows = pd.DataFrame({"prediction": [1.5, odd, 2.0, 3.0], "label": [1.0, 1.0, odd, 2.0]})
    rows = rows.assign(prediction_text=None, label_text=None)
    found = before.compared(rows, [1.0, 1.0, 1.0, odd], deployment="v3", model_digest="d")
    assert found.differences == UserSums(users=1, total=0.5, squares=0.25)
    assert found.old_error == 0.0


@pytest.mark.parametrize("limit", [5, 40])
def test_a_sample_of_users_grows_into_a_larger_one(build: Any, store: EventStore, window: Window, limit: int) -> None:
    rows = [{"request_id": f"{n}", "user_id": f"u{n % 100}", "feature_n": n % 100} for n in range(1000)]
    build.predictions(*rows)

    def sampled(users: int) -> list[int]:
        choice = FeatureChoice(limit=users, order="sample", is_one_per_user=True)
        return list(store.features(window, choice).frame["n"])

    assert sampled(limit) == sampled(100)[:limit]
    assert len(set(sampled(100))) == 100
