"""What MLflow's own tests of its server ask, asked of both; and where we differ, as the documentation says."""

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

Pair = Any  # of conftest.py, which is no module
Same = Callable[[httpx.Response, httpx.Response], None]

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),  # MLflow's and pandas' own, on bodies that are wrong on purpose
]

JSON = "application/json"
ROW = {
    "boolean": True,
    "integer": 1,
    "long": 2**53 + 1,
    "float": 1.5,
    "double": 3.141592653589793,
    "string": "a",
    "binary": base64.b64encode(bytes([1, 2, 3])).decode(),
    "datetime": "2021-03-03T12:00:00",
}
BACKWARDS = dict(reversed(ROW.items()))
THREE = [[0.5, 1.0, 2.0], [3.0, 4.0, 5.0]]


def changed(**values: Any) -> dict[str, Any]:
    return {"dataframe_records": [{**ROW, **values}]}


CASES: dict[str, list[Any]] = {
    "tabular": [
        "this is,,,, not valid json",
        1,
        "1",
        [1],
        {"not": "a serialized dataframe"},
        {"dataframe_records": [], "dataframe_split": {"data": []}},
        {"dataframe_records": {"columns": ["a"], "data": [[1]], "index": [0]}},
        {"dataframe_split": [{"a": 1, "b": 2, "c": 3}]},
        {"dataframe_split": {"index": [1, 2], "data": [[1], [2], [3]]}},
        {"dataframe_split": {"columns": ["a", "b", "c"], "data": [[1] * 3, [2] * 3, [3] * 3], "index": [2, 0]}},
        {"instances": THREE},
        {"inputs": THREE, "params": {}},
        {"instances": [{"a": 1, "b": 2, "c": 3}], "signature_name": "serving_default"},
        {"schema": {"fields": []}, "data": [{"index": 0, "0": 1}]},
    ],
    "tensors": [
        {"instances": [{"x": [5.1, 3.5], "k": 1}, {"x": [4.9, 3.0], "k": 2}]},
        {"inputs": {"x": [[5.1, 3.5], [4.9, 3.0]], "k": [1, 2]}},
        {"instances": [{"x": [5.1, 3.5], "k": 1}, {"x": [4.9], "k": 2}]},
        {"instances": [{"x": [5.1, 3.5], "k": 1}, {"x": [4.9, 3.0]}]},
    ],
    "every": [
        {"dataframe_records": [ROW, BACKWARDS]},
        {"dataframe_split": {"columns": list(BACKWARDS), "data": [list(BACKWARDS.values())]}},
        {"inputs": {name: [value] for name, value in ROW.items()}},
        changed(integer=2**31),
        changed(integer=9007199254740991.0),
        changed(long=1.5),
        changed(long="95120"),
        changed(float=9007199254740993),
        changed(double="10.45"),
        changed(double=7),
        changed(string=95120),
        changed(boolean=0),
        changed(boolean="some arbitrary string"),
        changed(binary="\u00e9"),
        changed(datetime="2021-01-01"),
        changed(datetime="2021-01-01T00:00:00+02:00"),
        changed(datetime=1609459200),
        changed(datetime="yesterday"),
        changed(extra="ignored"),
        {"dataframe_records": [{name: value for name, value in ROW.items() if name != "long"}]},
    ],
    "none": [
        {
            "dataframe_records": [
                {"zip": "95120", "cost": 10.45, "score": 8},
                {"zip": "95128", "cost": 23.0, "score": 0},
            ]
        },
        {"dataframe_split": {"columns": ["zip", "n"], "index": [0, 1], "data": [["95120", -8], ["95128", 1000]]}},
        {"dataframe_records": [{"url": "http://foo.com", "bad_protocol": "aaa://bbb"}]},
        {"instances": [[[1, 2, 3], [4, 5, 6]], [[3, 2, 1], [6, 5, 4]]]},
    ],
    "boosted": [{"inputs": THREE}, {"dataframe_records": [{"a": 1, "b": None, "c": 2}]}, {"inputs": [[1, 2]]}],
    "streaming": [{"inputs": [1, 2, 3]}, {"dataframe_records": [{"a": 1}]}, {"inputs": [1], "params": {"x": 1}}, {}],
}


@pytest.mark.parametrize("name", CASES)
def test_the_cases_of_mlflows_own_tests_are_answered_alike(pairs: Callable[[str], Pair], same: Same, name: str) -> None:
    for case in CASES[name]:
        body = case if isinstance(case, str) and "," in case else json.dumps(case)
        same(*pairs(name).ask(body.encode(), JSON))


class Departure(NamedTuple):
    """One place where we answer otherwise: which model, with what, and how both answer."""

    told: str
    """How ``docs/protocols.md`` begins its line."""
    model: str
    body: bytes
    content_type: str
    theirs: tuple[int, str]
    """Status, and what its answer contains."""
    ours: tuple[int, str]


def wish(text: str) -> bytes:
    return json.dumps({"dataframe_split": {"columns": ["wish"], "data": [[text]]}}).encode()


MANY = b'{"instances": [' + b"1," * (2**21 + 1) + b"1]}"
DEPARTURES = [
    Departure("NaN and infinity in an answer", "strange", wish("nan"), JSON, (200, "NaN"), (200, "[null,null,1.0]")),
    Departure("No content type", "strange", wish("none"), "", (500, "Internal"), (200, '"predictions":null')),
    Departure("A body that breaks MLflow's parser", "none", b"[" * 100_000, JSON, (500, "Internal"), (400, "nested")),
    Departure("An answer that JSON cannot say", "strange", wish("set"), JSON, (500, "Internal"), (500, "error_code")),
    Departure("More values than are read", "none", MANY, JSON, (200, "predictions"), (413, "values")),
    Departure(
        "More columns than are read", "none", b"a" + b",a" * 600 + b"\n", "text/csv", (200, "pred"), (400, "columns")
    ),
]
DOCUMENT = Path(__file__).parents[4] / "docs" / "protocols.md"


@pytest.mark.parametrize("departure", DEPARTURES, ids=lambda one: one.told)
def test_we_differ_from_mlflow_where_the_documentation_says(pairs: Callable[[str], Pair], departure: Departure) -> None:
    theirs, ours = pairs(departure.model).ask(departure.body, departure.content_type)
    for answer, (status, words) in ((theirs, departure.theirs), (ours, departure.ours)):
        assert answer.status_code == status, answer.text[:300]
        assert words in answer.text, answer.text[:300]
    assert f"| {departure.told} |" in DOCUMENT.read_text()


def test_a_stream_is_told_by_events_and_refused_where_there_is_none(pairs: Callable[[str], Pair]) -> None:
    async def ask(name: str) -> httpx.Response:
        transport = httpx.ASGITransport(app=pairs(name).ours)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.post("/invocations", json={"inputs": [5]}, headers={"accept": "text/event-stream"})

    loop = pairs("streaming").loop
    told = loop.run_until_complete(ask("streaming"))
    pieces = ['{"piece":0,"of":5}', '{"piece":1,"of":5}', "[DONE]"]
    assert told.text == "".join(f"data: {piece}\n\n" for piece in pieces)
    refused = loop.run_until_complete(ask("none"))
    assert (refused.status_code, refused.json()["error_code"]) == (400, "INVALID_PARAMETER_VALUE")
