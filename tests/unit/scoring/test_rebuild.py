"""What `mlflow deployments predict` makes of a file, and what becomes of it again."""

import io
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from mlflow_deploy_plugin.errors import ModelError
from mlflow_deploy_plugin.scoring.rebuild import read_original, rebuild
from mlflow_deploy_plugin.scoring.signature import NO_SIGNATURE, Column, Signature


def damaged(document: object) -> pd.DataFrame:
    """What MLflow's command hands to a plugin."""
    return pd.read_json(io.StringIO(json.dumps(document)))


def signature(**kinds: str) -> Signature:
    return Signature(columns=tuple(Column(name=name, kind=kind) for name, kind in kinds.items()))


@pytest.mark.parametrize(
    "body",
    [
        {"dataframe_split": {"columns": ["a", "b"], "data": [[1, "007"], [2, "x"]]}},
        {"dataframe_split": {"columns": ["a"], "index": [3], "data": [[1]]}},
        {"dataframe_split": {"columns": ["a"], "data": []}},
        {"dataframe_split": {"columns": ["a"], "data": [[1]]}, "params": {"k": 1, "t": "z"}},
        {"dataframe_split": {"columns": ["a"], "data": [[1]]}, "params": {"k": 3}},
        {"dataframe_records": [{"zip": "007"}, {"zip": "08"}]},
        {"instances": [{"a": 1}, {"a": 2}]},
        {"instances": [[1.5], [2.5]]},
        {"inputs": [[1, 2], [3, 4]]},
        {"inputs": [[[1, 2], [3, 4]], [[5, 6], [7, 8]]]},
        {"inputs": {"a": [1, 2], "b": [3, 4]}},
        {"inputs": {"a": [1], "b": [2]}, "params": {"k": 1.5}},
        {"inputs": [[1]], "params": None},
        {"inputs": []},
        {"messages": [{"role": "user", "content": "hi"}, {"role": "user", "content": "x"}], "temperature": 0.5},
    ],
    ids=lambda body: json.dumps(body)[:60],
)
def test_every_body_comes_back_as_it_was_written(body: dict[str, Any]) -> None:
    assert rebuild(damaged(body)) == body


def test_a_bare_split_becomes_a_split() -> None:
    split = {"columns": ["a", "b"], "data": [[1, 2], [3, 4]]}
    assert rebuild(damaged(split)) == {"dataframe_split": split}


def test_a_model_with_columns_named_columns_and_data_keeps_them() -> None:
    frame = damaged([{"columns": "a", "data": [1]}])
    body = rebuild(frame, signature(columns="string", data="array"))
    assert body == {"dataframe_split": {"columns": ["columns", "data"], "data": [["a", [1]]]}}


def test_a_model_whose_only_column_is_inputs_gets_a_frame() -> None:
    body = rebuild(damaged([{"inputs": "a"}]), signature(inputs="string"))
    assert body == {"dataframe_split": {"columns": ["inputs"], "data": [["a"]]}}


def test_zip_codes_are_text_again() -> None:
    body = rebuild(damaged([{"zip": "95120"}, {"zip": "94040"}]), signature(zip="string"))
    assert body["dataframe_split"]["data"] == [["95120"], ["94040"]]


def test_zip_codes_with_a_gap_are_text_again() -> None:
    body = rebuild(damaged([{"zip": "95120"}, {"zip": None}]), signature(zip="string"))
    assert body["dataframe_split"]["data"] == [["95120"], [None]]


@pytest.mark.parametrize("epoch", [1609459200, 1609459200000], ids=["seconds", "milliseconds"])
def test_epoch_numbers_are_numbers_again(epoch: int) -> None:
    frame = damaged([{"updated_at": epoch}])
    assert str(frame["updated_at"].dtype).startswith("datetime64")
    if str(frame["updated_at"].dtype) == "datetime64[ns]":
        pytest.skip("this pandas has one unit for all dates, which is refused")
    body = rebuild(frame, signature(updated_at="long"))
    assert body["dataframe_split"]["data"] == [[epoch]]


def test_a_date_stays_a_date() -> None:
    body = rebuild(damaged([{"date": "2021-01-02"}]), signature(date="datetime"))
    assert body["dataframe_split"]["data"] == [["2021-01-02T00:00:00"]]


def test_whole_numbers_are_floats_where_the_model_says_so() -> None:
    (row,) = rebuild(damaged([{"x": 1.0, "n": 2}]), signature(x="double", n="long"))["dataframe_split"]["data"]
    assert [type(value) for value in row] == [float, int]


def test_missing_values_are_null() -> None:
    body = rebuild(damaged([{"x": 1.5}, {"x": None}]), signature(x="double"))
    assert body["dataframe_split"]["data"] == [[1.5], [None]]


def test_names_of_digits_are_names_again() -> None:
    body = rebuild(damaged({"007": [1]}), signature(**{"007": "long"}))
    assert body["dataframe_split"]["columns"] == ["007"]


@pytest.mark.parametrize(
    ("row", "kinds"),
    [
        ({"code": "1.10"}, {"code": "string"}),
        ({"code": "12345678901234567890"}, {"code": "string"}),
        ({"date": "2021-01-01"}, {"date": "string"}),
        ({"ok": True}, {"ok": "string"}),
    ],
    ids=["decimal", "long", "date", "truth"],
)
def test_what_cannot_be_told_any_more_is_refused_with_the_way_out(row: dict[str, Any], kinds: dict[str, str]) -> None:
    with pytest.raises(ModelError, match="modelserve predict") as refusal:
        rebuild(damaged([row]), signature(**kinds))
    assert repr(next(iter(row))) in str(refusal.value)


def test_dates_of_one_unit_for_all_are_refused_for_a_number() -> None:
    frame = pd.DataFrame({"updated_at": pd.to_datetime(["2021-01-01"]).as_unit("ns")})
    with pytest.raises(ModelError, match="unit"):
        rebuild(frame, signature(updated_at="long"))


def test_rows_without_names_are_inputs_of_a_tensor() -> None:
    tensor = Signature(columns=(Column(name="", kind="tensor"),))
    assert rebuild(damaged([[1, 2], [3, 4]]), tensor) == {"inputs": [[1, 2], [3, 4]]}


def test_rows_without_names_stay_a_frame_without_a_signature() -> None:
    assert rebuild(damaged([[1, 2]]), NO_SIGNATURE) == {"dataframe_split": {"columns": ["0", "1"], "data": [[1, 2]]}}


@pytest.mark.parametrize(
    "document",
    [{"inputs": ["007"]}, {"dataframe_split": {"columns": ["z"], "data": [["007"]]}}],
    ids=["inputs", "split"],
)
def test_the_original_file_is_a_body_where_it_is_one(tmp_path: Path, document: dict[str, Any]) -> None:
    file = tmp_path / "in.json"
    file.write_text(json.dumps(document))
    assert read_original(str(file)) == document


def test_the_original_file_keeps_leading_zeros_and_dates(tmp_path: Path) -> None:
    file = tmp_path / "in.json"
    file.write_text(json.dumps([{"zip": "007", "date": "2021-01-01", "n": "1.10"}]))
    original = read_original(str(file))
    assert isinstance(original, pd.DataFrame)
    body = rebuild(original, signature(zip="string", date="string", n="string"))
    assert body["dataframe_split"]["data"] == [["007", "2021-01-01", "1.10"]]


def test_a_file_that_is_not_one_document_has_no_original(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text('{"a": 1}\n{"a": 2}\n')
    assert read_original(str(tmp_path / "in.jsonl")) is None
    assert read_original(str(tmp_path / "absent.json")) is None
