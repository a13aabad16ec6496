"""The event store over time: old days go, closed files move away, and readers follow them."""

import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import fsspec
import pytest

from mlflow_deploy_plugin.agent.compaction import CompactionPolicy, compact, locked
from mlflow_deploy_plugin.agent.log_key import ensure_key
from mlflow_deploy_plugin.agent.retention import RetentionPolicy, prune
from mlflow_deploy_plugin.agent.shipping import Shipped, ShippingPolicy, ship
from mlflow_deploy_plugin.agent.upkeep import Upkeep
from mlflow_deploy_plugin.config.environment import events_days, events_max_bytes, events_url
from mlflow_deploy_plugin.errors import ConfigError, EventStoreError
from pipelines.monitoring.event_summaries import Window
from pipelines.monitoring.events import EventStore

NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)


# -- retention ---------------------------------------------------------------------------------------------------


@pytest.fixture
def days(build: Any) -> list[Path]:
    """One attempt on each of ten days, newest first."""
    times = [NOON - timedelta(days=age) for age in range(10)]
    return [build.attempts({"request_id": str(age), "time": time}) for age, time in enumerate(times)]


def left(files: list[Path]) -> list[int]:
    return [age for age, path in enumerate(files) if path.exists()]


def test_days_that_are_too_old_are_removed_whole(build: Any, days: list[Path]) -> None:
    done = prune(build.root, RetentionPolicy(days=4), now=NOON.timestamp())
    assert left(days) == [0, 1, 2, 3]
    assert done.days == 6


def test_the_oldest_days_go_where_the_store_is_too_large(build: Any, days: list[Path]) -> None:
    size = days[0].stat().st_size
    done = prune(build.root, RetentionPolicy(days=0, max_bytes=3 * size + 10), now=NOON.timestamp())
    assert left(days) == [0, 1, 2]
    assert done.left_bytes <= 3 * size + 10


def test_the_last_two_days_stay_whatever_the_bounds(build: Any, days: list[Path]) -> None:
    prune(build.root, RetentionPolicy(days=1, max_bytes=1), now=NOON.timestamp())
    assert left(days) == [0, 1]


def test_without_bounds_nothing_is_removed(build: Any, days: list[Path]) -> None:
    assert prune(build.root, RetentionPolicy(days=0), now=NOON.timestamp()).days == 0
    assert len(left(days)) == 10


def test_nothing_is_removed_under_a_compaction(build: Any, days: list[Path]) -> None:
    with locked(build.root) as is_ours:
        assert is_ours
        assert prune(build.root, RetentionPolicy(days=1), now=NOON.timestamp()).is_busy
    assert len(left(days)) == 10


def test_the_bounds_are_typed_settings() -> None:
    assert events_days({"MODELSERVE_EVENTS_DAYS": "7"}) == 7
    for broken in ({"MODELSERVE_EVENTS_DAYS": "a week"}, {"MODELSERVE_EVENTS_DAYS": "-1"}):
        with pytest.raises(ConfigError, match="whole number of days"):
            events_days(broken)
    with pytest.raises(ConfigError, match="whole number of bytes"):
        events_max_bytes({"MODELSERVE_EVENTS_MAX_BYTES": "1GB"})
    with pytest.raises(ConfigError, match="is no URL"):
        events_url({"MODELSERVE_EVENTS_URL": "bucket/events"})


def test_the_key_of_hashed_columns_is_made_once_for_its_owner(tmp_path: Path) -> None:
    path = ensure_key(tmp_path / "key")
    key = path.read_bytes()
    assert (len(key), path.stat().st_mode & 0o777) == (32, 0o600)
    assert ensure_key(path).read_bytes() == key
    path.write_bytes(b"half")
    assert len(ensure_key(path).read_bytes()) == 32


# -- shipping ----------------------------------------------------------------------------------------------------


@pytest.fixture
def url() -> Iterator[str]:
    place = f"memory://{uuid4().hex}"
    yield place
    fs, base = fsspec.core.url_to_fs(place)
    if fs.exists(base):
        fs.rm(base, recursive=True)


def aged(path: Path, seconds: float = 3600.0) -> Path:
    then = path.stat().st_mtime - seconds
    os.utime(path, (then, then))
    return path


def test_closed_files_move_and_are_read_where_they_went(build: Any, window: Window, url: str) -> None:
    build.predictions({"request_id": "1", "feature_age": 3})
    build.labels({"request_id": "1"})
    build.attempts({"request_id": "1", "user_id": "ann"})
    for path in build.root.rglob("*.parquet"):
        aged(path)
    done = ship(build.root, ShippingPolicy(url=url))
    assert done.files == 3
    assert not list(build.root.rglob("*.parquet"))
    with EventStore(url, memory_mb=128, threads=1) as store:
        assert store.exposure(window).arms["v3"].users == 1
        assert list(store.features(window).frame["age"]) == [3]
    assert ship(build.root, ShippingPolicy(url=url)) == Shipped()


