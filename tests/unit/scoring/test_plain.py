import datetime as dt
import json
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from mlflow_deploy_plugin.errors import ModelError
from mlflow_deploy_plugin.scoring import build_payload, strict_json, to_plain, wrapped
from mlflow_deploy_plugin.scoring.signature import Signature


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (np.array([[1, 2]]), [[1, 2]]),
        (np.array([1.5, np.nan, np.inf]), [1.5, None, None]),
        (np.float32(1.5), 1.5),
        (np.bool_(True), True),  # noqa: FBT003
        (np.array(["2021-01-01"], dtype="datetime64[ns]"), ["2021-01-01T00:00:00.000000000"]),
        (np.datetime64("2021-01-01"), "2021-01-01"),
        (np.datetime64("NaT"), None),
        (pd.Timestamp("2021-01-01"), "2021-01-01T00:00:00"),
        (pd.NaT, None),
        (pd.NA, None),
        (pd.Series([1, 2]), [1, 2]),
        (dt.date(2021, 1, 2), "2021-01-02"),
        (b"x", "eA=="),
        (Decimal("1.10"), "1.10"),
        ({1: (None, True)}, {"1": [None, True]}),
        (range(2), [0, 1]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_foreign_values_become_plain(value: object, plain: object) -> None:
    assert to_plain(value) == plain


def test_what_json_cannot_say_is_refused() -> None:
    with pytest.raises(ModelError, match="object"):
        to_plain(object())


def test_strict_json_is_read_by_a_strict_reader() -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    text = strict_json({"p": [float("nan"), float("-inf"), "ü"]})
    assert json.loads(text, parse_constant=refuse) == {"p": [None, None, "ü"]}


@pytest.mark.parametrize(
    ("inputs", "body"),
    [
        (np.array([[1, 2]]), {"inputs": [[1, 2]]}),
        ({"a": np.array([1])}, {"inputs": {"a": [1]}}),
        ([{"a": 1}], {"dataframe_records": [{"a": 1}]}),
        ("hello", {"inputs": "hello"}),
        ({"messages": [{"role": "user"}]}, {"messages": [{"role": "user"}]}),
        (pd.DataFrame({"a": [1.0, None]}), {"dataframe_split": {"columns": ["a"], "data": [[1.0], [None]]}}),
    ],
    ids=["array", "named arrays", "records", "text", "chat", "frame"],
)
def test_inputs_become_bodies(inputs: object, body: dict[str, object]) -> None:
    assert build_payload(inputs) == body


def test_a_model_made_from_type_hints_gets_inputs_alone() -> None:
    assert build_payload([{"a": 1}], Signature(is_from_type_hint=True)) == {"inputs": [{"a": 1}]}


@pytest.mark.parametrize(
    ("content", "body"),
    [
        (b'[{"zip": "007"}]', b'{"dataframe_records": [{"zip": "007"}]}'),
        (b"[[1.10, 2]]", b'{"inputs": [[1.10, 2]]}'),
        (b'{"columns": ["a"], "data": [[1]]}', b'{"dataframe_split": {"columns": ["a"], "data": [[1]]}}'),
        (b'{"inputs": [1], "params": {"k": 2}}', b'{"inputs": [1], "params": {"k": 2}}'),
        (b"{broken", b"{broken"),
    ],
)
def test_rows_without_their_key_get_it_and_nothing_else_changes(content: bytes, body: bytes) -> None:
    assert wrapped(content) == body
