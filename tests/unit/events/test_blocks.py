"""Plain predictions wait as columns: what is written of them is what would be written of the events themselves."""

import random
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from mlflow_deploy_plugin.serving.events import open_recorder
from mlflow_deploy_plugin.serving.events.blocks import CAPACITY, Block, is_plain
from mlflow_deploy_plugin.serving.events.predictions import PredictionFiles
from mlflow_deploy_plugin.serving.events.redaction import Redaction
from mlflow_deploy_plugin.serving.record import Prediction
from mlflow_deploy_plugin.serving.request import Caller, Matrix, Tensor
from mlflow_deploy_plugin.serving.signature import Column, Signature
from mlflow_deploy_plugin.serving.trace import read_trace
from mlflow_deploy_plugin.spec.settings import ServingSettings

NOON = datetime(2026, 3, 4, 12, tzinfo=UTC).timestamp()
COLUMNS = ("age", "income")
TYPED = Signature(inputs=(Column(name="age", type="double"), Column(name="income", type="double")))


def plain(number: int = 0, **changes: Any) -> Prediction:
    dice = random.Random(number)  # noqa: S311  always the same
    values: dict[str, Any] = {
        "caller": Caller(request_id=f"r{number}", user_id=dice.choice(["", "ann", f"r{number}"]), assigned="churn-v4"),
        "time": NOON + number * 0.001,
        "protocol": dice.choice(["mlflow", "rest"]),
        "status": "success",
        "latency_ms": dice.random(),
        "rows": 1,
        "payload": Matrix(values=np.array([[dice.random(), float(number)]]), columns=COLUMNS),
        "output": np.array([dice.choice([0, 1])]),
    }
    return Prediction(**values | changes)


def files(folder: Path, **changes: Any) -> PredictionFiles:
    values: dict[str, Any] = {
        "root": folder, "stage": "s", "endpoint": "churn", "deployment": "churn-v4", "model_digest": "sha256:1",
        "signature": TYPED, "redaction": Redaction(), "has_features": True,
    }  # fmt: skip
    return PredictionFiles(**values | changes)


def block_of(*predictions: Prediction, has_features: bool = True) -> Block:
    block = Block.like(predictions[0], has_features=has_features)
    for prediction in predictions:
        assert is_plain(prediction)
        assert block.takes(prediction)
        block.add(prediction)
    return block


@pytest.mark.parametrize(
    "changes",
    [{}, {"has_features": False}, {"redaction": Redaction(dropped=frozenset({"age"}))}],
    ids=["full", "without features", "redacted"],
)
def test_a_block_is_written_as_its_events_would_be(tmp_path: Path, changes: dict[str, Any]) -> None:
    predictions = [plain(number) for number in range(200)]
    traced = Caller("t", "bob", "", read_trace({b"traceparent": b"00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01"}))
    predictions.append(plain(7, caller=traced, output=np.array([True])))
    writer = files(tmp_path, **changes)
    block = block_of(*predictions, has_features=changes.get("has_features", True))
    assert writer.table([block]).equals(writer.table(predictions))


@pytest.mark.parametrize(
    "odd",
    [
        {"rows": 2, "output": np.array([1, 2])},
        {"output": np.array(["text"])},
        {"output": np.array([[0.2, 0.8]])},
        {"output": [1.0]},
        {"output": None, "status": "error"},
        {"payload": Tensor(array=np.zeros((1, 2)))},
    ],
)
def test_what_is_not_one_row_and_one_number_is_no_plain_prediction(odd: dict[str, Any]) -> None:
    assert not is_plain(plain(**odd))


def test_a_block_takes_its_own_kind_and_day_until_it_is_full() -> None:
    block = block_of(plain())
    assert not block.takes(plain(time=NOON + 86_400))
    assert not block.takes(plain(payload=Matrix(values=np.zeros((1, 2)), columns=("x", "y"))))
    assert not block.takes(plain(payload=Matrix(values=np.zeros((1, 2), dtype=np.float32), columns=COLUMNS)))
    for number in range(CAPACITY - 1):
        block.add(plain(number))
    assert len(block) == CAPACITY
    assert not block.takes(plain())


def test_nothing_is_lost_or_doubled_while_the_thread_writes(tmp_path: Path) -> None:
    settings = ServingSettings(endpoint="churn", events_dir=str(tmp_path), log="full", log_flush_s=0.001)
    recorder = open_recorder(settings, signature=TYPED, model_digest="")
    for number in range(5000):
        recorder.record(plain(number) if number % 50 else plain(number, output=np.array(["odd"])))
    recorder.close()
    paths = tmp_path.rglob("*.parquet")
    rows = [row for path in paths for row in pq.ParquetFile(path).read(columns=["request_id"]).to_pylist()]
    assert sorted(row["request_id"] for row in rows) == sorted(f"r{number}" for number in range(5000))


def test_a_row_is_copied_so_that_who_owns_it_may_write_into_it_again(tmp_path: Path) -> None:
    prediction = plain(3)
    block = block_of(prediction)
    prediction.payload.values[:] = -1.0  # type: ignore[union-attr]
    prediction.output[:] = 9
    (row,) = files(tmp_path).table([block]).to_pylist()
    assert row["feature_income"] == 3.0
    assert row["prediction"] in {0.0, 1.0}


def test_drops_count_the_rows_of_a_block(tmp_path: Path) -> None:
    blocked = tmp_path / "events"
    blocked.write_text("a file where the store should be")
    drops: list[tuple[str, str, int]] = []
    told = threading.Event()

    def on_drop(*drop: Any) -> None:
        drops.append(drop)
        told.set()

    settings = ServingSettings(endpoint="churn", events_dir=str(blocked), log="full")
    recorder = open_recorder(settings, signature=TYPED, model_digest="", on_drop=on_drop)
    for number in range(5):
        recorder.record(plain(number))
    recorder.close()
    assert told.wait(10)
    assert drops == [("predictions", "unwritable", 5)]
