"""The labels themselves as metrics of users, added up in DuckDB over every labelled row."""

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from pipelines.analysis.arms import Arm, Metric, Missing, UserMoments
from pipelines.analysis.compare import compare
from pipelines.analysis.gates import MeanGate
from pipelines.analysis.verdict import Inconclusive, Successful
from pipelines.monitoring.event_labels import LabelCut, UserChoice
from pipelines.monitoring.event_summaries import Window
from pipelines.monitoring.events import EventStore
from pipelines.monitoring.label_metric import FIRST_LABEL, LABEL, label_metrics
from pipelines.monitoring.observing import EventObserver

NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)
EVENING = LabelCut(as_of=NOON + timedelta(hours=9))


def minutes(number: int) -> timedelta:
    return timedelta(minutes=number)


def log(build: Any, *rows: tuple[str, str, int, float, int], name: str = "r") -> None:
    """Deployment, user, minute of the prediction, label, minutes until it came."""
    for number, (arm, user, minute, label, wait) in enumerate(rows):
        time, request = NOON + minutes(minute), f"{name}{number}"
        build.predictions({"request_id": request, "user_id": user, "time": time}, deployment=arm)
        build.labels({"request_id": request, "label": label, "time": time + minutes(wait)})


def metrics(store: EventStore, window: Window, arm: str, cut: LabelCut = EVENING, **choice: Any) -> dict[str, Any]:
    given = UserChoice(**{"arms": ["v3", "v4"], "limit": 100, **choice})
    return label_metrics(store.user_labels(window, cut, given), arm)


def test_a_user_is_the_mean_of_all_labels_and_belongs_to_the_period_of_the_first(
    build: Any, store: EventStore, window: Window
) -> None:
    rows = [("v3", "ann", 5, 1.0, 1), ("v3", "bob", 31, 2.0, 1), ("v3", "ann", 50, 3.0, 1), ("v3", "cy", -1, 4.0, 1)]
    log(build, *rows)
    found = metrics(store, window, "v3", splits=[NOON + minutes(30)])[LABEL]
    assert (found.sums.tolist(), found.period.tolist()) == ([4.0, 2.0, 2.0], [0, 0, 1])


def test_a_user_whom_the_canary_took_over_stays_with_stable(build: Any, store: EventStore, window: Window) -> None:
    log(build, ("v3", "ann", 5, 1.0, 1), ("v4", "ann", 20, 9.0, 1), ("v4", "bob", 21, 2.0, 1))
    assert metrics(store, window, "v4")[LABEL].sums.tolist() == [2.0]
    stable = metrics(store, window, "v3")[LABEL]
    assert (stable.sums.tolist(), stable.period) == ([1.0], None)


def test_a_user_of_a_third_arm_is_none_of_theirs(build: Any, store: EventStore, window: Window) -> None:
    log(build, ("v2", "ann", 5, 1.0, 1), ("v4", "ann", 20, 9.0, 1))
    nothing = Missing(reason="no labels that are numbers have arrived")
    assert metrics(store, window, "v4") == {LABEL: nothing, FIRST_LABEL: nothing}


def test_first_labels_come_as_they_arrived_so_that_a_later_look_only_adds(
    build: Any, store: EventStore, window: Window
) -> None:
    log(build, ("v3", "ann", 1, 1.0, 89), ("v3", "ann", 2, 5.0, 38), ("v3", "bob", 3, 2.0, 7), ("v3", "cy", 4, 3.0, 16))
    early = metrics(store, replace(window, end=NOON + minutes(21)), "v3", cut=LabelCut(as_of=NOON + minutes(21)))
    assert early[FIRST_LABEL].sums.tolist() == [2.0, 3.0]
    assert metrics(store, window, "v3")[FIRST_LABEL].sums.tolist() == [2.0, 3.0, 5.0]


