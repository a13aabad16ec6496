"""Labels as figures over time: late, twice, never, for one arm only, text, numbers and probabilities."""

import math
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from mlflow_deploy_plugin.errors import EventStoreError
from pipelines.monitoring import accuracy, event_labels, validity
from pipelines.monitoring.event_labels import LabelCut, ScoreChoice
from pipelines.monitoring.event_summaries import ArmLabels, Oddities, Window
from pipelines.monitoring.events import EventStore
from pipelines.monitoring.exposing import Whose, of_labels
from pipelines.monitoring.performance import scores

NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)
EVENING = LabelCut(as_of=NOON + timedelta(hours=6))
HALF_HOURS = ScoreChoice(every=timedelta(minutes=30))


def rows_of(
    store: EventStore, window: Window, choice: ScoreChoice = HALF_HOURS, cut: LabelCut = EVENING
) -> tuple[accuracy.Accuracy, ...]:
    return accuracy.accuracies(store.scored(window, cut, choice), accuracy.task_of(store.kinds(window, cut)))


def test_accuracy_is_told_by_stretch_of_time_and_deployment(build: Any, store: EventStore, window: Window) -> None:
    later = NOON + timedelta(minutes=40)
    build.predictions({"request_id": "1"}, {"request_id": "2", "prediction": 0.0}, {"request_id": "3", "time": later})
    build.predictions({"request_id": "4"}, deployment="v4")
    build.labels(*({"request_id": str(number)} for number in (1, 2, 3)))
    found = [(row.deployment, row.began, row.accuracy, row.coverage) for row in rows_of(store, window)]
    assert found == [
        ("v3", NOON, 0.5, 1.0),
        ("v3", NOON + timedelta(minutes=30), 1.0, 1.0),
        ("v4", NOON, None, 0.0),
    ]


def test_probabilities_are_scored_with_their_calibration(build: Any, store: EventStore, window: Window) -> None:
    build.predictions(*({"request_id": str(n), "prediction": 0.8} for n in range(10)))
    build.labels(*({"request_id": str(n), "label": float(n < 6)} for n in range(10)))
    assert accuracy.task_of(store.kinds(window, EVENING)) == "probabilities"
    (row,) = rows_of(store, window)
    assert row.accuracy == 0.6
    assert row.root_mean_square is not None
    assert row.root_mean_square**2 == pytest.approx(0.6 * 0.04 + 0.4 * 0.64)
    (curve,) = accuracy.calibrations(store.bins(window, EVENING, HALF_HOURS))
    assert curve.began == NOON
    assert curve.error == pytest.approx(0.2)
    assert curve.curve == ((pytest.approx(0.8), 0.6, 10),)


def test_numbers_are_scored_by_their_error(build: Any, store: EventStore, window: Window) -> None:
    build.predictions({"request_id": "1", "prediction": 2.5}, {"request_id": "2", "prediction": 4.0})
    build.labels({"request_id": "1", "label": 2.0}, {"request_id": "2", "label": 5.5})
    (row,) = rows_of(store, window)
    assert (row.absolute_error, row.bias, row.accuracy) == (1.0, -0.5, None)


@pytest.mark.parametrize("odd", [1e308, -1e200, math.nan, math.inf])
def test_errors_that_cannot_be_added_up_are_left_out_and_counted(
    build: Any, store: EventStore, window: Window, odd: float
) -> None:
    build.predictions({"request_id": "1", "prediction": 2.5}, *({"request_id": n, "prediction": odd} for n in "2"))
    build.predictions({"request_id": "3"}, {"request_id": "4", "prediction": odd}, deployment="v4")
    build.labels({"request_id": "1", "label": 2.0}, {"request_id": "2"}, {"request_id": "3", "label": odd})
    row, other = rows_of(store, window)
    assert (row.labelled, row.measured) == (2, 1)
    assert (row.absolute_error, row.root_mean_square, row.bias) == (0.5, 0.5, 0.5)
    assert (other.labelled, other.measured, other.absolute_error) == (1, 0, None)


def test_the_exposed_error_is_the_mean_over_the_rows_that_have_one(
    build: Any, store: EventStore, window: Window
) -> None:
    at = {"1": (2.5, NOON), "2": (1e308, NOON), "3": (6.0, NOON + timedelta(hours=2))}
    build.predictions(*({"request_id": n, "prediction": said, "time": time} for n, (said, time) in at.items()))
    build.labels(*({"request_id": n, "label": 2.0} for n in at))
    whose = Whose(stage=window.stage, endpoint=window.endpoint)
    found = of_labels(store, whose, now=NOON + timedelta(hours=3)).samples
    assert list(found["model_absolute_error"]) == [(("v3", "1d"), 2.25), (("v3", "7d"), 2.25)]


