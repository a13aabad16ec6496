"""Answers wait by the batch: what is written of them is what would be written of the events themselves."""

import random
import threading
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from mlflow_deploy_plugin.serving.events import open_recorder
from mlflow_deploy_plugin.serving.events.prediction_files import PredictionFiles
from mlflow_deploy_plugin.serving.events.redaction import Redaction
from mlflow_deploy_plugin.serving.events.sampling import is_sampled
from mlflow_deploy_plugin.serving.events.waiting import Waiting
from mlflow_deploy_plugin.serving.payloads import join
from mlflow_deploy_plugin.serving.record import Batch, Prediction, singly
from mlflow_deploy_plugin.serving.request import Caller, Matrix, Tensor
from mlflow_deploy_plugin.serving.signature import Column, Signature
from mlflow_deploy_plugin.serving.trace import read_trace
from mlflow_deploy_plugin.spec.settings import ServingSettings

NOON = datetime(2026, 3, 4, 12, tzinfo=UTC).timestamp()
COLUMNS = ("age", "income")
ANSWERED = ["prediction", "prediction_text"]
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


def batch_of(*predictions: Prediction, output: Any = None) -> Batch:
    """What the books make of predictions that one call of the model answered."""
    return Batch(
        callers=[one.caller for one in predictions],
        times=[one.time for one in predictions],
        protocols=[one.protocol for one in predictions],
        latencies_ms=[one.latency_ms for one in predictions],
        payload=join([one.payload for one in predictions]),
        output=np.concatenate([one.output for one in predictions]) if output is None else output,
    )


def waiting(batches: Iterable[Batch]) -> list[Waiting]:
    return [Waiting.of(batch) for batch in batches]


TRACED = Caller("t", "bob", "", read_trace({b"traceparent": b"00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01"}))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"has_features": False},
        {"redaction": Redaction(dropped=frozenset({"age"}))},
        {"redaction": Redaction(hashed=frozenset({"age"}), key=b"k" * 16)},
    ],
    ids=["full", "without features", "redacted", "hashed"],
)
def test_batches_are_written_as_their_events_would_be(tmp_path: Path, changes: dict[str, Any]) -> None:
    predictions = [plain(number) for number in range(200)]
    predictions.append(plain(7, caller=TRACED, output=np.array([True])))
    predictions.append(plain(8, payload=Matrix(values=np.array([[np.nan, 1.0]]), columns=COLUMNS)))
    writer = files(tmp_path, **changes)
    batches = [batch_of(*predictions[:64]), batch_of(*predictions[64:200]), *map(batch_of, predictions[200:])]
    assert writer.table(waiting(batches)).equals(writer.table(predictions))


@pytest.mark.parametrize(
    "output",
    [
        np.array([[0.2, 0.8], [0.1, 0.9]]),
        np.array(["yes", "no"]),
        np.array([[1.0], [2.0]]),
        [1, 2.5],
        ["yes", 1],
        {"a": np.array([1, 2]), "b": np.array(["x", "y"])},
    ],
    ids=["matrix", "text", "column", "list", "mixed list", "named arrays"],
)
def test_whatever_a_model_answers_is_written_alike(tmp_path: Path, output: Any) -> None:
    batch = batch_of(plain(1), plain(2), output=output)
    writer = files(tmp_path)
    assert writer.table(waiting([batch])).equals(writer.table(singly(batch)))


def test_tensors_and_tables_of_other_columns_may_follow_each_other(tmp_path: Path) -> None:
    other = Matrix(values=np.zeros((1, 2), dtype=np.float32), columns=("age", "x"))
    batches = [
        batch_of(plain(1), plain(2)),
        batch_of(plain(3, payload=other)),
        batch_of(plain(4, payload=Tensor(array=np.ones((1, 3))))),
    ]
    writer = files(tmp_path)
    singles = [one for batch in batches for one in singly(batch)]
    assert writer.table(waiting(batches)).equals(writer.table(singles))


def test_a_batch_of_midnight_lies_in_the_folders_of_both_days(tmp_path: Path) -> None:
    midnight = datetime(2026, 3, 5, tzinfo=UTC).timestamp()
    files(tmp_path)(waiting([batch_of(plain(1, time=midnight - 0.001), plain(2, time=midnight + 0.001))]))
    days = {path.parent.parent.name: pq.ParquetFile(path).read().num_rows for path in tmp_path.rglob("*.parquet")}
    assert days == {"date=2026-03-04": 1, "date=2026-03-05": 1}