def test_of_labels_that_came_at_once_that_of_the_first_prediction_is_the_first(
    build: Any, store: EventStore, window: Window
) -> None:
    log(build, *(("v3", "ann", minute, float(minute), 40 - minute) for minute in (9, 3, 6)))
    assert metrics(store, window, "v3")[FIRST_LABEL].sums.tolist() == [3.0]


def test_labels_that_are_no_numbers_are_none_and_the_others_count(
    build: Any, store: EventStore, window: Window
) -> None:
    log(build, *(("v3", "ann", minute, label, 1) for minute, label in enumerate((math.nan, math.inf, -math.inf, 5.0))))
    build.predictions({"request_id": "text", "user_id": "bob"})
    build.labels({"request_id": "text", "label": None, "label_text": "yes"})
    assert metrics(store, window, "v3")[LABEL].sums.tolist() == [5.0]


def test_who_has_no_past_counts_as_the_average_one(build: Any, store: EventStore, window: Window) -> None:
    past = Window(stage="production", endpoint="churn", begin=NOON - minutes(600), end=window.begin)
    assert metrics(store, window, "v3", past=past)[LABEL] == Missing(reason="no labels that are numbers have arrived")
    log(build, ("v3", "ann", 1, 1.0, 1), ("v3", "cy", 2, 5.0, 1))
    assert metrics(store, window, "v3", past=past)[LABEL].before is None
    old = [
        ("v1", "ann", -90, 1.0, 1),
        ("v1", "ann", -80, 3.0, 1),
        ("v2", "bob", -70, 6.0, 1),
        ("v1", "cy", -65, 9.0, 30),
    ]
    log(build, *old, name="old")
    assert metrics(store, window, "v3", past=past)[LABEL].before.tolist() == [2.0, 4.0], "cy's own came too late"


def test_many_labels_of_a_few_users_all_count(build: Any, store: EventStore, window: Window) -> None:
    """No bound of rows: the oldest label counts like the newest."""
    build.predictions(*({"request_id": f"r{n}", "user_id": f"u{n % 3}"} for n in range(3000)))
    build.labels(*({"request_id": f"r{n}", "label": float(n)} for n in range(3000)))
    assert sorted(metrics(store, window, "v3")[LABEL].sums) == pytest.approx([1498.5, 1499.5, 1500.5])


def test_more_users_than_are_told_one_by_one_are_added_up_to_the_same_verdict(
    build: Any, store: EventStore, window: Window
) -> None:
    draw = np.random.default_rng(0)
    for arm, start in (("v3", 0), ("v4", 600)):
        people = [{"user_id": f"u{start + n % 300}", "request_id": f"{arm}{n}"} for n in range(600)]
        late = [NOON + minutes(int(minute)) for minute in draw.integers(0, 50, 600)]
        build.predictions(*(row | {"time": time} for row, time in zip(people, late, strict=True)), deployment=arm)
        own = draw.normal(start / 300, 1.0, 300)
        build.labels(*({"request_id": f"{arm}{n}", "label": own[n % 300] + draw.normal()} for n in range(600)))
        old = NOON - minutes(120)
        build.predictions(
            *({**row, "request_id": f"old{row['request_id']}", "time": old} for row in people[:250]), deployment=arm
        )
        build.labels(*({"request_id": f"old{arm}{n}", "label": own[n], "time": old + minutes(1)} for n in range(250)))

    whole, added = (verdict(store, window, limit=limit, splits=[NOON + minutes(20)]) for limit in (600, 599))
    assert added.numbers == pytest.approx(whole.numbers)
    assert added.reason == whole.reason


def verdict(store: EventStore, window: Window, **choice: Any) -> Any:
    past = replace(window, begin=NOON - minutes(600), end=window.begin)
    labels = [metrics(store, window, arm, past=past, **choice) for arm in ("v3", "v4")]
    arms = [Arm(name=arm, metrics=found) for arm, found in zip(("v3", "v4"), labels, strict=True)]
    return compare(*arms, MeanGate(metric=LABEL, margin=0.5, minimum_users=2), alpha=0.01)


