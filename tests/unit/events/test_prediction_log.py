"""The Bento's log: columns by the signature, whole files only, and never a failure that a caller could see."""

import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlflow_deploy_plugin.serving.events import open_labels, open_recorder
from mlflow_deploy_plugin.serving.events import queue as queue_module
from mlflow_deploy_plugin.serving.events.drops import Drops
from mlflow_deploy_plugin.serving.events.prediction_files import by_day
from mlflow_deploy_plugin.serving.events.queue import FlushedQueue
from mlflow_deploy_plugin.serving.record import Label, NullRecorder, Prediction
from mlflow_deploy_plugin.serving.request import Caller, Frame, Matrix, Payload, Raw, Tensor, Tensors
from mlflow_deploy_plugin.serving.signature import Column, Signature, TensorSpec
from mlflow_deploy_plugin.serving.trace import Trace
from mlflow_deploy_plugin.spec.events import LABEL_COLUMNS, PREDICTION_COLUMNS, SCHEMA_KEY
from mlflow_deploy_plugin.spec.settings import ServingSettings

NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)
AGE_INCOME = Signature(inputs=(Column(name="age", type="long"), Column(name="income", type="double")))
DROPS = list[tuple[str, str, int]]


def make_matrix(*rows: tuple[float, float]) -> Matrix:
    return Matrix(values=np.array(rows or [(30.0, 5.5)]), columns=("age", "income"))


def make_prediction(**changes: Any) -> Prediction:
    payload = changes.pop("payload", make_matrix())
    values: dict[str, Any] = {
        "caller": Caller(request_id="r1", user_id="ann", assigned="churn-v4"),
        "time": NOON.timestamp(),
        "protocol": "mlflow",
        "status": "success",
        "latency_ms": 1.5,
        "rows": 1,
        "payload": payload,
        "output": np.array([1]),
    }
    return Prediction(**values | changes)


def make_settings(folder: Path, **changes: Any) -> ServingSettings:
    values: dict[str, Any] = {
        "endpoint": "churn", "deployment": "churn-v4", "stage": "production", "events_dir": str(folder), "log": "full",
    }  # fmt: skip
    return ServingSettings(**values | changes)


def visible(folder: Path, table: str = "predictions") -> list[Path]:
    return sorted(path for path in (folder / table).rglob("*.parquet") if not path.name.startswith("."))


def logged(
    folder: Path,
    *predictions: Prediction,
    signature: Signature = AGE_INCOME,
    drops: DROPS | None = None,
    **settings: Any,
) -> list[dict[str, Any]]:
    recorder = open_recorder(
        make_settings(folder, **settings),
        signature=signature,
        model_digest="sha256:1",
        on_drop=None if drops is None else lambda *drop: drops.append(drop),
    )
    for prediction in predictions:
        recorder.record(prediction)
    recorder.close()
    return [row for path in visible(folder) for row in pq.ParquetFile(path).read().to_pylist()]


def test_a_prediction_becomes_a_row_with_its_features(tmp_path: Path) -> None:
    assert logged(tmp_path, make_prediction()) == [
        {
            "request_id": "r1", "row": 0, "time": NOON, "user_id": "ann", "assigned": "churn-v4",
            "trace_id": "", "span_id": "", "model_digest": "sha256:1", "protocol": "mlflow", "status": "success",
            "latency_ms": 1.5,
            "prediction": 1.0, "prediction_text": None, "feature_age": 30, "feature_income": 5.5,
        }
    ]  # fmt: skip


def test_the_columns_are_those_of_the_contract_typed_by_the_signature(tmp_path: Path) -> None:
    logged(tmp_path, make_prediction())
    schema = pq.read_schema(visible(tmp_path)[0])
    types = {name: str(schema.field(name).type).replace("tz=", "") for name in schema.names}
    assert types == {**PREDICTION_COLUMNS, "feature_age": "int64", "feature_income": "double"}


def test_the_file_says_which_version_of_the_columns_it_has(tmp_path: Path) -> None:
    logged(tmp_path, make_prediction())
    assert pq.read_schema(visible(tmp_path)[0]).metadata[SCHEMA_KEY] == b"2"


