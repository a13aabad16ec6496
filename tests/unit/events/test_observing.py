"""The event store as a source of observations: who was exposed, when, and with what latency."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from pipelines.analysis.arms import Latencies, Missing, UserCounts
from pipelines.monitoring.events import EventStore
from pipelines.monitoring.observing import EventObserver
from pipelines.promotion.observation import Observation

SPLITS: Mapping[str, Mapping[str, int]] = {
    "before": {"v3": 1000},
    "first": {"v3": 900, "v4": 100},
    "second": {"v3": 500, "v4": 500},
}


def observe(store: EventStore, *, now: datetime, since: datetime) -> Observation:
    observer = EventObserver(log=store, stage="production", endpoint="churn", split_of=SPLITS.get)
    return observer.observe(stable="v3", canary="v4", since=since, now=now)


def users(build: Any, count: int, *, arm: str, commit: str, at: datetime, **more: Any) -> None:
    rows = [
        {
            "request_id": f"{arm}{commit}{n}",
            "user_id": f"{arm}{commit}{n}",
            "commit": commit,
            "time": at,
        }
        for n in range(count)
    ]
    build.attempts(*(row | more for row in rows), deployment=arm)


@pytest.fixture
def noon(window: Any) -> datetime:
    return window.begin + timedelta(hours=1)  # type: ignore[no-any-return]


def test_each_period_has_its_users_errors_and_latencies(build: Any, store: EventStore, noon: datetime) -> None:
    users(build, 90, arm="v3", commit="first", at=noon)
    users(build, 10, arm="v4", commit="first", at=noon, latency_ms=7.0)
    later = noon + timedelta(minutes=9)
    users(build, 50, arm="v3", commit="second", at=later)
    users(build, 50, arm="v4", commit="second", at=later, status=503)
    seen = observe(store, since=noon, now=later)
    errors, latency = seen.canary.errors, seen.canary.latency
    assert isinstance(errors, UserCounts)
    assert (errors.exposed.tolist(), errors.events.tolist()) == ([10, 50], [0, 50])
    assert errors.shares is not None
    assert errors.shares.tolist() == [0.1, 0.5]
    assert isinstance(latency, Latencies)
    assert (latency.values_ms.tolist(), latency.period.tolist()) == ([7.0] * 10, [0] * 10)
    assert seen.missing == ()


def test_users_of_a_split_without_a_canary_are_left_out_and_hold_nothing(
    build: Any, store: EventStore, noon: datetime
) -> None:
    users(build, 50, arm="v3", commit="before", at=noon)
    users(build, 90, arm="v3", commit="first", at=noon + timedelta(seconds=1))
    seen = observe(store, since=noon, now=noon + timedelta(minutes=1))
    assert isinstance(seen.stable.errors, UserCounts)
    assert seen.stable.errors.users == 90
    assert seen.missing == ()


@pytest.mark.parametrize("served", [True, False])
def test_labels_of_what_the_gateway_served_before_the_split_do_not_count(
    build: Any, store: EventStore, noon: datetime, *, served: bool
) -> None:
    users(build, 50, arm="v4", commit="before", at=noon)
    if served:
        users(build, 90, arm="v3", commit="first", at=noon + timedelta(seconds=1))
    build.predictions({"request_id": "v4before0", "user_id": "v4before0", "time": noon}, deployment="v4")
    build.labels({"request_id": "v4before0", "time": noon})
    observer = EventObserver(log=store, stage="production", endpoint="churn", split_of=SPLITS.get, asked={"label"})
    seen = observer.observe(stable="v3", canary="v4", since=noon, now=noon + timedelta(minutes=1)).canary
    assert isinstance(seen.labels, Missing)
    assert isinstance(seen.metrics["label"], Missing)


@pytest.mark.parametrize("commit", ["", "rewritten-away"])
def test_missing_exposure_holds(build: Any, store: EventStore, noon: datetime, commit: str) -> None:
    users(build, 90, arm="v3", commit="first", at=noon)
    users(build, 10, arm="v4", commit=commit, at=noon)
    (missing,) = observe(store, since=noon, now=noon + timedelta(minutes=1)).missing
    assert missing == Missing(reason="missing exposure: 10 of 100 users were dealt by a commit that nobody knows")


def test_a_few_unknown_users_hold_nothing(build: Any, store: EventStore, noon: datetime) -> None:
    users(build, 199, arm="v3", commit="first", at=noon)
    users(build, 1, arm="v4", commit="", at=noon)
    assert observe(store, since=noon, now=noon + timedelta(minutes=1)).missing == ()


def test_requests_without_a_user_id_are_users_of_their_own(build: Any, store: EventStore, noon: datetime) -> None:
    users(build, 30, arm="v3", commit="first", at=noon, user_id="")
    errors = observe(store, since=noon, now=noon + timedelta(minutes=1)).stable.errors
    assert isinstance(errors, UserCounts)
    assert errors.users == 30


@pytest.mark.parametrize("offset", [timedelta(hours=-1), timedelta(hours=1)])
def test_events_by_a_clock_that_is_off_are_outside_and_nothing_is_decided(
    build: Any, store: EventStore, noon: datetime, offset: timedelta
) -> None:
    users(build, 30, arm="v3", commit="first", at=noon + offset)
    errors = observe(store, since=noon, now=noon + timedelta(minutes=1)).stable.errors
    assert errors == Missing(reason="no users have been seen yet")


def test_labels_as_numbers_are_added_up_only_where_somebody_asks(build: Any, store: EventStore, noon: datetime) -> None:
    users(build, 3, arm="v3", commit="first", at=noon)
    build.predictions({"request_id": "v3first0", "user_id": "v3first0"})
    build.labels({"request_id": "v3first0"})
    observer = EventObserver(log=store, stage="production", endpoint="churn", split_of=SPLITS.get, asked={"revenue"})
    for asks, names in ((observer, set()), (replace(observer, asked={"first_label"}), {"label", "first_label"})):
        seen = asks.observe(stable="v3", canary="v4", since=noon, now=noon + timedelta(minutes=5))
        assert isinstance(seen.stable.labels, UserCounts)
        assert seen.stable.metrics.keys() == names


def test_labels_too_large_to_be_added_up_leave_the_errors_as_they_are(
    build: Any, store: EventStore, noon: datetime
) -> None:
    users(build, 3, arm="v3", commit="first", at=noon)
    requests = [f"v3first{n}" for n in range(2)]
    build.predictions(*({"request_id": request, "user_id": "v3first0", "time": noon} for request in requests))
    build.labels(*({"request_id": request, "label": 1e308, "time": noon} for request in requests))
    observer = EventObserver(log=store, stage="production", endpoint="churn", split_of=SPLITS.get, asked={"label"})
    seen = observer.observe(stable="v3", canary="v4", since=noon, now=noon + timedelta(minutes=5)).stable
    assert isinstance(seen.errors, UserCounts)
    assert isinstance(seen.metrics["label"], Missing)


def test_the_labels_of_each_window_are_looked_up_once(
    build: Any, store: EventStore, noon: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    users(build, 3, arm="v3", commit="first", at=noon)
    build.predictions({"request_id": "v3first0", "user_id": "v3first0"})
    build.labels({"request_id": "v3first0"})
    laid: list[str] = []
    keep = store.scanner.keep

    def keep_told(name: str, query: str, given: Any = None) -> None:
        laid.append(name)
        keep(name, query, given)

    monkeypatch.setattr(store.scanner, "keep", keep_told)
    before, asked = timedelta(days=7), {"label"}
    observer = EventObserver(
        log=store, stage="production", endpoint="churn", split_of=SPLITS.get, before=before, asked=asked
    )
    seen = observer.observe(stable="v3", canary="v4", since=noon, now=noon + timedelta(minutes=5))
    assert isinstance(seen.stable.labels, UserCounts)
    assert laid.count("joined") == 2, "one of the rollout, one of the time before"