def test_young_and_torn_files_stay(build: Any, url: str) -> None:
    build.attempts({"request_id": "1"})
    torn = aged(build.attempts({"request_id": "2"}))
    torn.write_bytes(torn.read_bytes()[:-10])
    aged(torn)
    done = ship(build.root, ShippingPolicy(url=url))
    assert (done.files, done.waiting) == (0, 1)
    assert done.unreadable == (str(torn.relative_to(build.root)),)


def test_a_file_that_was_sent_before_a_crash_is_only_removed(
    build: Any, url: str, logged: Callable[[EventStore], int]
) -> None:
    path = aged(build.attempts({"request_id": "1"}))
    content = path.read_bytes()
    ship(build.root, ShippingPolicy(url=url))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    aged(path)
    done = ship(build.root, ShippingPolicy(url=url))
    assert (done.files, done.sent_bytes, path.exists()) == (1, 0, False)
    with EventStore(url, memory_mb=128, threads=1) as store:
        assert logged(store) == 1


@pytest.mark.parametrize("place", ["", "/archive", "/../other/link"])
def test_a_url_that_leads_into_the_store_itself_is_refused_and_nothing_goes(build: Any, place: str) -> None:
    path = aged(build.attempts({"request_id": "1"}))
    link = build.root.parent / "other" / "link"
    link.parent.mkdir()
    link.symlink_to(build.root)
    with pytest.raises(ConfigError, match="lies in the event store"):
        ship(build.root, ShippingPolicy(url=f"file://{build.root}{place}"))
    assert path.exists()


def test_a_folder_beside_the_store_is_another_store(build: Any, logged: Callable[[EventStore], int]) -> None:
    aged(build.attempts({"request_id": "1"}))
    beside = build.root.with_name("events-archive")
    assert ship(build.root, ShippingPolicy(url=f"file://{beside}")).files == 1
    with EventStore(f"file://{beside}", memory_mb=128, threads=1) as store:
        assert logged(store) == 1


def test_what_is_being_merged_waits(build: Any, url: str) -> None:
    for number in range(8):
        aged(build.attempts({"request_id": str(number)}))
    policy = CompactionPolicy(settle_s=60, grace_s=120)
    assert compact(build.root, policy).written == 1
    assert ship(build.root, ShippingPolicy(url=url, settle_s=0)).files == 0
    later = datetime.now(tz=UTC).timestamp() + 600
    compact(build.root, policy, now=later)
    assert ship(build.root, ShippingPolicy(url=url, settle_s=0), now=later).files == 1


def test_a_store_that_refuses_loses_nothing(build: Any, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    path = aged(build.attempts({"request_id": "1"}))

    def refuse(*_: object, **__: object) -> None:
        raise ValueError("access denied")

    monkeypatch.setattr(fsspec.implementations.memory.MemoryFileSystem, "put_file", refuse)
    with pytest.raises(EventStoreError, match=r"access denied.*stay here"):
        ship(build.root, ShippingPolicy(url=url))
    assert path.exists()


def test_a_torn_object_is_left_out_and_named(build: Any, window: Window, url: str) -> None:
    aged(build.attempts({"request_id": "1"}))
    ship(build.root, ShippingPolicy(url=url))
    with EventStore(url, memory_mb=128, threads=1) as store:
        (name,) = store.scanner.root.files(Path("attempts"))  # type: ignore[arg-type]
        fs, base = fsspec.core.url_to_fs(name)
        fs.pipe_file(base.replace(".parquet", "-torn.parquet"), fs.cat_file(base)[:-20])
        exposure = store.exposure(window)
    assert exposure.arms["v3"].users == 1
    assert exposure.unreadable == (name.replace(".parquet", "-torn.parquet"),)


def test_a_feature_of_two_kinds_is_read_where_it_went(build: Any, window: Window, url: str) -> None:
    aged(build.predictions(*({"request_id": number, "feature_x": 1.0} for number in "12")))
    aged(build.predictions({"request_id": "3", "feature_x": [1.0]}))
    ship(build.root, ShippingPolicy(url=url))
    with EventStore(url, memory_mb=128, threads=1) as store:
        assert list(store.features(window).frame["x"].dropna()) == [1.0, 1.0]


def test_an_unknown_protocol_is_refused(build: Any) -> None:
    with pytest.raises(ConfigError, match="cannot be opened"):
        ship(build.root, ShippingPolicy(url="nonsense://x"))
    with pytest.raises(ConfigError, match="cannot be opened"):
        EventStore("nonsense://x")


def test_upkeep_merges_forgets_and_moves(build: Any, url: str) -> None:
    now = datetime.now(tz=UTC)
    old = aged(build.attempts({"request_id": "old", "time": now - timedelta(days=40)}))
    kept = aged(build.attempts({"request_id": "new", "time": now}))
    Upkeep(events_dir=build.root, retention=RetentionPolicy(days=30), shipping=ShippingPolicy(url=url)).run()
    assert not old.exists()
    assert not kept.exists()
    assert fsspec.core.url_to_fs(url)[0].find(url)