def test_the_trace_of_a_request_is_kept(tmp_path: Path) -> None:
    trace = Trace(trace_id="a" * 32, parent_id="b" * 16, span_id="c" * 16, flags="01")
    rows = logged(tmp_path, make_prediction(caller=Caller(request_id="r1", trace=trace)), make_prediction())
    assert [(row["trace_id"], row["span_id"]) for row in rows] == [("a" * 32, "c" * 16), ("", "")]


def test_the_file_lies_in_the_partition_of_its_deployment_and_day(tmp_path: Path) -> None:
    logged(tmp_path, make_prediction())
    assert visible(tmp_path)[0].parent.relative_to(tmp_path) == Path(
        "predictions/stage=production/endpoint=churn/date=2026-03-04/deployment=churn-v4"
    )


def test_rows_of_one_request_are_numbered(tmp_path: Path) -> None:
    batch = make_prediction(payload=make_matrix((1, 2), (3, 4)), rows=2, output=np.array([0, 1]))
    rows = logged(tmp_path, batch, make_prediction())
    assert [(row["row"], row["prediction"], row["feature_age"]) for row in rows] == [(0, 0, 1), (1, 1, 3), (0, 1, 30)]


def test_predictions_mode_keeps_the_features_out(tmp_path: Path) -> None:
    (row,) = logged(tmp_path, make_prediction(), log="predictions")
    assert set(row) == set(PREDICTION_COLUMNS)


def test_redacted_columns_are_left_out(tmp_path: Path) -> None:
    frame = Frame(frame=pd.DataFrame({"age": [1], "income": [2.0]}))
    rows = logged(tmp_path, make_prediction(), make_prediction(payload=frame), log_drop="income, other")
    assert all("feature_income" not in row and "feature_age" in row for row in rows)


def test_a_free_body_is_not_kept_where_columns_are_redacted(tmp_path: Path) -> None:
    (row,) = logged(tmp_path, make_prediction(payload=Raw(value={"deep": {"income": 1}})), log_drop="income")
    assert not any("json" in name for name in row)


def test_hashed_columns_are_the_same_for_the_same_value_and_unreadable_without_the_key(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_bytes(b"k" * 32)
    frame = Frame(frame=pd.DataFrame({"age": [30.0], "income": [None]}))
    asked = {"log_hash": "age,income", "log_key_file": str(key)}
    matrix = make_prediction(payload=make_matrix((30, 5)))
    first, second = logged(tmp_path, matrix, make_prediction(payload=frame), **asked)
    assert first["feature_age"] == second["feature_age"]
    assert len(first["feature_age"]) == 20
    assert second["feature_income"] is None
    key.write_bytes(b"o" * 32)
    (other,) = logged(tmp_path / "other", matrix, **asked)
    assert other["feature_age"] != first["feature_age"]


@pytest.mark.parametrize(
    "values",
    [np.array([np.nan, 3], dtype="float32"), pd.array([pd.NA, 3], dtype="Int64"), [pd.NaT, 3]],
    ids=["32 bits", "nullable", "moment"],
)
def test_what_is_missing_has_no_hash(tmp_path: Path, values: Any) -> None:
    (tmp_path / "key").write_bytes(b"k" * 32)
    payload = Frame(frame=pd.DataFrame({"age": values}))
    prediction = make_prediction(payload=payload, rows=2, output=np.array([1, 1]))
    missing, there = logged(tmp_path, prediction, log_hash="age", log_key_file=str(tmp_path / "key"))
    assert missing["feature_age"] is None
    assert there["feature_age"] is not None


def test_a_name_that_the_signature_lacks_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    logged(tmp_path, make_prediction(), log_drop="income,Age")
    assert "log_drop or log_hash names 'Age', of which the model's signature says nothing" in caplog.text
    assert "the signature has 'age', 'income'" in caplog.text
    caplog.clear()
    logged(tmp_path, make_prediction(), log_drop="income,age")
    logged(tmp_path, make_prediction(), signature=Signature(), log_drop="Age")  # nobody knows its columns
    logged(tmp_path, make_prediction(), log="predictions", log_drop="Age")
    assert not caplog.text


@pytest.mark.parametrize("content", [b"", b"short"])
def test_columns_to_hash_are_left_out_where_there_is_no_key(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, content: bytes
) -> None:
    (tmp_path / "key").write_bytes(content)
    (row,) = logged(tmp_path, make_prediction(), log_hash="age", log_key_file=str(tmp_path / "key"))
    assert "feature_age" not in row
    assert "columns age are left out of the log and not hashed" in caplog.text


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (Frame(frame=pd.DataFrame({"age": [30], "income": [5.5]})), {"feature_age": 30, "feature_income": 5.5}),
        (Frame(frame=pd.DataFrame({"age": [30.0], "income": [np.nan]})), {"feature_age": 30, "feature_income": None}),
        (Frame(frame=pd.DataFrame({"age": ["x"], "income": [1]})), {"feature_age": None, "feature_income": 1.0}),
        (Raw(value={"prompt": "hi"}), {"feature_age": None, "feature_input_json": '{"prompt":"hi"}'}),
    ],
    ids=["frame", "missing", "misfit", "raw"],
)
def test_every_table_fits_the_signatures_columns(tmp_path: Path, payload: Payload, expected: dict[str, Any]) -> None:
    (row,) = logged(tmp_path, make_prediction(payload=payload))
    assert row.items() >= expected.items()


