"""Answers of one row each are copied onto a page: what is written of it is what would be written of the batches."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from mlflow_deploy_plugin.serving.events import open_recorder, page
from mlflow_deploy_plugin.serving.events.page import Page
from mlflow_deploy_plugin.serving.events.predictions import PredictionFiles
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
    """A page with a batch on it; None where it takes none."""
    fresh = Page.like(batch, has_features=has_features)
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
    filled = begun(batch_of(0))
    assert filled is not None
    assert not filled.take(batch_of(1, **changes))
    assert filled.rows == 1
    assert filled.torn_off().rows == 1


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


def test_the_log_writes_all_kinds_that_follow_each_other(tmp_path: Path) -> None:
    settings = ServingSettings(endpoint="churn", events_dir=str(tmp_path), log="full", log_flush_s=3600)
    recorder = open_recorder(settings, signature=TYPED, model_digest="")
    other = Matrix(values=np.ones((2, 2), dtype=np.float32), columns=COLUMNS)
    sizes = [page.ROWS - 10, 7, 20]
    for nth, size in enumerate(sizes):
        recorder.record_batch(batch_of(10_000 * nth, size))
    recorder.record_batch(batch_of(30_000, 2, payload=other))
    recorder.record_batch(batch_of(40_000, 2, output=np.array(["yes", "no"])))
    recorder.record_batch(batch_of(50_000))
    recorder.close()
    rows = [row for path in tmp_path.rglob("*.parquet") for row in pq.ParquetFile(path).read().to_pylist()]
    expected = [f"r{10_000 * nth + number}" for nth, size in enumerate(sizes) for number in range(size)]
    expected += ["r30000", "r30001", "r40000", "r40001", "r50000"]
    assert sorted(row["request_id"] for row in rows) == sorted(expected)
    assert {row["feature_age"] for row in rows if row["request_id"] in {"r30000", "r30001"}} == {1.0}
    assert {row["prediction_text"] for row in rows if row["request_id"] == "r40000"} == {'"yes"'}


def test_columns_without_holes_are_written_without_marks_for_them(tmp_path: Path) -> None:
    settings = ServingSettings(endpoint="churn", events_dir=str(tmp_path), log="full")
    recorder = open_recorder(settings, signature=TYPED, model_digest="")
    recorder.record_batch(batch_of(0, payload=Matrix(values=np.array([[np.nan, 1.0]]), columns=COLUMNS)))
    recorder.close()
    (path,) = tmp_path.rglob("*.parquet")
    schema = pq.read_schema(path)
    assert [name for name in schema.names if schema.field(name).nullable] == ["prediction_text", "feature_age"]
