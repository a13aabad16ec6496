"""Small files are merged; no reader ever misses a row or sees one twice."""

import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlflow_deploy_plugin.agent import compaction
from mlflow_deploy_plugin.agent.compaction import Compacted, CompactionPolicy, compact, replaced_by
from mlflow_deploy_plugin.errors import EventStoreError
from mlflow_deploy_plugin.spec.events import SCHEMA_KEY
from pipelines.monitoring.event_summaries import Window
from pipelines.monitoring.events import EventStore

POLICY = CompactionPolicy(settle_s=60, grace_s=120, stale_s=3600, min_files=3)
WRITTEN = 1_000_000.0
SETTLED = WRITTEN + 61


@pytest.fixture
def small_files(build: Any) -> list[Path]:
    files = [build.attempts({"request_id": str(number)}) for number in range(6)]
    for file in files:
        os.utime(file, (WRITTEN, WRITTEN))
    return files


def visible(root: Path) -> list[str]:
    return sorted(path.name for path in root.rglob("*.parquet"))


def settle(root: Path, moment: float) -> None:
    for path in root.rglob("merged-*.parquet"):
        os.utime(path, (moment, moment))


def test_small_files_become_one_and_go_after_the_grace(
    build: Any, small_files: list[Path], store: EventStore, logged: Callable[[EventStore], int]
) -> None:
    assert compact(build.root, POLICY, now=SETTLED) == Compacted(merged=6, written=1)
    assert len(visible(build.root)) == 7
    assert logged(store) == 6
    settle(build.root, SETTLED)
    assert compact(build.root, POLICY, now=SETTLED + 100) == Compacted()
    assert compact(build.root, POLICY, now=SETTLED + 121) == Compacted(removed=6)
    assert [name[:7] for name in visible(build.root)] == ["merged-"]
    assert logged(store) == 6
    assert not any(file.exists() for file in small_files)


def test_a_merged_file_says_what_it_replaces(build: Any, small_files: list[Path]) -> None:
    compact(build.root, POLICY, now=SETTLED)
    (merged,) = build.root.rglob("merged-*.parquet")
    assert replaced_by(merged) == tuple(file.name for file in small_files)


def test_a_merged_file_keeps_the_version_of_its_columns(build: Any, small_files: list[Path]) -> None:
    for file in small_files:
        table = pq.ParquetFile(file).read()
        pq.write_table(table.replace_schema_metadata({SCHEMA_KEY: b"2"}), file)
        os.utime(file, (WRITTEN, WRITTEN))
    compact(build.root, POLICY, now=SETTLED)
    (merged,) = build.root.rglob("merged-*.parquet")
    assert pq.read_schema(merged).metadata[SCHEMA_KEY] == b"2"
    assert len(replaced_by(merged)) == len(small_files)


def test_files_with_and_without_holes_are_merged_together(build: Any, small_files: list[Path]) -> None:
    for nth, file in enumerate(small_files):
        table = pq.ParquetFile(file).read()
        schema = pa.schema([column.with_nullable(nth % 2 == 0) for column in table.schema])
        pq.write_table(pa.Table.from_arrays(table.columns, schema=schema), file)
        os.utime(file, (WRITTEN, WRITTEN))
    assert compact(build.root, POLICY, now=SETTLED) == Compacted(merged=6, written=1)
    (merged,) = build.root.rglob("merged-*.parquet")
    rows = pq.ParquetFile(merged).read().to_pylist()
    assert [row["request_id"] for row in rows] == [str(number) for number in range(6)]


@pytest.mark.usefixtures("small_files")
def test_fresh_files_are_left_alone(build: Any) -> None:
    assert compact(build.root, POLICY, now=WRITTEN + 59) == Compacted()


@pytest.mark.usefixtures("small_files")
def test_few_files_are_left_alone(build: Any) -> None:
    assert compact(build.root, CompactionPolicy(min_files=7), now=SETTLED) == Compacted()


@pytest.mark.usefixtures("small_files")
def test_large_files_are_left_alone(build: Any) -> None:
    assert compact(build.root, CompactionPolicy(min_files=3, max_bytes=100), now=SETTLED) == Compacted()


@pytest.mark.usefixtures("small_files")
def test_a_merged_file_is_not_bigger_than_two_limits(build: Any) -> None:
    size = next(build.root.rglob("*.parquet")).stat().st_size
    compact(build.root, CompactionPolicy(min_files=2, max_bytes=int(2.5 * size)), now=SETTLED)
    assert len(list(build.root.rglob("merged-*.parquet"))) == 2


