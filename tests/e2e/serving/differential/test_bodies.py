"""Answer by answer, our ``/invocations`` against MLflow's own scoring server, in one process and on the same models."""

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


NAMES = [
    "tabular", "none", "mixed", "longs", "floats", "single", "unnamed", "tensor", "integers", "tensors",
    "one_named_tensor", "hinted", "strange", "torch",
]  # fmt: skip


ROWS = {"a": 0.5, "b": -1, "c": 2.25}
COLUMNS = list(ROWS)
GOOD: list[Any] = [
    {"dataframe_split": {"columns": COLUMNS, "data": [[0.5, -1, 2.25], [1, 2, 3]]}},
    {"dataframe_split": {"columns": COLUMNS, "index": [7, 9], "data": [[0.5, -1, 2.25], [1, 2, 3]]}},
    {"dataframe_split": {"columns": ["c", "a", "b"], "data": [[0.5, -1, 2.25]]}},
    {"dataframe_split": {"columns": [*COLUMNS, "extra"], "data": [[0.5, -1, 2.25, "x"]]}},
    {"dataframe_split": {"columns": ["a", "b"], "data": [[1, 2], [3, 4]]}},
    {"dataframe_split": {"columns": ["a", "b"], "data": [[1.0, 2.0]]}},
    {"dataframe_split": {"data": [[0.5, -1, 2.25]]}},
    {"dataframe_split": {"columns": COLUMNS, "data": []}},
    {"dataframe_records": [ROWS, ROWS]},
    {"dataframe_records": [{"a": 1, "b": 2}, {"b": 3, "a": 4}]},
    {"dataframe_records": [ROWS, {"a": 1}]},
    {"dataframe_records": []},
    {"instances": [ROWS, ROWS]},
    {"instances": [[1.5, 2.5], [3, 4]]},
    {"instances": [1.5, 2.5]},
    {"inputs": {"a": [0.5, 1], "b": [1, 2], "c": [3, 4]}},
    {"inputs": {"a": 1.5, "b": 2, "c": 3}},
    {"inputs": {"a": [1, 2], "b": [3, 4]}},
    {"inputs": {"a": [1.5, 2]}},
    {"inputs": [1.5, 2]},
    {"inputs": [[1, 2], [3, 4]]},
    {"inputs": [[1.5, 2.5]]},
    {"inputs": {"x": [[1, 2], [3, 4]], "k": [1, 2]}},
    {"inputs": {"x": [[1.5, 2]], "k": [1]}},
    {"inputs": {"x": [[1.5, 2]]}},
    {"instances": [{"x": [1, 2], "k": 1}, {"x": [3, 4], "k": 2}]},
    {"inputs": "text"},
    {"inputs": ["a", "b"]},
    {"inputs": {"a": ["x"]}},
    {"inputs": 3},
    {"inputs": []},
    {"inputs": {}},
    {"inputs": None},
    {"inputs": [None, 1]},
    {"inputs": [{"a": 1}, {"a": 2}]},
    {"dataframe_split": {"columns": ["n", "x", "s", "flag"], "data": [[1, 2.5, "t", True], [2, 3, None, False]]}},
    {"dataframe_split": {"columns": ["n", "x", "flag"], "data": [[1, 2, True]]}},
    {"dataframe_records": [{"n": 1, "x": 1, "s": "é", "flag": False, "when": "2026-01-02T03:04:05"}]},
    {"messages": [{"role": "user", "content": "hi"}], "temperature": 0.1},
    {"prompt": "hi", "max_tokens": 5},
    {"input": ["a", "b"]},
]
PARAMETERS: list[Any] = [
    None,
    {},
    {"temperature": 0.9},
    {"temperature": "hot"},
    {"unknown": 1},
    [1],
    "x",
    {"stop": ["a"]},
]
BAD: list[Any] = [
    {"dataframe_split": {"columns": COLUMNS, "data": [["x", 1, 2]]}},
    {"dataframe_split": {"columns": COLUMNS, "data": [["1.5", 1, 2]]}},
    {"dataframe_split": {"columns": COLUMNS, "data": [[None, 1, 2]]}},
    {"dataframe_split": {"columns": COLUMNS, "data": [[True, 1, 2]]}},
    {"dataframe_split": {"columns": COLUMNS, "data": [[1, 2], [3, 4, 5]]}},
    {"dataframe_split": {"columns": COLUMNS, "data": [[[1], [2], [3]]]}},
    {"dataframe_split": {"columns": COLUMNS, "data": [1, 2, 3]}},
    {"dataframe_split": {"columns": COLUMNS, "data": "x"}},
    {"dataframe_split": {"columns": ["a", "a", "b"], "data": [[1, 2, 3]]}},
    {"dataframe_split": {"columns": COLUMNS, "data": [[1, 2, 3]], "more": 1}},
    {"dataframe_split": {"columns": COLUMNS}},
    {"dataframe_split": [[1, 2, 3]]},
    {"dataframe_split": {"columns": ["a", "b"], "data": [[1.5, 2]]}},
    {"dataframe_split": {"columns": ["a", "b"], "data": [[2**63, 2]]}},
    {"dataframe_split": {"columns": ["a", "b"], "data": [[2**80, 2]]}},
    {"dataframe_split": {"columns": ["a", "b"], "data": [[2**53 + 1, 2.5]]}},
    {"dataframe_records": ROWS},
    {"dataframe_records": [[1, 2, 3]]},
    {"dataframe_records": "x"},
    {"instances": [[1, 2], [3]]},
    {"instances": [{"x": [1, 2]}, {"k": 2}]},
    {"instances": {"a": [1, 2], "b": [1]}},
    {"inputs": [["a", "b"]]},
    {"inputs": [[1, 2, 3]]},
    {"inputs": [[[1, 2]]]},
    {"inputs": [[1.5, 2**40]]},
    {"inputs": [[1, 2]], "instances": [[1, 2]]},
    {"inputs": [[1, 2]], "signature_name": "x"},
    {"columns": COLUMNS, "data": [[1, 2, 3]]},
    {"unknown": 1},
    {},
    [],
    [[1, 2, 3]],
    1,
    None,
    "text",
]
RAW: list[bytes] = [
    b"", b" ", b"{", b"{]", b'{"inputs": [[1, 2]', b"\xff\xfe", b'{"inputs": [[NaN, Infinity]]}', b"nul",
    b'{"dataframe_split": {"columns": ["a", "b", "c"], "data": [[NaN, 1, 2]]}}',
    b'\xef\xbb\xbf{"inputs": [[1, 2]]}', b'{"inputs": "\\ud800"}', b'{"inputs": [[1e999, 2]]}',
    b'{"inputs": [[1, 2]], "inputs": [[3, 4]]}', b"[" * 500, b"[" * 100_000, b'{"a":' * 500,
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_every_json_body_is_answered_alike(pairs: Callable[[str], Pair], same: Same, name: str) -> None:
    pair = pairs(name)
    answers = [pair.ask(json.dumps(body).encode(), JSON) for body in [*GOOD, *BAD]]
    for theirs, ours in answers:
        same(theirs, ours)
    statuses = {ours.status_code for _, ours in answers}
    assert statuses == ({400} if name == "strange" else {200, 400}), "bodies that only fail, or never, prove little"


@pytest.mark.parametrize("name", NAMES)
def test_params_are_answered_alike(pairs: Callable[[str], Pair], same: Same, name: str) -> None:
    pair = pairs(name)
    for params in PARAMETERS:
        for body in (GOOD[0], GOOD[20], GOOD[35]):
            same(*pair.ask(json.dumps({**body, "params": params}).encode(), JSON))


@pytest.mark.parametrize("name", ["tabular", "none", "tensor", "mixed"])
def test_every_odd_byte_string_is_answered_alike(pairs: Callable[[str], Pair], same: Same, name: str) -> None:
    pair = pairs(name)
    for body in RAW:
        same(*pair.ask(body, JSON))


TABLES = [
    "a,b,c\n1,2.5,3\n4,5,6\n",
    "c,b,a\n1,2,3\n",
    "a,b\n1,2\n",
    "",
    "a,b,c\n",
    "a,b,c\n1,x,3\n",
    "a,b,c\n1,2,3,4\n",
]


@pytest.mark.parametrize("name", ["tabular", "none", "mixed", "longs", "tensor", "strange"])
def test_csv_and_parquet_are_answered_alike(pairs: Callable[[str], Pair], same: Same, name: str) -> None:
    pair = pairs(name)
    for text in TABLES:
        same(*pair.ask(text.encode(), CSV))
    same(*pair.ask(b"\xff\xfea,b", CSV))
    for frame in (pd.DataFrame([ROWS, ROWS]), pd.DataFrame({"n": [1], "x": [1.5], "s": ["t"], "flag": [True]})):
        file = io.BytesIO()
        frame.to_parquet(file)
        same(*pair.ask(file.getvalue(), PARQUET))
        same(*pair.ask(file.getvalue()[:50], PARQUET))


TYPES = [
    "application/json; charset=utf-8", "application/json;charset=UTF-8", 'application/json; charset="utf-8"',
    "application/json; charset=latin-1", "application/json; x=1", "Application/JSON", "text/plain",
    "text/csv; header=y", "application/x-www-form-urlencoded", "application/json;",
]  # fmt: skip


def test_content_types_are_answered_alike(pairs: Callable[[str], Pair], same: Same) -> None:
    for content_type in TYPES:
        same(*pairs("tabular").ask(json.dumps(GOOD[0]).encode(), content_type))


WISHES = [
    "series", "unnamed", "bytes", "time", "date", "umlaut", "big", "nested", "none", "numpy", "object", "columns",
    "nan", "raise", "mlflow", "what?",
]  # fmt: skip


@pytest.mark.parametrize("wish", WISHES)
def test_every_kind_of_output_and_failure_is_answered_alike(
    pairs: Callable[[str], Pair], same: Same, wish: str
) -> None:
    body = {"dataframe_split": {"columns": ["wish"], "data": [[wish]]}}
    same(*pairs("strange").ask(json.dumps(body).encode(), JSON))


def test_the_paths_beside_invocations_are_answered_alike(pairs: Callable[[str], Pair]) -> None:
    pair = pairs("tabular")

    async def get(app: Any, method: str, path: str) -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://test") as client:
            return await client.request(method, path)

    for method, path in [
        ("GET", "/ping"),
        ("GET", "/health"),
        ("GET", "/version"),
        ("GET", "/invocations"),
        ("GET", "/x"),
    ]:
        theirs = pair.loop.run_until_complete(get(pair.theirs, method, path))
        ours = pair.loop.run_until_complete(get(pair.ours, method, path))
        assert (ours.status_code, ours.text) == (theirs.status_code, theirs.text)
        assert ours.headers["content-type"] == theirs.headers["content-type"]


def test_a_missing_content_type_is_read_as_json(pairs: Callable[[str], Pair]) -> None:
    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(app=pairs("tabular").ours)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.post("/invocations", content=json.dumps(GOOD[0]).encode())

    assert pairs("tabular").loop.run_until_complete(ask()).status_code == 200