IMAGES = Signature(inputs=(TensorSpec(name="", dtype="float32", shape=(-1, 2, 2)),))
NAMED = Signature(
    inputs=(TensorSpec(name="x", dtype="float16", shape=(-1, 2)), TensorSpec(name="word", dtype="str", shape=(-1,)))
)


def test_a_tensor_is_one_flat_list_per_row(tmp_path: Path) -> None:
    array = np.arange(8, dtype=np.float32).reshape(2, 2, 2)
    tensor = make_prediction(payload=Tensor(array=array), rows=2, output=np.array([1.0, 2.0]))
    rows = logged(tmp_path, tensor, tensor, signature=IMAGES)
    assert [row["feature_input"] for row in rows] == [[0, 1, 2, 3], [4, 5, 6, 7]] * 2
    assert pq.read_schema(visible(tmp_path)[0]).field("feature_input").type == pa.list_(pa.float32())


def test_named_tensors_are_a_column_each(tmp_path: Path) -> None:
    arrays = {"x": np.array([[1, 2]], dtype=np.float16), "word": np.array([b"hi"], dtype=object)}
    (row,) = logged(tmp_path, make_prediction(payload=Tensors(arrays=arrays)), signature=NAMED)
    assert (row["feature_x"], row["feature_word"]) == ([1, 2], "hi")


def test_a_model_without_a_signature_is_typed_by_its_values(tmp_path: Path) -> None:
    (row,) = logged(tmp_path, make_prediction(), signature=Signature())
    assert (row["feature_age"], row["feature_income"]) == (30.0, 5.5)


@pytest.mark.parametrize("values", [[1, "c", None], [pd.Period("2026-01", "M"), None, None], [10**30, 1.5, None]])
def test_values_of_several_kinds_are_text_without_a_signature_and_cost_no_prediction(
    tmp_path: Path, values: list[Any]
) -> None:
    drops: DROPS = []
    payload = Frame(frame=pd.DataFrame({"x": pd.Series(values, dtype=object)}))
    prediction = make_prediction(payload=payload, rows=3, output=np.ones(3))
    rows = logged(tmp_path, prediction, signature=Signature(), drops=drops)
    assert (len(rows), drops) == (3, [])
    assert any(isinstance(row["feature_x"], str) for row in rows)


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_moments_are_kept_to_the_microsecond(tmp_path: Path, unit: str) -> None:
    seen = np.array(["2026-03-29T02:30:00.123456789", "NaT"], dtype=f"datetime64[{unit}]")
    signature = Signature(inputs=(Column(name="seen", type="datetime"),))
    payload = Frame(frame=pd.DataFrame({"seen": seen}))
    rows = logged(tmp_path, make_prediction(payload=payload, rows=2, output=np.ones(2)), signature=signature)
    assert [row["feature_seen"] for row in rows] == [seen[0].astype("datetime64[us]").item(), None]


