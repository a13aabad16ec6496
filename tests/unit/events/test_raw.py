"""Raw files: the tables that are made of them are those that the worker itself would have made."""

import dataclasses
import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from mlflow_deploy_plugin.errors import EventStoreError
from mlflow_deploy_plugin.serving.events import open_recorder, raw
from mlflow_deploy_plugin.serving.events.convert import Converter, Turn
from mlflow_deploy_plugin.serving.events.prediction_files import PredictionFiles
from mlflow_deploy_plugin.serving.events.redaction import Redaction
from mlflow_deploy_plugin.serving.events.waiting import Waiting
from mlflow_deploy_plugin.serving.record import Batch, Prediction
from mlflow_deploy_plugin.serving.request import Caller, Frame, Matrix, Payload, Raw, Tensor, Tensors
from mlflow_deploy_plugin.serving.signature import Column, Signature, TensorSpec
from mlflow_deploy_plugin.serving.trace import Trace
from mlflow_deploy_plugin.spec.settings import ServingSettings

COLUMNS = ("age", "income")
TYPED = Signature(inputs=(Column(name="age", type="long"), Column(name="income", type="double")))
IMAGE = Signature(inputs=(TensorSpec(name="", dtype="float32", shape=(-1, 2, 2)),))
TRACE = Trace(trace_id="0af7651916cd43dd8448eb211c80319c", parent_id="b7ad6b7169203331", span_id="1" * 16, flags="01")
NOON = 1_772_625_600.0


def files_of(folder: Path, *, signature: Signature = TYPED, has_features: bool = True) -> PredictionFiles:
    return PredictionFiles(
        root=folder / "events", stage="production", endpoint="churn", deployment="churn-v4", model_digest="sha256:1",
        signature=signature, redaction=Redaction(), has_features=has_features,
    )  # fmt: skip


def writer_of(folder: Path, **kinds: Any) -> raw.RawFiles:
    return raw.RawFiles(folder=folder / "raw", tables=files_of(folder, **kinds))


def converter_of(folder: Path) -> Converter:
    return Converter(folder / "raw", folder / "events")


def matrix_of(rows: int, dtype: str = "float64") -> Matrix:
    return Matrix(values=np.arange(2 * rows).reshape(rows, 2).astype(dtype), columns=COLUMNS)


def waiting_of(rows: int = 3, *, payload: Payload | None = None, output: Any = None, **callers: Any) -> Waiting:
    known = {"user_id": "ann", "assigned": "churn-v4", "trace": TRACE} | callers
    batch = Batch(
        callers=[Caller(f"r{number}", **(known if number % 2 else {})) for number in range(rows)],
        times=[NOON + number for number in range(rows)],
        protocols=["rest"] * rows if rows % 2 else [f"p{number}" for number in range(rows)],
        latencies_ms=[0.5 * number for number in range(rows)],
        payload=matrix_of(rows) if payload is None else payload,
        output=np.arange(rows) / 7 if output is None else output,
    )
    return Waiting.of(batch)


def prediction_of(**changes: Any) -> Prediction:
    values: dict[str, Any] = {
        "caller": Caller("alone", user_id="bob", assigned="churn-v4", trace=TRACE),
        "time": NOON,
        "protocol": "mlflow",
        "status": "success",
        "latency_ms": 1.5,
        "rows": 2,
        "payload": matrix_of(2),
        "output": np.array([0, 1]),
    }
    return Prediction(**values | changes)


def tables_in(folder: Path) -> list[pa.Table]:
    return [pq.ParquetFile(path).read() for path in sorted((folder / "events").rglob("*.parquet"))]


def rows_in(folder: Path) -> list[dict[str, Any]]:
    return [row for table in tables_in(folder) for row in table.to_pylist()]


def raw_in(folder: Path) -> list[Path]:
    return sorted((folder / "raw").glob("[!.]*"))


@pytest.mark.parametrize(
    "events",
    [
        [waiting_of(5)],
        [waiting_of(4, payload=matrix_of(4, "float32")), waiting_of(1), waiting_of(2, payload=matrix_of(2, "int64"))],
        [waiting_of(2, output=np.array([[0.25, 0.75], [1.0, 0.0]]))],
        [waiting_of(2, output=np.array([True, False]), user_id="", assigned="", trace=None)],
        [prediction_of(), waiting_of(3), prediction_of(caller=Caller("other"), rows=1, payload=matrix_of(1))],
        [prediction_of(status="error", output=None)],
        [prediction_of(output=np.array([[1.0, 2.0]]))],
        [waiting_of(2, payload=Matrix(values=np.array([[np.nan, 1.0], [2.0, np.inf]]), columns=COLUMNS))],
        [waiting_of(2, payload=Matrix(values=np.ones((2, 3)), columns=("age", "income", "more")))],
        [waiting_of(2, user_id='ä"\\\n☃', assigned="x")],
    ],
    ids=["page", "types", "several", "bare", "singles", "error", "whole", "holes", "columns", "text"],
)
def test_a_table_of_raw_files_is_the_table_of_the_events(tmp_path: Path, events: list[raw.Event]) -> None:
    writer_of(tmp_path / "a")(events)
    assert len(raw_in(tmp_path / "a")) == 1
    done = converter_of(tmp_path / "a").turn()
    assert done == Turn(files=1, requests=sum(e.rows if isinstance(e, Waiting) else 1 for e in events))
    assert raw_in(tmp_path / "a") == []
    files_of(tmp_path / "b")(events)
    (made,), (expected,) = [tables_in(tmp_path / side) for side in "ab"]
    assert made.equals(expected, check_metadata=True)
    assert made.num_rows == sum(event.rows for event in events)


