"""Answers of one row each are copied onto a page: what is written of it is what would be written of the batches."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from mlflow_deploy_plugin.serving.events import open_recorder, page
from mlflow_deploy_plugin.serving.events.page import Page, kind_of
from mlflow_deploy_plugin.serving.events.prediction_files import PredictionFiles
from mlflow_deploy_plugin.serving.events.predictions import PredictionLog
from mlflow_deploy_plugin.serving.events.redaction import Redaction
from mlflow_deploy_plugin.serving.events.waiting import Waiting
from mlflow_deploy_plugin.serving.record import Batch
from mlflow_deploy_plugin.serving.request import Caller, Frame, Matrix, Payload, Tensor
from mlflow_deploy_plugin.serving.signature import Column, Signature
from mlflow_deploy_plugin.spec.settings import ServingSettings

COLUMNS = ("age", "income")
TYPED = Signature(inputs=tuple(Column(name=name, type="double") for name in COLUMNS))


def batch_of(first: int, rows: int = 1, *, payload: Payload | None = None, output: Any = None) -> Batch:
    numbers = np.arange(first, first + rows)
    table = Matrix(values=np.stack([numbers, numbers * 0.5], axis=1).astype(float), columns=COLUMNS)
    return Batch(
        callers=[Caller(request_id=f"r{number}", user_id="ann" if number % 3 else "") for number in numbers],
        times=[1.7e9 + number for number in numbers.tolist()],
        protocols=["rest" if number % 2 else "mlflow" for number in numbers],
        latencies_ms=numbers.tolist(),
        payload=table if payload is None else payload,
        output=numbers % 2 if output is None else output,
    )


def begun(batch: Batch, *, has_features: bool = True) -> Page | None:
    """A page with a batch on it; None where such rows are not copied."""
    kind = kind_of(batch, has_features=has_features)
    fresh = Page(kind) if kind is not None and kind.room else None
    return fresh if fresh is not None and fresh.take(batch) else None


def written(folder: Path, batches: Sequence[Waiting], *, has_features: bool = True) -> list[dict[str, Any]]:
    files = PredictionFiles(
        root=folder, stage="s", endpoint="churn", deployment="churn-v4", model_digest="sha256:1",
        signature=TYPED, redaction=Redaction(), has_features=has_features,
    )  # fmt: skip
    rows: list[dict[str, Any]] = files.table(batches).to_pylist()
    return rows


@pytest.mark.parametrize("has_features", [True, False])
def test_a_page_is_written_as_its_batches_would_be(tmp_path: Path, *, has_features: bool) -> None:
    batches = [batch_of(0, 5), batch_of(5), batch_of(6, 64)]
    filled = begun(batches[0], has_features=has_features)
    assert filled is not None
    assert all(filled.take(batch) for batch in batches[1:])
    apart = written(tmp_path, [Waiting.of(batch) for batch in batches], has_features=has_features)
    assert written(tmp_path, [filled.torn_off()], has_features=has_features) == apart
    assert [row["request_id"] for row in apart] == [f"r{number}" for number in range(70)]


def test_a_tensor_and_answers_of_several_numbers_are_copied_as_well(tmp_path: Path) -> None:
    batches = [
        batch_of(number, 2, payload=Tensor(array=np.full((2, 3, 4), number)), output=np.full((2, 2), number / 7))
        for number in range(0, 10, 2)
    ]
    filled = begun(batches[0])
    assert filled is not None
    assert all(filled.take(batch) for batch in batches[1:])
    assert written(tmp_path, [filled.torn_off()]) == written(tmp_path, [Waiting.of(batch) for batch in batches])


@pytest.mark.parametrize(
    "changes",
    [
        {"output": np.array([0.5])},
        {"output": np.array([[1]])},
        {"output": np.array(["yes"])},
        {"output": [1]},
        {"payload": Matrix(values=np.zeros((1, 2), dtype=np.float32), columns=COLUMNS)},
        {"payload": Matrix(values=np.zeros((1, 3)), columns=("a", "b", "c"))},
        {"payload": Matrix(values=np.zeros((1, 2)), columns=("income", "age"))},
        {"payload": Tensor(array=np.zeros((1, 2)))},
    ],
    ids=["type", "shape", "text", "list", "type of inputs", "more columns", "other columns", "tensor"],
)
def test_a_batch_of_another_kind_does_not_come_on_the_page(changes: dict[str, Any]) -> None:
    kind = kind_of(batch_of(0), has_features=True)
    assert kind is not None
    assert kind_of(batch_of(1), has_features=True) == kind
    assert kind_of(batch_of(1, **changes), has_features=True) != kind
    filled = begun(batch_of(0))
    assert filled is not None
    assert not filled.take(batch_of(1, **changes))
    assert filled.rows == 1
    assert filled.take(batch_of(1))


def test_what_has_no_room_is_not_split() -> None:
    filled = begun(batch_of(0, page.ROWS - 1))
    assert filled is not None
    assert not filled.take(batch_of(page.ROWS, 2))
    assert filled.take(batch_of(page.ROWS, 1))
    assert filled.rows == page.ROWS


def test_large_rows_texts_and_frames_wait_as_they_are() -> None:
    large = Tensor(array=np.zeros((1, page.BYTES // 8 // page.FEWEST + 1)))
    assert begun(batch_of(0, payload=large)) is None
    assert begun(batch_of(0, payload=large), has_features=False) is not None
    assert begun(batch_of(0, payload=Tensor(array=np.array([["text"]])))) is None
    assert begun(batch_of(0, payload=Frame(frame=pd.DataFrame({"age": [1.0]})))) is None
    assert begun(batch_of(0, output=np.array([[1, 2]])[:, :0])) is not None  # no numbers at all are numbers too


def opened(folder: Path) -> PredictionLog:
    """A log that is not flushed but at its end."""
    settings = ServingSettings(endpoint="churn", events_dir=str(folder), log="full", log_flush_s=3600)
    return PredictionLog.open(settings, signature=TYPED, model_digest="", on_drop=None)


def test_the_log_writes_all_kinds_that_follow_each_other(tmp_path: Path) -> None:
    log = opened(tmp_path)
    other = Matrix(values=np.ones((2, 2), dtype=np.float32), columns=COLUMNS)
    sizes = [3, page.ROWS - 10, 7, 20, 1]
    for nth, size in enumerate(sizes):
        log.record_batch(batch_of(10_000 * nth, size))
    log.record_batch(batch_of(50_000, 2, payload=other))
    log.record_batch(batch_of(60_000, 2, output=np.array(["yes", "no"])))
    log.record_batch(batch_of(70_000))
    log.close()
    rows = [row for path in tmp_path.rglob("*.parquet") for row in pq.ParquetFile(path).read().to_pylist()]
    expected = [f"r{10_000 * nth + number}" for nth, size in enumerate(sizes) for number in range(size)]
    expected += ["r50000", "r50001", "r60000", "r60001", "r70000"]
    assert sorted(row["request_id"] for row in rows) == sorted(expected)
    assert {row["feature_age"] for row in rows if row["request_id"] in {"r50000", "r50001"}} == {1.0}
    assert {row["prediction_text"] for row in rows if row["request_id"] == "r60000"} == {'"yes"'}


def held(log: PredictionLog) -> int:
    """Bytes of the arrays that wait."""
    waiting = [event for event, _ in log.queue._events if isinstance(event, Waiting)]
    tables = [each.payload for each in waiting if isinstance(each.payload, Matrix)]
    arrays = [*(table.values for table in tables), *(each.output for each in waiting)]  # noqa: PD011
    return sum((array if array.base is None else array.base).nbytes for array in arrays)


@pytest.mark.parametrize("repeated", [1, 2, 3])
def test_batches_of_ever_other_kinds_hold_no_more_memory_than_is_counted(tmp_path: Path, repeated: int) -> None:
    log = opened(tmp_path)
    for width in range(2, 80):
        payload = Matrix(values=np.ones((1, width)), columns=tuple(map(str, range(width))))
        for number in range(repeated):
            log.record_batch(batch_of(width * 10 + number, payload=payload))
    log.record_batch(batch_of(0))
    assert 0 < held(log) <= log.queue._bytes
    log.close()


def test_a_page_for_which_there_is_no_memory_is_counted_and_the_thread_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = ServingSettings(endpoint="churn", events_dir=str(tmp_path), log="full", log_flush_s=3600)
    drops: list[tuple[str, str, int]] = []
    log = PredictionLog.open(settings, signature=TYPED, model_digest="", on_drop=lambda *drop: drops.append(drop))
    log.record_batch(batch_of(0))

    def fail(_page: Page) -> Waiting:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(Page, "torn_off", fail)
        log.record_batch(batch_of(1, 5))
        log.record_batch(batch_of(6, page.ROWS))  # turns the page
    log.close()
    (path,) = tmp_path.rglob("*.parquet")
    assert pq.ParquetFile(path).read(columns=["request_id"]).num_rows == 1 + page.ROWS
    assert drops == [("predictions", "unreadable", 5)]


def test_columns_without_holes_are_written_without_marks_for_them(tmp_path: Path) -> None:
    settings = ServingSettings(endpoint="churn", events_dir=str(tmp_path), log="full")
    recorder = open_recorder(settings, signature=TYPED, model_digest="")
    recorder.record_batch(batch_of(0, payload=Matrix(values=np.array([[np.nan, 1.0]]), columns=COLUMNS)))
    recorder.close()
    (path,) = tmp_path.rglob("*.parquet")
    schema = pq.read_schema(path)
    assert [name for name in schema.names if schema.field(name).nullable] == ["prediction_text", "feature_age"]