@pytest.mark.parametrize(
    ("output", "number", "text"),
    [
        (np.array([0.25]), 0.25, None),
        (np.array([True]), 1.0, None),
        (np.array([[7]]), 7.0, None),
        ([3], 3.0, None),
        (4.0, 4.0, None),
        (pd.Series([5]), 5.0, None),
        (pd.DataFrame({"y": [6]}), 6.0, None),
        (np.array(["setosa"]), None, '"setosa"'),
        (["good"], None, '"good"'),
        ("text", None, '"text"'),
        (np.array([[0.1, 0.9]]), None, "[0.1,0.9]"),
        (pd.DataFrame({"a": [1], "b": ["x"]}), None, '{"a":1,"b":"x"}'),
        (pd.DataFrame({"a": ["x"]}), None, '"x"'),
        ({"p": np.array([0.5]), "q": np.array([1])}, None, '{"p":0.5,"q":1}'),
        ({"p": np.array([0.5]), "q": np.array([1, 2])}, None, '{"p":[0.5],"q":[1,2]}'),
        ([{"label": "x", "score": np.float32(0.5)}], None, '{"label":"x","score":0.5}'),
        (np.array([np.nan]), np.nan, None),
        (b"\xff", None, '"\N{REPLACEMENT CHARACTER}"'),
    ],
)
def test_every_output_has_a_column(tmp_path: Path, output: Any, number: float | None, text: str | None) -> None:
    (row,) = logged(tmp_path, make_prediction(output=output))
    assert row["prediction_text"] == text
    assert row["prediction"] == (None if number is None else pytest.approx(number, nan_ok=True))


def test_an_output_of_other_length_goes_whole_to_the_first_row(tmp_path: Path) -> None:
    batch = make_prediction(payload=make_matrix((1, 2), (3, 4)), rows=2, output=["only one"])
    assert [row["prediction_text"] for row in logged(tmp_path, batch)] == ['["only one"]', None]


def test_an_error_is_logged_with_its_input(tmp_path: Path) -> None:
    (row,) = logged(tmp_path, make_prediction(status="error", output=None))
    assert (row["status"], row["prediction"], row["feature_age"]) == ("error", None, 30)


def test_the_gateways_stand_in_for_a_user_is_no_user(tmp_path: Path) -> None:
    (row,) = logged(tmp_path, make_prediction(caller=Caller(request_id="r1", user_id="r1")))
    assert row["user_id"] == ""


def test_off_writes_nothing(tmp_path: Path) -> None:
    recorder = open_recorder(make_settings(tmp_path, log="off"), signature=AGE_INCOME, model_digest="")
    assert isinstance(recorder, NullRecorder)


def test_sampling_keeps_the_same_requests_everywhere(tmp_path: Path) -> None:
    stream = [make_prediction(caller=Caller(request_id=f"r{number}")) for number in range(400)]
    one = {row["request_id"] for row in logged(tmp_path / "a", *stream, log_sample=0.25)}
    other = {row["request_id"] for row in logged(tmp_path / "b", *reversed(stream), log_sample=0.25)}
    assert one == other
    assert 60 < len(one) < 140


def test_a_flush_over_midnight_fills_two_days() -> None:
    before, after = make_prediction(time=NOON.timestamp() + 43_199), make_prediction(time=NOON.timestamp() + 43_200)
    assert [(f"{day:%m-%d}", len(events)) for day, events in by_day([before, after])] == [("03-04", 1), ("03-05", 1)]


def test_one_event_that_fits_no_column_costs_only_itself(tmp_path: Path) -> None:
    class Hostile:
        def __getattr__(self, name: str) -> Any:
            raise RuntimeError(name)

    drops: DROPS = []
    stream = [make_prediction(output=Hostile() if number == 5 else np.array([1])) for number in range(9)]
    assert len(logged(tmp_path, *stream, drops=drops)) == 8
    assert drops == [("predictions", "unreadable", 1)]