@pytest.mark.parametrize(("factor", "begin"), [(1.0, 0.0), (1.1, 0.0), (1.0, 1.8e9)])
def test_fees_that_are_as_they_were_leave_no_doubt_however_many_users(
    build: Any, store: EventStore, window: Window, factor: float, begin: float
) -> None:
    """A past may also be a moment, in seconds since 1970."""
    for arm, users in (("v3", 200), ("v4", 100)):
        fees = [(9.99, 19.99, 49.99)[n % 3] for n in range(users)]
        people = [{"user_id": f"{arm}{n}", "request_id": f"{arm}{n}"} for n in range(users)]
        build.predictions(*people, deployment=arm)
        build.labels(*({"request_id": f"{arm}{n}", "label": factor * fee} for n, fee in enumerate(fees)))
        old = NOON - minutes(120)
        build.predictions(
            *({"user_id": f"{arm}{n}", "request_id": f"old{arm}{n}", "time": old} for n in range(users)), deployment=arm
        )
        build.labels(
            *(
                {"request_id": f"old{arm}{n}", "label": begin + fee, "time": old + minutes(1)}
                for n, fee in enumerate(fees)
            )
        )
    whole, added = (verdict(store, window, limit=limit) for limit in (300, 299))
    assert type(added) is type(whole) is Successful
    assert added.numbers == pytest.approx(whole.numbers, abs=1e-6)


TOO_LARGE = "beyond 1e+140; it came before such were refused: name another metric"


@pytest.mark.parametrize("limit", [9, 2])
def test_labels_too_large_to_be_added_up_are_missing_with_the_reason_and_stop_nothing(
    build: Any, store: EventStore, window: Window, limit: int
) -> None:
    log(
        build, ("v3", "ann", 1, 1e308, 1), ("v3", "ann", 2, 1e308, 1), ("v3", "bob", 3, 2.0, 1), ("v4", "cy", 4, 3.0, 1)
    )
    found = metrics(store, window, "v3", limit=limit)
    assert found[LABEL] == Missing(reason=f"a user's label or mean of labels is inf, {TOO_LARGE}")
    assert isinstance(found[FIRST_LABEL], Missing)
    assert isinstance(metrics(store, window, "v4", limit=limit)[LABEL], Metric | UserMoments)


@pytest.mark.parametrize("limit", [9, 0])
def test_a_past_too_large_to_be_added_up_is_missing_too(
    build: Any, store: EventStore, window: Window, limit: int
) -> None:
    log(build, ("v1", "ann", -90, 1e200, 1), ("v3", "ann", 1, 1.0, 1))
    past = replace(window, begin=NOON - minutes(600), end=window.begin)
    found = metrics(store, window, "v3", past=past, limit=limit)[LABEL]
    assert found == Missing(reason=f"a user's label or mean of labels is 1e+200, {TOO_LARGE}")


def test_too_many_users_have_no_first_labels_in_order_and_no_bounds(
    build: Any, store: EventStore, window: Window
) -> None:
    """Said by the gate, which holds."""
    build.predictions(*({"request_id": f"r{n}", "user_id": f"u{n}"} for n in range(4)))
    build.predictions(*({"request_id": f"c{n}", "user_id": f"c{n}"} for n in range(4)), deployment="v4")
    build.labels(*({"request_id": f"{arm}{n}", "label": float(n)} for n in range(4) for arm in "rc"))
    observer = EventObserver(
        log=store, stage="production", endpoint="churn", split_of={}.get, max_users=7, asked={LABEL}
    )
    seen = observer.observe(stable="v3", canary="v4", since=window.begin, now=window.end)
    assert isinstance(seen.stable.metrics[LABEL], UserMoments)
    gate = MeanGate(metric=LABEL, margin=9.0, minimum_users=2, bounds=(0.0, 9.0))
    for asked in (gate, replace(gate, metric=FIRST_LABEL)):
        held = compare(seen.stable, seen.canary, asked, alpha=0.01)
        assert isinstance(held, Inconclusive)
        assert "8 users" in held.reason