@pytest.mark.parametrize("has_features", [True, False])
def test_a_tensor_keeps_its_rows_and_an_unwanted_input_is_not_written(tmp_path: Path, *, has_features: bool) -> None:
    image = Tensor(array=np.arange(12, dtype=np.float32).reshape(3, 2, 2))
    writer_of(tmp_path, signature=IMAGE, has_features=has_features)([waiting_of(3, payload=image)])
    (path,) = raw_in(tmp_path)
    assert (image.array.tobytes() in path.read_bytes()) is has_features
    converter_of(tmp_path).turn()
    rows = rows_in(tmp_path)
    assert [row.get("feature_input") for row in rows] == (
        image.array.reshape(3, 4).tolist() if has_features else [None] * 3
    )


@given(
    values=arrays.arrays(
        st.sampled_from(["f8", "f4", "f2", "i8", "i2", "u4", "?", ">f8"]),
        st.tuples(st.integers(1, 4), st.integers(0, 3)),
        elements={"allow_nan": False},
    ),
    texts=st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])),
)
def test_what_is_read_is_what_was_written(values: Any, texts: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("raw")
    event = waiting_of(len(values), payload=Tensor(array=values), output=values, user_id=texts, assigned=texts)
    writer_of(folder, signature=IMAGE)([event])
    (path,) = raw_in(folder)
    tables, (again,) = raw.read(path, events_dir=folder / "events")
    assert tables == dataclasses.replace(files_of(folder, signature=IMAGE), name=path.stem)
    assert isinstance(again, Waiting)
    assert isinstance(again.payload, Tensor)
    np.testing.assert_array_equal(again.payload.array, values, strict=True)
    np.testing.assert_array_equal(again.output, values, strict=True)
    assert (again.times, again.latencies_ms) == (event.times, event.latencies_ms)
    assert (again.request_ids, again.user_ids, again.assigned) == (event.request_ids, event.user_ids, event.assigned)
    assert list(again.protocols) == list(event.protocols)


@pytest.mark.parametrize(
    "other",
    [
        prediction_of(payload=Frame(frame=pd.DataFrame({"age": [1, 2], "income": ["a", "b"]}))),
        prediction_of(payload=Raw(value={"prompt": "hello"}), rows=1),
        prediction_of(payload=Tensors(arrays={"x": np.ones(2)})),
        prediction_of(payload=Tensor(array=np.array(["a", "b"]))),
        prediction_of(output=["yes", "no"]),
        waiting_of(2, output=np.array(["yes", "no"])),
        waiting_of(2, output=np.array([None, 1], dtype=object)),
    ],
    ids=["frame", "document", "tensors", "text", "list", "labels", "objects"],
)
def test_what_is_no_numbers_becomes_a_table_at_once(tmp_path: Path, other: raw.Event) -> None:
    writer_of(tmp_path)([waiting_of(3), other])
    assert raw_in(tmp_path) == []
    assert len(rows_in(tmp_path)) == 3 + other.rows


def test_columns_that_readers_must_not_see_never_lie_there_raw(tmp_path: Path) -> None:
    for number, redaction in enumerate([{}, {"log_drop": "age"}, {"log_hash": "age"}]):
        folder = tmp_path / str(number)
        settings = ServingSettings(
            endpoint="churn", events_dir=str(folder / "events"), log_raw_dir=str(folder / "raw"), **redaction
        )
        recorder = open_recorder(settings, signature=TYPED, model_digest="")
        recorder.record(prediction_of())
        recorder.close()
        assert (len(raw_in(folder)), len(rows_in(folder))) == ((0, 2) if redaction else (1, 0))


def test_a_day_that_ends_within_a_file_is_two_tables(tmp_path: Path) -> None:
    midnight = NOON + 12 * 3600
    writer_of(tmp_path)([prediction_of(time=midnight - 1), prediction_of(time=midnight + 1)])
    converter_of(tmp_path).turn()
    days = [path.parent.parent.name for path in (tmp_path / "events").rglob("*.parquet")]
    assert sorted(days) == ["date=2026-03-04", "date=2026-03-05"]
    assert len(rows_in(tmp_path)) == 4


def test_a_file_that_is_torn_anywhere_is_told_and_kept_and_the_others_are_converted(tmp_path: Path) -> None:
    writer_of(tmp_path)([waiting_of(1), prediction_of(rows=1, payload=matrix_of(1), output=np.array([1]))])
    (whole,) = raw_in(tmp_path)
    data = whole.read_bytes()
    torn = whole.with_name("torn.raw")
    for length in range(len(data)):
        torn.write_bytes(data[:length])
        with pytest.raises(EventStoreError, match=r"torn\.raw"):
            raw.read(torn, events_dir=tmp_path)
    done = converter_of(tmp_path).turn()
    assert (done.files, done.trouble) == (1, "")
    assert [text.split(" is torn")[0] for text in done.bad] == [str(torn)]
    assert [path.name for path in raw_in(tmp_path)] == ["torn.raw.bad"]
    assert raw_in(tmp_path)[0].read_bytes() == data[:-1]
    assert len(rows_in(tmp_path)) == 2
    assert converter_of(tmp_path).turn() == Turn()


def test_a_file_of_which_no_table_can_be_made_keeps_nobody_waiting(tmp_path: Path) -> None:
    odd = Signature(inputs=(Column(name="age", type="of no kind"),))
    writer_of(tmp_path, signature=odd)([waiting_of(1)])
    writer_of(tmp_path)([waiting_of(2)])
    done = converter_of(tmp_path).turn()
    assert (done.files, done.requests, len(done.bad)) == (1, 2, 1)
    assert "of no kind" in done.bad[0]
    assert [path.suffix for path in raw_in(tmp_path)] == [".bad"]


def test_a_format_of_the_future_is_told(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "new.raw").write_bytes(raw.MAGIC.replace(b"1", b"2") + b"whatever")
    (text,) = converter_of(tmp_path).turn().bad
    assert "newer modelserve" in text
    assert [path.name for path in raw_in(tmp_path)] == ["new.raw.bad"]


def test_a_disk_that_refuses_keeps_what_waits(tmp_path: Path) -> None:
    writer_of(tmp_path)([waiting_of(2)])
    (tmp_path / "events").write_text("a file in the folder's place")
    done = converter_of(tmp_path).turn()
    assert "were not converted" in done.trouble
    assert "kept and tried again" in done.trouble
    assert done.left == 1
    assert len(raw_in(tmp_path)) == 1
    (tmp_path / "events").unlink()
    assert converter_of(tmp_path).turn() == Turn(files=1, requests=2)


def test_a_backlog_is_worked_off_oldest_first_in_several_turns(tmp_path: Path) -> None:
    for rows in (1, 2, 3):
        writer_of(tmp_path)([waiting_of(rows)])
    hasty = Converter(tmp_path / "raw", tmp_path / "events", turn_s=0.0)
    turns = [hasty.turn() for _ in range(4)]
    assert turns == [Turn(files=1, requests=n, left=3 - n) for n in (1, 2, 3)] + [Turn()]


def test_a_crash_between_the_table_and_the_end_of_its_raw_file_doubles_nothing(tmp_path: Path) -> None:
    writer_of(tmp_path)([waiting_of(2)])
    (path,) = raw_in(tmp_path)
    data = path.read_bytes()
    converter_of(tmp_path).turn()
    path.write_bytes(data)  # as if the removal had never come to the disk
    converter_of(tmp_path).turn()
    assert raw_in(tmp_path) == []
    assert [row["request_id"] for row in rows_in(tmp_path)] == ["r0", "r1"]


def test_what_a_killed_worker_left_half_written_goes_after_an_hour(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    old, young = (tmp_path / "raw" / f".{name}.raw.tmp" for name in ("old", "young"))
    for path in (old, young):
        path.write_bytes(raw.MAGIC)
    os.utime(old, (0, 0))
    assert converter_of(tmp_path).turn() == Turn()
    assert (old.exists(), young.exists()) == (False, True)


def test_a_raw_folder_that_cannot_be_written_is_a_drop_and_no_failure(tmp_path: Path) -> None:
    (tmp_path / "raw").write_text("a file in the folder's place")
    drops: list[tuple[str, str, int]] = []
    settings = ServingSettings(endpoint="churn", events_dir=str(tmp_path), log_raw_dir=str(tmp_path / "raw"))
    recorder = open_recorder(settings, signature=TYPED, model_digest="", on_drop=lambda *drop: drops.append(drop))
    recorder.record(prediction_of())
    recorder.close()
    assert drops == [("predictions", "unwritable", 1)]