def test_a_folder_that_cannot_be_written_is_counted(tmp_path: Path) -> None:
    blocked = tmp_path / "events"
    blocked.write_text("a file where the store should be")
    drops: DROPS = []
    recorder = open_recorder(
        make_settings(blocked), signature=AGE_INCOME, model_digest="", on_drop=lambda *drop: drops.append(drop)
    )
    recorder.record(make_prediction())
    recorder.close()
    assert drops == [("predictions", "unwritable", 1)]


def test_a_full_disk_leaves_no_file_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_space(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pq, "write_table", no_space)
    drops: DROPS = []
    assert logged(tmp_path, make_prediction(), make_prediction(), drops=drops) == []
    assert drops == [("predictions", "disk_full", 2)]
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


class Slow:
    """A disk that takes its time."""

    def __init__(self) -> None:
        self.may_go = threading.Event()
        self.written: list[int] = []

    def __call__(self, events: Any, /) -> None:
        self.may_go.wait(5)
        self.written.extend(events)


def test_a_full_queue_drops_and_counts_without_waiting() -> None:
    drops = Drops("predictions")
    disk = Slow()
    queue = FlushedQueue[int](disk, drops, 0.01, max_events=10)
    began = time.monotonic()
    for number in range(1000):
        queue.put(number, size=1)
    assert time.monotonic() - began < 1
    disk.may_go.set()
    queue.close()
    assert len(disk.written) + drops.counts["queue_full"] == 1000
    assert drops.counts["queue_full"] >= 900


def test_large_arrays_are_bounded_by_bytes() -> None:
    drops = Drops("predictions")
    disk = Slow()
    queue = FlushedQueue[int](disk, drops, 60, max_bytes=100)
    for number in range(20):
        queue.put(number, size=40)
    assert drops.counts["queue_full"] > 0
    disk.may_go.set()
    queue.close()


def test_events_are_written_at_the_beat_without_a_stop(tmp_path: Path) -> None:
    recorder = open_recorder(make_settings(tmp_path, log_flush_s=0.05), signature=AGE_INCOME, model_digest="")
    recorder.record(make_prediction())
    deadline = time.monotonic() + 5
    while not visible(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(visible(tmp_path)) == 1
    recorder.close()


def test_drops_are_told_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    now = [0.0]
    drops = Drops("predictions", clock=lambda: now[0])
    for second in (0, 30, 59, 61):
        now[0] = second
        drops.add("queue_full", 1)
    assert [record.getMessage().split(": ")[1] for record in caplog.records] == ["1 queue_full. ", "4 queue_full. "]


def test_labels_land_in_their_table(tmp_path: Path) -> None:
    sink = open_labels(make_settings(tmp_path))
    sink.accept([Label(request_id="r1", row=0, value=1), Label(request_id="r1", row=1, value="left")])
    sink.close()
    (path,) = visible(tmp_path, "labels")
    table = pq.ParquetFile(path).read()
    assert table.select(["request_id", "row", "label", "label_text"]).to_pylist() == [
        {"request_id": "r1", "row": 0, "label": 1.0, "label_text": None},
        {"request_id": "r1", "row": 1, "label": None, "label_text": '"left"'},
    ]
    assert {name: str(table.schema.field(name).type).replace("tz=", "") for name in table.column_names} == LABEL_COLUMNS


def test_of_labels_that_come_at_once_the_first_of_a_row_has_the_earliest_time(tmp_path: Path) -> None:
    sink = open_labels(make_settings(tmp_path))
    sink.accept([Label(request_id=name, row=0, value=value) for name, value in (("a", 1), ("b", 1), ("a", 0))])
    sink.close()
    (path,) = visible(tmp_path, "labels")
    first, other, second = pq.ParquetFile(path).read().to_pylist()
    assert first["time"] == other["time"] < second["time"]


def test_the_bounds_allow_for_seconds_of_the_fastest_server() -> None:
    assert queue_module.MAX_EVENTS >= 3 * 18_000
