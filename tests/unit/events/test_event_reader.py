"""The event store as decisions read it."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlflow_deploy_plugin.errors import ConfigError, EventStoreError
from pipelines.monitoring.event_labels import LabelCut, ScoreChoice
from pipelines.monitoring.event_summaries import ArmLabels, Exposure, Window
from pipelines.monitoring.events import EventStore, FeatureChoice
from pipelines.monitoring.performance import scores, task_of

NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)
EVENING = LabelCut(as_of=NOON + timedelta(hours=6))


def minutes(number: float) -> timedelta:
    return timedelta(minutes=number)


def test_users_are_counted_once_in_the_arm_that_was_assigned(build: Any, store: EventStore, window: Window) -> None:
    build.attempts({"request_id": "1", "user_id": "ann"}, {"request_id": "2", "user_id": "ann"})
    build.attempts({"request_id": "3", "user_id": "bob"}, deployment="v4")
    assert {name: arm.users for name, arm in store.exposure(window).arms.items()} == {"v3": 1, "v4": 1}


def test_an_anonymous_request_is_a_user_of_its_own(build: Any, store: EventStore, window: Window) -> None:
    build.attempts({"request_id": "1"}, {"request_id": "2"})
    assert store.exposure(window).arms["v3"].users == 2


@pytest.mark.parametrize(
    ("tried", "answered"),
    [({"status": 500}, 2), ({"status": 0, "flags": "UH", "attempt": 0}, 1)],
    ids=["it failed", "it had no healthy host"],
)
def test_the_canarys_error_counts_once_although_stable_answered(
    build: Any, store: EventStore, window: Window, tried: dict[str, Any], answered: int
) -> None:
    build.attempts({"request_id": "1", **tried}, deployment="v4")
    build.attempts({"request_id": "1", "assigned": "v4", "attempt": answered}, deployment="v3")
    arm = store.exposure(window).arms["v4"]
    assert (arm.users, arm.users_with_error) == (1, 1)
    assert "v3" not in store.exposure(window).arms


@pytest.mark.parametrize(
    ("attempt", "is_failed"),
    [
        ({"status": 200}, False),
        ({"status": 400}, False),
        ({"status": 400, "flags": "MF"}, True),
        ({"status": 0, "flags": "DC"}, False),
        ({"status": 429}, True),
        ({"status": 503}, True),
        ({"status": 0, "flags": "UF"}, True),
        ({"status": 0, "flags": "UH", "attempt": 0}, True),
        ({"status": 200, "flags": "UPE"}, True),
    ],
)
def test_a_failure_is_no_answer_a_cut_one_or_a_refusal(
    build: Any, store: EventStore, window: Window, attempt: dict[str, Any], *, is_failed: bool
) -> None:
    build.attempts({"request_id": "1", **attempt})
    assert store.exposure(window).arms["v3"].users_with_error == int(is_failed)


def test_overrides_stay_out_of_the_arms(build: Any, store: EventStore, window: Window) -> None:
    build.attempts({"request_id": "1", "assigned": "", "override": "v3", "status": 500})
    assert store.exposure(window) == Exposure(arms={})
    build.attempts({"request_id": "2"}, {"request_id": "3", "assigned": "", "override": "v3", "status": 500})
    arm = store.exposure(window).arms["v3"]
    assert (arm.users, arm.users_with_error) == (1, 0)


def test_periods_follow_the_commits(build: Any, store: EventStore, window: Window) -> None:
    build.attempts({"request_id": "1", "user_id": "ann"}, {"request_id": "2", "user_id": "bob"})
    build.attempts(
        {"request_id": "3", "user_id": "ann", "commit": "c2", "time": NOON + minutes(5)},
        {"request_id": "4", "user_id": "cy", "commit": "c2", "time": NOON + minutes(5)},
    )
    periods = store.exposure(window).arms["v3"].periods
    assert [(period.commit, period.began, period.users) for period in periods] == [
        ("c1", NOON, 2),
        ("c2", NOON + minutes(5), 1),
    ]


def test_a_user_whom_the_canary_takes_over_stays_where_they_were(build: Any, store: EventStore, window: Window) -> None:
    build.attempts({"request_id": "1", "user_id": "ann"})
    build.attempts({"request_id": "2", "user_id": "ann", "time": NOON + minutes(5), "status": 500}, deployment="v4")
    exposure = store.exposure(window)
    (period,) = exposure.arms["v3"].periods
    assert (period.users, period.users_with_error, period.users_moved) == (1, 0, 1)
    assert "v4" not in exposure.arms


def test_the_window_includes_its_begin_and_not_its_end(build: Any, store: EventStore, window: Window) -> None:
    build.attempts({"request_id": "1"})
    assert store.exposure(replace(window, end=NOON)).arms == {}
    assert store.exposure(replace(window, begin=NOON)).arms["v3"].users == 1


def test_a_window_over_midnight_reads_both_days(build: Any, store: EventStore, window: Window) -> None:
    build.attempts({"request_id": "1", "time": NOON})
    build.attempts({"request_id": "2", "time": NOON + timedelta(hours=13)})
    assert store.exposure(replace(window, end=NOON + timedelta(days=1))).arms["v3"].users == 2


def test_other_endpoints_and_stages_are_not_seen(build: Any, store: EventStore, window: Window) -> None:
    build.attempts({"request_id": "1"})
    assert store.exposure(replace(window, endpoint="other")).arms == {}
    assert store.exposure(replace(window, stage="staging")).arms == {}


def test_a_window_without_a_time_zone_is_refused(window: Window) -> None:
    with pytest.raises(ConfigError, match="no time zone"):
        replace(window, begin=NOON.replace(tzinfo=None))


def test_an_empty_store_answers_with_nothing(store: EventStore, window: Window) -> None:
    assert store.exposure(window) == Exposure(arms={})
    assert store.labels(window, EVENING).arms == {}
    assert store.features(window).frame.empty
    assert store.outcomes(window, EVENING, arms=["v3"]) == ()
    assert len(store.latencies(window, arms=["v3"]).values_ms) == 0


def test_latency_is_that_of_each_users_first_answer(build: Any, store: EventStore, window: Window) -> None:
    build.attempts(
        {"request_id": "1", "user_id": "ann", "latency_ms": 9.0, "time": NOON + minutes(1)},
        {"request_id": "2", "user_id": "ann", "latency_ms": 3.0},
        {"request_id": "3", "user_id": "bob", "latency_ms": 4.0},
        {"request_id": "4", "user_id": "cy", "latency_ms": 1.0, "status": 500},
        {"request_id": "5", "user_id": "dee", "latency_ms": 2.0, "assigned": "v4", "attempt": 2},
    )
    sample = store.latencies(window, arms=["v3", "v4"])
    assert sorted(sample.values_ms) == [3.0, 4.0]
    assert set(sample.seen) == {NOON.timestamp()}
    assert (set(sample.arm), set(sample.commit)) == ({"v3"}, {"c1"})


def test_a_user_who_moves_to_the_canary_keeps_the_latency_of_the_first_arm(
    build: Any, store: EventStore, window: Window
) -> None:
    build.attempts({"request_id": "1", "user_id": "ann", "latency_ms": 9.0, "commit": "c1"})
    moved = {"request_id": "2", "user_id": "ann", "latency_ms": 3.0, "commit": "c2", "time": NOON + minutes(1)}
    build.attempts(moved, deployment="v4")
    sample = store.latencies(window, arms=["v3", "v4"])
    assert (list(sample.arm), list(sample.commit), list(sample.values_ms)) == (["v3"], ["c1"], [9.0])


def test_a_user_whom_the_first_arm_never_answered_has_no_latency(build: Any, store: EventStore, window: Window) -> None:
    build.attempts({"request_id": "1", "user_id": "ann", "status": 503}, deployment="v4")
    build.attempts({"request_id": "2", "user_id": "ann", "time": NOON + minutes(1)}, deployment="v3")
    assert len(store.latencies(window, arms=["v3", "v4"]).values_ms) == 0


def test_a_sample_of_latencies_keeps_the_split(build: Any, store: EventStore, window: Window) -> None:
    build.attempts(*({"request_id": f"s{n}", "user_id": f"s{n}"} for n in range(900)), deployment="v3")
    build.attempts(*({"request_id": f"c{n}", "user_id": f"c{n}"} for n in range(100)), deployment="v4")
    arms = list(store.latencies(window, arms=["v3", "v4"], limit=500).arm)
    assert len(arms) == 500
    assert 30 <= arms.count("v4") <= 70


# -- labels ------------------------------------------------------------------------------------------------------


def test_labels_join_by_request_and_row(build: Any, store: EventStore, window: Window) -> None:
    build.predictions(
        {"request_id": "1", "row": 0, "prediction": 1.0}, {"request_id": "1", "row": 1, "prediction": 0.0}
    )
    build.labels({"request_id": "1", "row": 1, "label": 1.0})
    (found,) = store.outcomes(window, EVENING, arms=["v3"])
    assert (found.users, found.wrong, found.total) == (1, 1, 1.0)


def test_coverage_is_told_per_arm(build: Any, store: EventStore, window: Window) -> None:
    build.predictions({"request_id": "1"}, {"request_id": "2"})
    build.predictions({"request_id": "3", "prediction": 0.0}, deployment="v4")
    build.labels({"request_id": "1"}, {"request_id": "3"})
    labels = store.labels(window, EVENING)
    assert labels.arms == {
        "v3": ArmLabels(predicted=2, labelled=1, mature=2, mature_labelled=1, users_mature=2, users_labelled=1),
        "v4": ArmLabels(predicted=1, labelled=1, mature=1, mature_labelled=1, users_mature=1, users_labelled=1),
    }
    assert labels.arms["v3"].coverage == 0.5


def test_a_row_matures_once_and_never_changes_again(build: Any, store: EventStore, window: Window) -> None:
    build.predictions({"request_id": "1"}, {"request_id": "2"}, {"request_id": "3", "time": NOON + minutes(50)})
    build.labels({"request_id": "1", "time": NOON + minutes(20)}, {"request_id": "2", "time": NOON + minutes(40)})
    build.labels({"request_id": "of somebody else", "time": NOON + minutes(90)})
    answers = []
    for hours in (1, 5):
        cut = LabelCut(as_of=NOON + timedelta(hours=hours), maturity=minutes(30))
        answers.append(store.labels(window, cut).arms["v3"])
    assert [(arm.mature, arm.mature_labelled, arm.late) for arm in answers] == [(2, 1, 1), (3, 1, 1)]


def test_rows_do_not_mature_while_no_label_arrives_at_all(build: Any, store: EventStore, window: Window) -> None:
    build.predictions({"request_id": "1"}, {"request_id": "2", "time": NOON + minutes(50)})
    build.labels({"request_id": "1", "time": NOON + minutes(31)})
    answers = [
        store.labels(window, LabelCut(as_of=NOON + timedelta(hours=hours), maturity=minutes(30))) for hours in (1, 9)
    ]
    assert [(found.arms["v3"].mature, found.odd.newest) for found in answers] == [(1, NOON + minutes(31))] * 2


def test_a_feed_that_stood_still_before_the_window_matures_nothing_in_it(
    build: Any, store: EventStore, window: Window
) -> None:
    build.predictions({"request_id": "1"})
    build.labels({"request_id": "of somebody else", "time": NOON - timedelta(days=20)})
    found = store.labels(window, LabelCut(as_of=NOON + timedelta(hours=9), maturity=minutes(30)))
    assert (found.arms["v3"].mature, found.odd.newest) == (0, NOON - timedelta(days=20))


def test_labels_that_had_not_come_yet_are_not_seen(build: Any, store: EventStore, window: Window) -> None:
    build.predictions({"request_id": "1"})
    build.labels({"request_id": "1", "time": NOON + timedelta(hours=2)})
    early = LabelCut(as_of=NOON + timedelta(hours=1))
    assert store.labels(window, early).arms["v3"].labelled == 0
    assert store.labels(window, EVENING).arms["v3"].labelled == 1


def test_the_first_label_wins_and_the_others_are_counted(build: Any, store: EventStore, window: Window) -> None:
    build.predictions({"request_id": "1"}, {"request_id": "2"})
    build.labels({"request_id": "1", "label": 1.0})
    build.labels({"request_id": "1", "label": None, "label_text": '"x"', "time": NOON + minutes(2)})
    build.labels({"request_id": "2"}, {"request_id": "2", "time": NOON + minutes(2)})
    labels = store.labels(window, EVENING)
    assert (labels.odd.duplicates, labels.odd.contradictions) == (2, 1)
    (found,) = store.outcomes(window, EVENING, arms=["v3"])
    assert (found.users, found.wrong, found.measured) == (2, 0, 2)


def test_labels_of_one_moment_are_the_same_at_every_look_however_they_lie(build: Any, window: Window) -> None:
    keys = [str(number) for number in range(4000)]
    build.predictions(*({"request_id": key} for key in keys))
    path = build.labels(*({"request_id": key, "label": label} for label in (1.0, 0.0) for key in keys))
    rows = pq.ParquetFile(path).read()
    found = []
    for order in (rows, rows.take(list(range(len(rows)))[::-1])):
        pq.write_table(order, path, row_group_size=500)
        with EventStore(build.root, memory_mb=128, threads=2) as store:
            outcomes = store.outcomes(window, EVENING, arms=["v3"])
        found.append(sum(row.wrong for row in outcomes))
    assert found[0] == found[1]


def test_labels_of_unknown_requests_are_counted(build: Any, store: EventStore, window: Window) -> None:
    build.predictions({"request_id": "1"})
    build.labels({"request_id": "1"}, {"request_id": "1", "row": 7}, {"request_id": "never"})
    odd = store.labels(window, EVENING).odd
    assert (odd.unknown, odd.since) == (2, window.begin - timedelta(hours=2))


def test_a_label_by_a_clock_that_is_behind_still_counts(build: Any, store: EventStore, window: Window) -> None:
    build.predictions({"request_id": "1", "time": window.begin})
    build.labels({"request_id": "1", "time": window.begin - minutes(10)})
    assert store.labels(window, EVENING).arms["v3"].labelled == 1


def test_a_prediction_that_was_logged_twice_is_one_row(build: Any, store: EventStore, window: Window) -> None:
    build.predictions({"request_id": "1"})
    build.predictions({"request_id": "1", "time": NOON + minutes(1)})
    build.labels({"request_id": "1"})
    arm = store.labels(window, EVENING).arms["v3"]
    assert (arm.predicted, arm.labelled) == (1, 1)


def test_fallbacks_stay_out_of_the_arm_that_answered(build: Any, store: EventStore, window: Window) -> None:
    build.predictions({"request_id": "1", "assigned": "v4"}, deployment="v3")
    assert store.labels(window, EVENING).arms == {}
    assert store.labels(replace(window, population="all"), EVENING).arms["v3"].predicted == 1


def test_a_text_answer_is_right_when_its_label_says_the_same(build: Any, store: EventStore, window: Window) -> None:
    text = {"prediction": None, "prediction_text": '"setosa"'}
    build.predictions({"request_id": "1", **text}, {"request_id": "2", **text})
    build.labels({"request_id": "1", "label": None, "label_text": '"setosa"'})
    build.labels({"request_id": "2", "label": None, "label_text": '"other"'})
    (scored,) = store.scored(window, EVENING)
    assert (scored.labelled, scored.wrong) == (2, 1)


def test_several_whole_numbers_are_the_same_however_a_version_writes_them(
    build: Any, store: EventStore, window: Window
) -> None:
    said = ["[1.0,0.0]", "[1,0]", '{"a":1.0,"b":[0.0]}', "[1.0,2.5]", '["1.0"]']
    true = ["[1,0]", "[1.0,0.0]", '{"a":1,"b":[0]}', "[1,25]", '["1"]']
    build.predictions(*({"request_id": str(n), "prediction": None, "prediction_text": t} for n, t in enumerate(said)))
    build.labels(*({"request_id": str(n), "label": None, "label_text": t} for n, t in enumerate(true)))
    (found,) = store.outcomes(window, EVENING, arms=["v3"])
    assert (found.users, found.wrong) == (5, 2)
    logged = store.labelled_inputs(window, EVENING, deployment="v3", limit=9).frame
    assert sorted(scores(logged, "classification")) == [0.0, 0.0, 0.0, 1.0, 1.0]


def test_an_answer_that_scores_each_class_says_the_best_of_them(build: Any, store: EventStore, window: Window) -> None:
    said = ["[0.2,0.7,0.1]", "[0.9,0.05,0.05]", "[1e-05,2e-05,9]", "[-1,-2]", "[0.5,0.5]"]
    true = [1.0, 1.0, 2.0, 0.0, 1.0]  # of two that are best alike the first counts, as NumPy's argmax has it
    build.predictions(*({"request_id": str(n), "prediction": None, "prediction_text": t} for n, t in enumerate(said)))
    build.labels(*({"request_id": str(n), "label": label} for n, label in enumerate(true)))
    (scored,) = store.scored(window, EVENING)
    assert (scored.labelled, scored.wrong, scored.unlike) == (5, 2, 0)
    (found,) = store.outcomes(window, EVENING, arms=["v3"])
    assert (found.users, found.wrong, found.has_fractions) == (5, 2, False)
    logged = store.labelled_inputs(window, EVENING, deployment="v3", limit=9).frame
    assert task_of(logged) == "classification"
    assert sorted(scores(logged, "classification")) == [0.0, 0.0, 0.0, 1.0, 1.0]


@pytest.mark.parametrize(
    "said", ["[true,false]", '["1","2"]', "[null,2]", "[[1,2],[3]]", "[]", "[--1,2]", '{"a":1}', '"[1,2]"']
)
def test_what_is_no_list_of_scores_is_like_no_number(build: Any, store: EventStore, window: Window, said: str) -> None:
    build.predictions({"request_id": "1", "prediction": None, "prediction_text": said})
    build.labels({"request_id": "1", "label": 1.0})
    (scored,) = store.scored(window, EVENING)
    assert (scored.wrong, scored.unlike) == (1, 1)
    logged = store.labelled_inputs(window, EVENING, deployment="v3", limit=9).frame
    assert scores(logged, "classification").isna().all()


def test_several_numbers_beside_a_label_of_several_are_compared_as_they_are(
    build: Any, store: EventStore, window: Window
) -> None:
    build.predictions({"request_id": "1", "prediction": None, "prediction_text": "[0.5,2.5]"})
    build.labels({"request_id": "1", "label": None, "label_text": "[0.5,2.5]"})
    (scored,) = store.scored(window, EVENING)
    assert (scored.wrong, scored.unlike) == (0, 0)


# -- features ----------------------------------------------------------------------------------------------------


def test_features_come_by_their_own_names(build: Any, store: EventStore, window: Window) -> None:
    build.predictions({"request_id": "1", "feature_age": 30, 'feature_in"come': 5.5})
    frame = store.features(window).frame
    assert list(frame.columns) == ["deployment", "time", "status", "prediction", "prediction_text", "age", 'in"come']


def test_features_that_are_called_like_columns_of_the_log_keep_their_names_and_values(
    build: Any, store: EventStore, window: Window
) -> None:
    own = ("deployment", "time", "status", "prediction", "prediction_text", "label", "label_text", "row", "user_id")
    names = [*own, ""]
    build.predictions({"request_id": "1", **{f"feature_{name}": number for number, name in enumerate(names)}})
    build.labels({"request_id": "1"})
    chosen = FeatureChoice(is_one_per_user=True, order="sample")
    labelled = store.labelled_inputs(window, LabelCut(as_of=window.end), deployment="v3", limit=9).frame
    for frame, before in ((store.features(window).frame, 5), (store.features(window, chosen).frame, 5), (labelled, 4)):
        assert list(frame.columns[before:]) == names
        assert frame.iloc[0, before:].tolist() == list(range(len(names)))


def test_columns_and_deployments_are_chosen(build: Any, store: EventStore, window: Window) -> None:
    build.predictions({"request_id": "1", "feature_age": 30, "feature_x": 1})
    build.predictions({"request_id": "2", "feature_age": 40, "feature_x": 1}, deployment="v4")
    frame = store.features(window, FeatureChoice(deployment="v4", columns=["age"])).frame
    assert (list(frame["age"]), "x" in frame.columns) == ([40], False)


def test_an_unknown_feature_is_refused_with_the_known(build: Any, store: EventStore, window: Window) -> None:
    build.predictions({"request_id": "1", "feature_age": 30})
    with pytest.raises(EventStoreError, match=r"'agee' is in no logged prediction.* known: age"):
        store.features(window, FeatureChoice(columns=["agee"]))


def test_a_limit_keeps_the_newest(build: Any, store: EventStore, window: Window) -> None:
    build.predictions(*({"request_id": str(n), "time": NOON + minutes(n), "feature_n": n} for n in range(10)))
    assert list(store.features(window, FeatureChoice(limit=3)).frame["n"]) == [9, 8, 7]


def test_a_sample_is_the_same_on_every_tick(build: Any, store: EventStore, window: Window) -> None:
    build.predictions(*({"request_id": str(n), "time": NOON + minutes(n), "feature_n": n} for n in range(50)))
    choice = FeatureChoice(limit=10, order="sample")
    first, second = (list(store.features(window, choice).frame["n"]) for _ in range(2))
    assert first == second
    assert max(first) - min(first) > 20


def test_one_row_per_user_is_their_first(build: Any, store: EventStore, window: Window) -> None:
    build.predictions(
        {"request_id": "2", "user_id": "ann", "time": NOON + minutes(1), "feature_n": 2},
        {"request_id": "1", "user_id": "ann", "feature_n": 1},
        {"request_id": "1", "user_id": "ann", "row": 1, "feature_n": 9},
        {"request_id": "3", "feature_n": 3},
    )
    frame = store.features(window, FeatureChoice(is_one_per_user=True)).frame
    assert sorted(frame["n"]) == [1, 3]


def test_a_column_that_came_later_is_missing_before(build: Any, store: EventStore, window: Window) -> None:
    build.predictions({"request_id": "1", "feature_a": 1})
    build.predictions({"request_id": "2", "feature_a": 1, "feature_b": 2})
    assert store.features(window).frame["b"].isna().sum() == 1


# -- files that are not what they should be ----------------------------------------------------------------------


@pytest.mark.parametrize("odd", [[1.0, 2.0], NOON, b"3"], ids=["list", "moment", "bytes"])
def test_a_feature_of_two_kinds_is_that_of_most_rows_and_missing_in_the_others(
    build: Any, store: EventStore, window: Window, odd: Any
) -> None:
    build.predictions(*({"request_id": number, "feature_age": 30, "feature_plan": "a"} for number in "12"))
    build.predictions({"request_id": "3", "feature_age": odd, "feature_plan": "b"})
    frame = store.features(window).frame
    assert (frame["age"].dropna().tolist(), sorted(frame["plan"])) == ([30, 30], ["a", "a", "b"])
    assert store.features(window).unreadable == ()


def test_a_version_that_takes_another_kind_of_value_has_its_own(build: Any, store: EventStore, window: Window) -> None:
    build.predictions(*({"request_id": str(number), "feature_joined": number} for number in range(3)))
    build.predictions({"request_id": "4", "feature_joined": NOON.replace(tzinfo=None)}, deployment="v4")
    build.labels({"request_id": "1"}, {"request_id": "4"})
    old, new = (store.features(window, FeatureChoice(deployment=name)).frame["joined"] for name in ("v3", "v4"))
    assert (sorted(old), list(new)) == ([0, 1, 2], [NOON.replace(tzinfo=None)])
    found = store.labelled_inputs(window, EVENING, deployment="v4", limit=10).frame
    assert list(found["joined"]) == [NOON.replace(tzinfo=None)]
    by_value = store.scored(window, EVENING, ScoreChoice(segment="joined"))
    assert [(row.deployment, row.segment) for row in by_value] == [
        ("v3", "0"),
        ("v3", "1"),
        ("v3", "2"),
        ("v4", "missing"),
    ]


def test_a_torn_file_is_left_out_and_named(
    build: Any, store: EventStore, window: Window, logged: Callable[[EventStore], int]
) -> None:
    whole = build.attempts({"request_id": "1"})
    torn = whole.with_name("torn.parquet")
    torn.write_bytes(whole.read_bytes()[:-100])
    assert store.exposure(window).unreadable == (str(torn),)
    assert logged(store) == 1


def test_a_file_that_is_damaged_within_is_left_out_and_named(
    build: Any, store: EventStore, window: Window, logged: Callable[[EventStore], int]
) -> None:
    whole = build.attempts({"request_id": "1"})
    damaged = whole.with_name("damaged.parquet")
    content = bytearray(whole.read_bytes())
    content[4 : len(content) // 2] = b"\xff" * (len(content) // 2 - 4)
    damaged.write_bytes(content)
    assert store.exposure(window).unreadable == (str(damaged),)
    assert logged(store) == 1


@pytest.mark.parametrize(
    "time",
    [pa.array([NOON], pa.timestamp("ns", "UTC")), pa.array([NOON.replace(tzinfo=None)]), [NOON.isoformat()]],
    ids=["nanoseconds", "no zone", "text"],
)
def test_files_that_others_wrote_are_read_by_the_types_that_are_agreed_on(
    build: Any, store: EventStore, window: Window, time: Any
) -> None:
    ours = build.predictions({"request_id": "1", "feature_age": 30})
    theirs = {"request_id": ["2"], "time": time, "status": ["success"], "assigned": ["v3"], "prediction": ["1"]}
    pq.write_table(pa.table({**theirs, "feature_age": [40]}), ours.with_name("theirs.parquet"))
    pq.write_table(pa.table({"something": ["else"]}), ours.with_name("else.parquet"))
    frame = store.features(window).frame
    assert (sorted(frame["age"]), list(frame["prediction"])) == ([30, 40], [1.0, 1.0])


def test_a_file_of_other_columns_alone_holds_nothing(build: Any, store: EventStore, window: Window) -> None:
    path = build.attempts({"request_id": "1"})
    pq.write_table(pa.table({"something": ["else"]}), path)
    assert store.exposure(window) == Exposure(arms={})


def test_what_is_no_file_or_in_no_partition_is_named(build: Any, store: EventStore, window: Window) -> None:
    path = build.attempts({"request_id": "1", "user_id": "ann"})
    folder, link = path.with_name("folder.parquet"), path.with_name("link.parquet")
    folder.mkdir()
    link.symlink_to("nowhere")
    stray = path.parents[1] / "stray.parquet"
    stray.write_bytes(path.read_bytes())
    exposure = store.exposure(window)
    assert exposure.arms["v3"].users == 1
    assert set(exposure.unreadable) == {str(folder), str(link), str(stray)}


def test_an_empty_file_is_named(build: Any, store: EventStore, window: Window) -> None:
    build.attempts({"request_id": "1"}).with_name("empty.parquet").touch()
    assert len(store.exposure(window).unreadable) == 1


def test_files_that_are_being_written_are_not_seen(
    build: Any, store: EventStore, window: Window, logged: Callable[[EventStore], int]
) -> None:
    whole = build.attempts({"request_id": "1"})
    whole.with_name(".half.parquet.tmp").write_bytes(b"PAR1")
    whole.with_name(".half.parquet").write_bytes(b"PAR1")
    assert store.exposure(window).unreadable == ()
    assert logged(store) == 1


def test_a_file_that_vanishes_under_the_query_makes_it_run_again(
    build: Any, store: EventStore, window: Window, monkeypatch: pytest.MonkeyPatch
) -> None:
    build.attempts({"request_id": "1"})
    gone = build.attempts({"request_id": "2"})
    fetch, calls = store.scanner.fetch, 0

    def fetch_late(query: str, given: Any = None) -> Any:
        nonlocal calls
        calls += 1
        gone.unlink(missing_ok=True)
        return fetch(query, given)

    monkeypatch.setattr(store.scanner, "fetch", fetch_late)
    assert store.exposure(window).arms["v3"].users == 1
    assert calls > 1


def test_a_question_that_no_file_explains_is_an_error(store: EventStore) -> None:
    with pytest.raises(EventStoreError, match="cannot be read"):
        store.scanner.steady(lambda: store.scanner.fetch("SELECT nonsense"))


def test_spilled_files_are_removed(tmp_path: Path) -> None:
    with EventStore(tmp_path) as store:
        folder = Path(store.scanner._spill.name)
        assert folder.exists()
    assert not folder.exists()


def test_files_of_an_older_schema_are_read_beside_those_of_this_one(
    build: Any, store: EventStore, window: Window
) -> None:
    old = build.predictions({"request_id": "1", "user_id": "ann"})
    table = pq.ParquetFile(old).read()
    pq.write_table(table.drop_columns(["trace_id", "span_id"]), old)  # as files were written before there was a trace
    build.attempts({"request_id": "1", "user_id": "ann"})
    build.labels({"request_id": "1"})
    assert store.labels(window, cut=EVENING).arms["v3"].users_labelled == 1
    build.predictions({"request_id": "2", "user_id": "bob", "trace_id": "a" * 32})
    build.attempts({"request_id": "2", "user_id": "bob"})
    build.labels({"request_id": "2"})
    assert store.labels(window, cut=EVENING).arms["v3"].users_labelled == 2


def test_a_long_query_says_nothing_on_standard_output(store: EventStore) -> None:
    (row,) = store.scanner.rows("SELECT current_setting('enable_progress_bar') AS bar")
    assert row["bar"] is False