@pytest.mark.parametrize("odd", [1e308, math.nan])
def test_a_label_or_prediction_beyond_all_numbers_makes_no_numbers_of_probabilities(
    build: Any, store: EventStore, window: Window, odd: float
) -> None:
    build.predictions(*({"request_id": str(n), "prediction": 0.8} for n in range(10)))
    build.predictions({"request_id": "10", "prediction": odd}, deployment="v4")
    build.labels(*({"request_id": str(n), "label": 1.0 if n else odd} for n in range(11)))
    assert accuracy.task_of(store.kinds(window, EVENING)) == "probabilities"
    (curve,) = accuracy.calibrations(store.bins(window, EVENING, HALF_HOURS))
    assert curve.curve == ((pytest.approx(0.8), 1.0, 9),)


def test_a_probability_that_is_no_number_is_wrong(build: Any, store: EventStore, window: Window) -> None:
    build.predictions({"request_id": "1", "prediction": 0.8}, {"request_id": "2", "prediction": math.nan})
    build.labels({"request_id": "1"}, {"request_id": "2"})
    (row,) = rows_of(store, window)
    assert row.accuracy == 0.5


def test_text_is_right_or_wrong(build: Any, store: EventStore, window: Window) -> None:
    text = {"prediction": None, "prediction_text": '"setosa"'}
    build.predictions({"request_id": "1", **text}, {"request_id": "2", **text})
    build.labels({"request_id": "1", "label": None, "label_text": '"setosa"'}, {"request_id": "2", "label": 3.0})
    (row,) = rows_of(store, window)
    assert (row.accuracy, row.absolute_error, row.unlike) == (0.5, None, 1)


@pytest.mark.parametrize(
    ("texts", "right"),
    [
        (("[1.0,0.0]", "[1,0]"), 1.0),
        (('{"a":1.0}', '{"a":1}'), 1.0),
        (("[1.05,10.0]", "[1.05,10]"), 1.0),
        (("[1.5]", "[1]"), 0.0),
        (('"1.0"', '"1"'), 0.0),
    ],
)
def test_whole_numbers_within_arrays_are_right_however_they_are_written(
    build: Any, store: EventStore, window: Window, texts: tuple[str, str], right: float
) -> None:
    said, truth = texts
    build.predictions({"request_id": "1", "prediction": None, "prediction_text": said})
    build.labels({"request_id": "1", "label": None, "label_text": truth})
    (row,) = rows_of(store, window)
    assert row.accuracy == right
    inputs = store.labelled_inputs(window, EVENING, deployment="v3", limit=1).frame
    assert list(scores(inputs, "classification")) == [1.0 - right]


def test_a_label_of_the_wrong_kind_does_not_change_how_the_others_are_scored(
    build: Any, store: EventStore, window: Window
) -> None:
    build.predictions(*({"request_id": str(number), "prediction": number + 0.5} for number in range(3)))
    build.labels(*({"request_id": str(number), "label": float(number)} for number in range(2)))
    build.labels({"request_id": "2", "label": None, "label_text": '"oops"'})
    (row,) = rows_of(store, window)
    assert (row.absolute_error, row.accuracy, row.labelled, row.measured, row.unlike) == (0.5, None, 3, 2, 1)


def test_moments_are_cut_into_quarters(build: Any, store: EventStore, window: Window) -> None:
    days = [datetime(2026, 1, 1) + timedelta(days=number) for number in range(41)]  # noqa: DTZ001  as pandas has them
    build.predictions(*({"request_id": str(n), "feature_joined": day} for n, day in enumerate(days)))
    found = rows_of(store, window, ScoreChoice(segment="joined"))
    assert [(row.segment, row.predicted) for row in found] == [
        ("1: to 2026-01-11 00:00", 11), ("2: to 2026-01-21 00:00", 10), ("3: to 2026-01-31 00:00", 10),
        ("4: above 2026-01-31 00:00", 10),
    ]  # fmt: skip


def test_numbers_without_end_lie_in_the_outer_quarters(build: Any, store: EventStore, window: Window) -> None:
    odd = [math.inf] * 30 + [-math.inf] * 30 + [math.nan] + [float(number) for number in range(41)]
    build.predictions(*({"request_id": str(n), "feature_x": value} for n, value in enumerate(odd)))
    found = rows_of(store, window, ScoreChoice(segment="x"))
    assert [(row.segment, row.predicted) for row in found] == [
        ("1: to 10", 41), ("2: to 20", 10), ("3: to 30", 10), ("4: above 30", 40), ("missing", 1),
    ]  # fmt: skip


def test_a_text_feature_cuts_segments_and_a_number_quarters(build: Any, store: EventStore, window: Window) -> None:
    build.predictions(
        *(
            {"request_id": str(n), "feature_plan": "ab"[n % 2], "feature_age": float(n), "prediction": float(n % 2)}
            for n in range(40)
        )
    )
    build.labels(*({"request_id": str(n)} for n in range(40)))
    by_plan = rows_of(store, window, ScoreChoice(segment="plan"))
    assert [(row.segment, row.accuracy) for row in by_plan] == [("a", 0.0), ("b", 1.0)]
    by_age = rows_of(store, window, ScoreChoice(segment="age"))
    assert [(row.segment, row.labelled) for row in by_age] == [
        ("1: to 9.75", 10), ("2: to 19.5", 10), ("3: to 29.25", 10), ("4: above 29.25", 10),
    ]  # fmt: skip


