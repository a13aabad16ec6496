"""What the common bodies do not reach: content types of tables, nested types, hints of objects, LLM keys."""

import io
import json
from collections.abc import Callable
from typing import Any

import httpx
import pandas as pd
import pytest

Pair = Any  # of conftest.py, which is no module
Same = Callable[[httpx.Response, httpx.Response], None]

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),  # MLflow's and pandas' own, on bodies that are wrong on purpose
]

JSON = "application/json"
CSV = "text/csv"
PARQUET = "application/vnd.apache.parquet"


OTHER_TYPES = [
    (CSV, "text/csv; charset=utf-8"), (CSV, "text/csv; charset=UTF-8"), (CSV, "text/csv; charset=latin-1"),
    (CSV, 'text/csv; charset="utf-8"'), (CSV, "TEXT/CSV"), (CSV, "text/csv;"), (CSV, "text/csv; charset"),
    (CSV, "text/csv;charset=utf-8;charset=utf-8"), (CSV, "text/csv, application/json"), (CSV, "text/csv; a=b; c=d"),
    (PARQUET, "application/vnd.apache.parquet; charset=utf-8"), (PARQUET, "application/vnd.apache.parquet; x=1"),
    (PARQUET, "application/vnd.apache.Parquet"), (PARQUET, "application/octet-stream"),
]  # fmt: skip


def test_content_types_of_tables_are_answered_alike(pairs: Callable[[str], Pair], same: Same) -> None:
    file = io.BytesIO()
    pd.DataFrame([{"a": 0.5, "b": -1.0, "c": 2.25}] * 2).to_parquet(file)
    bodies = {CSV: b"a,b,c\n1,2.5,3\n4,5,6\n", PARQUET: file.getvalue()}
    answers = [pairs("tabular").ask(bodies[kind], content_type) for kind, content_type in OTHER_TYPES]
    for theirs, ours in answers:
        same(theirs, ours)
    assert {ours.status_code for _, ours in answers} == {200, 415}


SPECIAL: dict[str, list[Any]] = {
    "optional": [
        {"dataframe_records": [{"n": 1, "s": "t", "raw": "AAEC", "i": 2, "f": 0.1}]},
        {"dataframe_records": [{"n": None, "s": "t"}]},
        {"dataframe_records": [{"n": 1, "s": "t"}, {"n": None, "s": "u"}]},
        {"dataframe_records": [{"n": 1.0, "s": "t"}]},
        {"dataframe_records": [{"n": 1.5, "s": "t"}]},
        {"dataframe_records": [{"s": 3}, {"s": 4}]},
        {"dataframe_records": [{"s": None}]},
        {"dataframe_records": [{"s": "t", "raw": "no base64!"}]},
        {"dataframe_records": [{"s": "t", "i": 2**31}]},
        {"dataframe_records": [{"s": "t", "f": 1e300}]},
        {"dataframe_records": [{"s": "t", "extra": [1, 2]}]},
        {"dataframe_split": {"columns": ["s"], "data": []}},
        {"dataframe_split": {"columns": ["s", "raw"], "data": [["t", "AAEC"], ["u", None]]}},
        {"inputs": {"s": ["t"]}},
        {"inputs": {"s": "t", "n": 1}},
        {"instances": [{"s": "t", "raw": {"b64": "AAEC"}}]},
    ],
    "nested": [
        {"dataframe_records": [{"v": [1.5, 2], "o": {"k": 1}}]},
        {"dataframe_records": [{"v": [], "o": {"k": 1, "t": "x"}, "m": {"a": 1, "b": 2.5}}]},
        {"dataframe_records": [{"v": [1, "x"], "o": {"k": 1}}]},
        {"dataframe_records": [{"v": 1, "o": {"k": 1}}]},
        {"dataframe_records": [{"v": [1.5], "o": {"t": "x"}}]},
        {"dataframe_records": [{"v": [1.5], "o": {"k": 1, "z": 2}}]},
        {"dataframe_records": [{"v": [1.5], "o": [1]}]},
        {"dataframe_records": [{"v": [[1.5]], "o": {"k": 1}}]},
        {"dataframe_records": [{"v": [1.5], "o": {"k": 1}, "m": {"a": "x"}}]},
        {"dataframe_split": {"columns": ["v", "o"], "data": [[[1.5], {"k": 1}], [[2.5, 3], {"k": 2}]]}},
        {"inputs": [{"v": [1.5], "o": {"k": 1}}]},
        {"inputs": {"v": [1.5], "o": {"k": 1}}},
    ],
    "objects": [
        {"inputs": [{"role": "user", "content": "hi", "weight": 1.5}, {"role": "user"}]},
        {"inputs": [{"content": "no role"}]},
        {"inputs": [{"role": 3}]},
        {"inputs": [{"role": "user", "more": 1}]},
        {"inputs": {"role": "user"}},
        {"inputs": []},
        {"inputs": "text"},
        {"instances": [{"role": "user"}]},
        {"dataframe_records": [{"role": "user"}]},
        {"inputs": [{"role": "user"}], "params": {}},
        {"inputs": [{"role": "user"}], "params": {"x": 1}},
    ],
    "maps": [
        {"inputs": [{"a": 1.0, "b": 2.5}, {}]},
        {"inputs": [{"a": "x"}]},
        {"inputs": [{"a": None}]},
        {"inputs": [[1]]},
        {"inputs": [{"a": True}]},
    ],
    "chatty": [
        {"prompt": "hi"},
        {"prompt": "hi", "temperature": 0.9, "stop": ["a", "b"]},
        {"prompt": "hi", "temperature": "hot"},
        {"prompt": "hi", "params": {"temperature": 0.9}},
        {"prompt": ["a", "b"]},
        {"prompt": None},
        {"prompt": "hi", "unknown": 1},
        {"prompt": "hi", "inputs": ["x"]},
        {"input": "x", "temperature": 1},
        {"messages": [{"role": "user", "content": "hi"}], "stop": "a"},
        {"messages": "no list"},
        {"messages": []},
        {"inputs": ["hi"], "params": {"temperature": 0.9}},
        {"inputs": {"prompt": ["hi"]}, "params": {"stop": ["a"], "temperature": 1}},
        {"dataframe_split": {"columns": ["prompt"], "data": [["hi"]]}, "params": {"stop": []}},
        {"dataframe_split": {"columns": ["prompt"], "data": [["hi"]]}, "params": {"stop": [1]}},
        {"dataframe_split": {"columns": ["prompt"], "data": [["hi"]]}, "params": {"temperature": None}},
    ],
}
"""Types that the common bodies do not reach: optional and binary columns, nested ones, hints of objects, LLM keys."""


@pytest.mark.parametrize("name", SPECIAL)
def test_types_beyond_the_common_ones_are_answered_alike(pairs: Callable[[str], Pair], same: Same, name: str) -> None:
    answers = [pairs(name).ask(json.dumps(body).encode(), JSON) for body in SPECIAL[name]]
    for theirs, ours in answers:
        same(theirs, ours)
    assert {ours.status_code for _, ours in answers} == {200, 400}