def test_files_of_other_columns_are_merged_apart(build: Any, store: EventStore, window: Window) -> None:
    for number in range(3):
        build.predictions({"request_id": f"a{number}", "feature_x": 1})
        build.predictions({"request_id": f"b{number}", "feature_x": "text"})
    for path in build.root.rglob("*.parquet"):
        os.utime(path, (WRITTEN, WRITTEN))
    assert compact(build.root, POLICY, now=SETTLED) == Compacted(merged=6, written=2)
    assert len(store.features(window).frame) == 6


def test_merged_files_are_merged_again(
    build: Any, small_files: list[Path], store: EventStore, logged: Callable[[EventStore], int]
) -> None:
    assert small_files
    now = SETTLED
    for turn in range(4):
        compact(build.root, POLICY, now=now)
        settle(build.root, now)
        now += 200
        for number in range(3):
            os.utime(build.attempts({"request_id": f"{turn}-{number}"}), (now - 100, now - 100))
    for _ in range(2):
        compact(build.root, POLICY, now=now)
        settle(build.root, now)
        now += 200
    assert len(visible(build.root)) <= 2
    assert logged(store) == 6 + 4 * 3


class CrashError(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("step", ["publish", "_write_merged"])
@pytest.mark.usefixtures("small_files")
def test_a_crash_leaves_every_row_once(
    build: Any, store: EventStore, logged: Callable[[EventStore], int], monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    do: Any = getattr(compaction, step)

    def crash_after(*args: Any) -> None:
        do(*args)
        raise CrashError

    with monkeypatch.context() as patch:
        patch.setattr(compaction, step, crash_after)
        with pytest.raises(CrashError):
            compact(build.root, POLICY, now=SETTLED)
    assert logged(store) == 6
    for later in (200, 400, 4000):
        compact(build.root, POLICY, now=SETTLED + later)
        settle(build.root, SETTLED + later)
        assert logged(store) == 6
    assert len(visible(build.root)) == 1


def test_a_torn_file_stays_and_is_named(build: Any, small_files: list[Path]) -> None:
    small_files[2].write_bytes(b"PAR1 torn")
    os.utime(small_files[2], (WRITTEN, WRITTEN))
    done = compact(build.root, POLICY, now=SETTLED)
    assert (done.merged, done.unreadable) == (5, (str(small_files[2].relative_to(build.root)),))
    assert small_files[2].exists()


def test_a_file_that_is_damaged_within_does_not_stop_the_others(build: Any, small_files: list[Path]) -> None:
    content = bytearray(small_files[2].read_bytes())
    content[4 : len(content) // 2] = b"\xff" * (len(content) // 2 - 4)
    small_files[2].write_bytes(content)
    os.utime(small_files[2], (WRITTEN, WRITTEN))
    done = compact(build.root, POLICY, now=SETTLED)
    assert (done.merged, done.unreadable) == (5, (str(small_files[2].relative_to(build.root)),))


def test_hidden_files_of_dead_bentos_go_and_the_gateways_stay(build: Any) -> None:
    ours = build.predictions({"request_id": "1"}).with_name(".half.parquet.tmp")
    gateways = build.attempts({"request_id": "1"}).with_name(".attempts-1-0000.parquet.tmp")
    for path in (ours, gateways):
        path.touch()
        os.utime(path, (WRITTEN, WRITTEN))
    assert compact(build.root, POLICY, now=WRITTEN + 3599).removed == 0
    assert compact(build.root, POLICY, now=WRITTEN + 3601).removed == 1
    assert (ours.exists(), gateways.exists()) == (False, True)


@pytest.mark.usefixtures("small_files")
def test_two_at_once_do_not_meet(build: Any) -> None:
    with (build.root / ".compaction.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert compact(build.root, POLICY, now=SETTLED) == Compacted(is_busy=True)


def test_a_full_disk_changes_nothing(build: Any, small_files: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    def no_space(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pq.ParquetWriter, "write_batch", no_space)
    with pytest.raises(EventStoreError, match="No space left"):
        compact(build.root, POLICY, now=SETTLED)
    assert visible(build.root) == sorted(file.name for file in small_files)
    assert list(build.root.rglob("*.tmp")) == []


def test_a_store_that_is_not_there_yet_is_fine(tmp_path: Path) -> None:
    assert compact(tmp_path / "events") == Compacted()