def test_an_unknown_segment_is_refused_with_the_known(build: Any, store: EventStore, window: Window) -> None:
    build.predictions({"request_id": "1", "feature_age": 30})
    with pytest.raises(EventStoreError, match=r"'agee' is in no logged prediction.* known: age"):
        store.scored(window, EVENING, ScoreChoice(segment="agee"))


def test_late_labels_are_no_labels(build: Any, store: EventStore, window: Window) -> None:
    build.predictions({"request_id": "1"}, {"request_id": "2"})
    build.labels({"request_id": "1"}, {"request_id": "2", "time": NOON + timedelta(hours=2)})
    cut = LabelCut(as_of=NOON + timedelta(hours=6), maturity=timedelta(hours=1))
    (row,) = rows_of(store, window, HALF_HOURS, cut)
    assert (row.mature, row.labelled) == (2, 1)


def arms(*labelled: int) -> dict[str, ArmLabels]:
    return {
        name: ArmLabels(users_mature=1000, users_labelled=count)
        for name, count in zip(("churn", "v2"), labelled, strict=True)
    }


def test_slices_add_up_to_what_one_piece_says(
    build: Any, store: EventStore, window: Window, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [{"request_id": str(n), "user_id": f"u{n % 7}", "prediction": n % 2} for n in range(40)]
    build.predictions(*rows[:25])
    build.predictions(*rows[20:], deployment="v4")
    build.labels(*({"request_id": str(n)} for n in range(0, 40, 3)))
    splits = [window.begin + timedelta(minutes=30)]
    whole = (store.coverage(window, EVENING, splits), store.scored(window, EVENING))
    monkeypatch.setattr(event_labels, "ROWS_OF_A_SLICE", 9)
    with EventStore(build.root, memory_mb=128, threads=1) as sliced:
        assert (sliced.coverage(window, EVENING, splits), sliced.scored(window, EVENING)) == whole
    assert sum(row.predicted for row in whole[1]) == 45


def test_predictions_are_counted_once_for_their_slices(
    build: Any, store: EventStore, window: Window, monkeypatch: pytest.MonkeyPatch
) -> None:
    build.predictions({"request_id": "1"})
    asked: list[str] = []
    fetch = store.scanner.fetch

    def fetch_told(query: str, given: Any = None) -> Any:
        asked.append(query)
        return fetch(query, given)

    def counts() -> int:
        return sum(query.startswith("SELECT count(*) AS size") for query in asked)

    monkeypatch.setattr(store.scanner, "fetch", fetch_told)
    assert store.coverage(window, EVENING)[0]["v3"].predicted == 1
    assert counts() == 1
    build.predictions({"request_id": "2"})
    assert store.coverage(window, EVENING)[0]["v3"].predicted == 2
    assert counts() == 2


def test_labels_for_one_arm_only_are_a_fault() -> None:
    (check,) = validity.coverage_checks([arms(800, 0)], stable="churn", canaries=["v2"])
    assert (check.scope, check.subject, check.is_ok) == ("labels", "v2", False)
    assert "0% of v2's users and for 80% of churn's" in check.detail


def test_equal_coverage_is_no_fault_however_low() -> None:
    assert not list(validity.coverage_checks([arms(30, 40)], stable="churn", canaries=["v2"]))


def test_a_difference_of_few_users_is_no_fault() -> None:
    few = {"churn": ArmLabels(users_mature=50, users_labelled=50), "v2": ArmLabels(users_mature=50)}
    assert not list(validity.coverage_checks([few], stable="churn", canaries=["v2"]))


def test_a_canary_that_grew_before_labels_came_is_no_fault() -> None:
    """Labels come for the second stretch alone, and for both arms alike; the canary has most of its users there."""
    small = {"churn": ArmLabels(users_mature=4000), "v2": ArmLabels(users_mature=400)}
    large = {
        "churn": ArmLabels(users_mature=2400, users_labelled=2400),
        "v2": ArmLabels(users_mature=1600, users_labelled=1600),
    }
    assert not list(validity.coverage_checks([small, large], stable="churn", canaries=["v2"]))
    late = {**large, "v2": ArmLabels(users_mature=1600, users_labelled=800)}
    (check,) = validity.coverage_checks([small, late], stable="churn", canaries=["v2"])
    assert "for 36% of v2's users and for 73% of churn's" in check.detail  # both weighted alike over the stretches
    assert check.scope == "labels"


def test_no_stretch_of_time_with_a_control_is_no_fault() -> None:
    assert not list(validity.coverage_checks([], stable="churn", canaries=["v2"]))


def test_odd_labels_are_told_and_block_nothing() -> None:
    odd = Oddities(duplicates=2, contradictions=1, unknown=3)
    (check,) = validity.oddity_checks(odd, late=4, endpoint="churn")
    assert check.scope == "none"
    for told in ("2 came more than once", "1 rows have labels that contradict", "3 belong to no", "4 came too late"):
        assert told in check.detail
    assert not list(validity.oddity_checks(Oddities(), late=0, endpoint="c"))