def test_nothing_is_lost_or_doubled_while_the_thread_writes(tmp_path: Path) -> None:
    settings = ServingSettings(endpoint="churn", events_dir=str(tmp_path), log="full", log_flush_s=0.001)
    recorder = open_recorder(settings, signature=TYPED, model_digest="")
    for number in range(0, 5000, 50):
        recorder.record(plain(number, output=np.array(["odd"])))
        recorder.record_batch(batch_of(*map(plain, range(number + 1, number + 50))))
    recorder.close()
    paths = tmp_path.rglob("*.parquet")
    rows = [row for path in paths for row in pq.ParquetFile(path).read(columns=["request_id"]).to_pylist()]
    assert sorted(row["request_id"] for row in rows) == sorted(f"r{number}" for number in range(5000))


@pytest.mark.parametrize("is_named", [False, True], ids=["array", "named arrays"])
@pytest.mark.parametrize("way", ["by the batch", "by the request"])
@pytest.mark.parametrize("log_sample", [1.0, 0.9999, 0.5])
def test_an_answer_is_copied_since_a_model_may_use_its_buffer_again(
    tmp_path: Path, log_sample: float, way: str, *, is_named: bool
) -> None:
    settings = ServingSettings(endpoint="churn", events_dir=str(tmp_path), log="full", log_sample=log_sample)
    recorder = open_recorder(settings, signature=TYPED, model_digest="")
    buffer = np.arange(20.0)
    batch = batch_of(*map(plain, range(20)), output={"a": buffer, "b": buffer} if is_named else buffer)
    sampled = [one for one in singly(batch) if is_sampled(one.caller.request_id, log_sample)]
    expected = files(tmp_path).table(sampled).select(ANSWERED).to_pylist()
    if way == "by the batch":
        recorder.record_batch(batch)
    else:
        for one in singly(batch):
            recorder.record(one)
    buffer[:] = 99
    recorder.close()
    (path,) = tmp_path.rglob("*.parquet")
    assert pq.ParquetFile(path).read(columns=ANSWERED).to_pylist() == expected
    assert expected


def test_a_batch_of_which_nothing_is_sampled_is_not_even_dealt(tmp_path: Path) -> None:
    settings = ServingSettings(endpoint="churn", events_dir=str(tmp_path), log="full", log_sample=0.5)
    recorder = open_recorder(settings, signature=TYPED, model_digest="")
    unsampled = [plain(n) for n in range(20) if not is_sampled(f"r{n}", 0.5)]
    recorder.record_batch(batch_of(*unsampled, output="one value, which no rows can be dealt"))
    recorder.close()
    assert not list(tmp_path.rglob("*.parquet"))


def test_of_a_batch_those_are_logged_whose_ids_are_sampled(tmp_path: Path) -> None:
    settings = ServingSettings(endpoint="churn", events_dir=str(tmp_path), log="full", log_sample=0.3)
    recorder = open_recorder(settings, signature=TYPED, model_digest="")
    recorder.record_batch(batch_of(*map(plain, range(100))))
    recorder.close()
    (path,) = tmp_path.rglob("*.parquet")
    table = pq.ParquetFile(path).read(columns=["request_id", "feature_income"]).to_pylist()
    assert [row["request_id"] for row in table] == [f"r{n}" for n in range(100) if is_sampled(f"r{n}", 0.3)]
    assert [row["feature_income"] for row in table] == [float(row["request_id"][1:]) for row in table]


def test_a_row_that_cannot_be_written_costs_only_itself(tmp_path: Path) -> None:
    drops: list[tuple[str, str, int]] = []
    settings = ServingSettings(endpoint="churn", events_dir=str(tmp_path), log="full")
    recorder = open_recorder(settings, signature=TYPED, model_digest="", on_drop=lambda *drop: drops.append(drop))
    output = np.array([1, Unreadable(), 3], dtype=object)
    recorder.record_batch(batch_of(plain(1), plain(2), plain(3), output=output))
    recorder.close()
    rows = [row for path in tmp_path.rglob("*.parquet") for row in pq.ParquetFile(path).read().to_pylist()]
    assert sorted(row["request_id"] for row in rows) == ["r1", "r3"]
    assert drops == [("predictions", "unreadable", 1)]


class Unreadable:
    """What no column holds."""

    def __str__(self) -> str:
        raise ValueError("unreadable")


def test_drops_count_the_rows_of_a_batch(tmp_path: Path) -> None:
    blocked = tmp_path / "events"
    blocked.write_text("a file where the store should be")
    drops: list[tuple[str, str, int]] = []
    told = threading.Event()

    def on_drop(*drop: Any) -> None:
        drops.append(drop)
        told.set()

    settings = ServingSettings(endpoint="churn", events_dir=str(blocked), log="full")
    recorder = open_recorder(settings, signature=TYPED, model_digest="", on_drop=on_drop)
    recorder.record_batch(batch_of(*map(plain, range(5))))
    recorder.close()
    assert told.wait(10)
    assert drops == [("predictions", "unwritable", 5)]
