"""Feedback, router, JSON, devices and signature: each does its one thing."""

import json
import math
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mlflow_deploy_plugin.errors import ConfigError
from mlflow_deploy_plugin.serving import feedback, json_text
from mlflow_deploy_plugin.serving.codecs.base import Answer, Call, Infer, Reply
from mlflow_deploy_plugin.serving.faults import Fault, RequestError
from mlflow_deploy_plugin.serving.predictors import devices
from mlflow_deploy_plugin.serving.router import REMEMBERED, AnswerMatch, InferMatch, NoRoute, Router
from mlflow_deploy_plugin.serving.signature import Column, Signature, TensorSpec, parse_signature

GOOD_FEEDBACK: list[tuple[Any, list[tuple[str, int, Any]]]] = [
    ({"request_id": "r", "label": 1}, [("r", 0, 1)]),
    ({"request_id": "r", "label": None}, [("r", 0, None)]),
    ({"request_id": "r", "row": 3, "label": "yes"}, [("r", 3, "yes")]),
    ({"request_id": "r", "labels": [0, 1]}, [("r", 0, 0), ("r", 1, 1)]),
    ([{"request_id": "a", "label": 1}, {"request_id": "b", "labels": [2]}], [("a", 0, 1), ("b", 0, 2)]),
]
BAD_FEEDBACK: list[Any] = [
    1,
    "x",
    {},
    {"request_id": "r"},
    {"label": 1},
    {"request_id": "", "label": 1},
    {"request_id": 5, "label": 1},
    {"request_id": "x" * 300, "label": 1},
    {"request_id": "r", "label": 1, "labels": [1]},
    {"request_id": "r", "labels": 1},
    {"request_id": "r", "labels": [1], "row": 0},
    {"request_id": "r", "label": 1, "row": -1},
    {"request_id": "r", "label": 1, "row": True},
    {"request_id": "r", "label": 1, "extra": 1},
    {"request_id": "r", "label": math.inf},
    {"request_id": "r", "label": 10**400},
    {"request_id": "r", "label": -1.1e140},
    {"request_id": "r", "labels": [1, 1e300]},
    [{"request_id": "r", "label": 1}, 5],
]


@pytest.mark.parametrize(("body", "labels"), GOOD_FEEDBACK)
def test_feedback_is_one_label_many_or_one_per_row(body: Any, labels: list[tuple[str, int, Any]]) -> None:
    found = feedback.parse(json.dumps(body).encode())
    assert [(label.request_id, label.row, label.value) for label in found] == labels


def test_a_label_can_be_added_up() -> None:
    assert feedback.parse(b'{"request_id": "r", "labels": [1e140, -1e140]}')


@pytest.mark.parametrize("body", BAD_FEEDBACK)
def test_other_feedback_is_refused_whole(body: Any) -> None:
    with pytest.raises(RequestError) as told:
        feedback.parse(json.dumps(body).encode())
    assert told.value.fault is Fault.MALFORMED


class OneRoute:
    """A codec of two routes that answers nothing."""

    name = "one"

    def routes(self) -> tuple[Infer | Answer, ...]:
        answer = Answer(path="/v2/models/{name}", answer=lambda _: Reply(200, b"", b""))
        return (Infer(path="/v1/models/{name}:predict"), answer)

    def decode(self, call: Call) -> Any:
        raise AssertionError(call)

    def encode(self, response: Any, request: Any, call: Call) -> Reply:
        raise AssertionError((response, request, call))

    def encode_error(self, error: RequestError, call: Call, request: Any = None) -> Reply:
        raise AssertionError((error, call, request))


def test_paths_are_matched_with_their_names_at_the_root_and_under_any_endpoint() -> None:
    router = Router([OneRoute()])
    for prefix in ("", "/endpoints/churn", "/endpoints/a.b"):
        found = router.match("POST", prefix + "/v1/models/churn-v4:predict")
        assert isinstance(found, InferMatch)
        assert found.captures == {"name": "churn-v4"}
    assert isinstance(router.match("GET", "/v2/models/x"), AnswerMatch)


@pytest.mark.parametrize(
    "path", ["/v1/models/:predict", "/v1/models/a/b:predict", "/v1/models/a", "/endpoints", "", "//"]
)
def test_other_paths_have_no_route(path: str) -> None:
    found = Router([OneRoute()]).match("POST", path)
    assert isinstance(found, NoRoute)
    assert not found.allowed


def test_a_wrong_method_names_the_right_ones() -> None:
    found = Router([OneRoute()]).match("GET", "/v1/models/a:predict")
    assert isinstance(found, NoRoute)
    assert found.allowed == ("POST",)


def test_a_path_below_a_protocols_own_is_its_protocols_to_refuse() -> None:
    codec = OneRoute()
    router = Router([codec])
    found = [router.match("GET", path) for path in ("/v1/x", "/endpoints/churn/v2/models/a/b", "/x", "/docs/x")]
    assert [one.speaker for one in found if isinstance(one, NoRoute)] == [codec, codec, None, None]


def test_a_scanner_does_not_fill_the_memory() -> None:
    router = Router([OneRoute()])
    for number in range(3 * REMEMBERED):
        router.match("GET", f"/{number}")
    assert len(router._memory) <= REMEMBERED


def test_json_is_strict_and_otherwise_mlflows() -> None:
    said = json.loads(json_text.dumps({"a": [np.float32(0.5), float("inf")], 1: b"abc", "t": datetime(2026, 1, 2)}))  # noqa: DTZ001
    assert said == {"a": [0.5, None], "1": "YWJj\n", "t": "2026-01-02T00:00:00"}
    assert json.loads(json_text.dumps([2**70, float("nan"), (1, np.int64(2))])) == [2**70, None, [1, 2]]
    assert json_text.rows(pd.Series([1.5], name="s")) == [{"s": 1.5}]
    with pytest.raises(TypeError):
        json_text.dumps({1, 2})


@pytest.mark.parametrize(
    ("loader", "device", "worker", "gpus", "expected"),
    [
        ("mlflow.pytorch", "", 0, 0, "cpu"),
        ("mlflow.pytorch", "", 1, 4, "cuda:1"),
        ("mlflow.pytorch", "cuda", 5, 4, "cuda:1"),
        ("mlflow.pytorch", "cuda:3", 0, 4, "cuda:3"),
        ("mlflow.pytorch", "cpu", 1, 4, "cpu"),
        ("mlflow.transformers", "", 2, 4, "2"),
        ("mlflow.transformers", "cpu", 2, 4, "-1"),
        ("mlflow.sklearn", "cuda", 0, 0, None),
    ],
)
def test_each_flavour_is_told_its_device_in_its_own_words(
    loader: str, device: str, worker: int, gpus: int, expected: str | None
) -> None:
    assert devices.mlflow_device(loader, device, worker=worker, gpus=lambda: gpus) == expected


@pytest.mark.parametrize("device", ["cuda", "cuda:0"])
def test_a_gpu_that_is_not_there_is_refused(device: str) -> None:
    with pytest.raises(ConfigError, match="sees"):
        devices.mlflow_device("mlflow.pytorch", device, worker=0, gpus=lambda: 0)


def test_a_signature_is_read_without_mlflow() -> None:
    fields = {
        "inputs": json.dumps(
            [
                {"type": "long", "name": "n", "required": True},
                {"type": "array", "items": {"type": "double"}, "name": "list", "required": False},
            ]
        ),
        "outputs": json.dumps([{"type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1, 2]}}]),
        "params": json.dumps([{"name": "t", "type": "double", "default": 0.5, "shape": None}]),
    }
    signature = parse_signature({"signature": fields, "is_signature_from_type_hint": True})
    assert [column.type for column in signature.columns] == ["long", "complex"]
    assert signature.outputs == (TensorSpec(name="", dtype="float32", shape=(-1, 2)),)
    assert signature.params[0].default == 0.5
    assert signature.is_from_type_hint
    assert parse_signature({}) == Signature()


def column(kind: str, *, name: str = "a", is_required: bool = True) -> Column:
    return Column(name=name, type=kind, is_required=is_required)


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ((column("double"), column("double", name="b")), "float64"),
        ((column("integer"),), "int32"),
        ((column("double"), column("float", name="b")), ""),
        ((column("double", is_required=False),), ""),
        ((column("double", name=""),), ""),
        ((column("string"),), ""),
        ((), ""),
    ],
)
def test_a_table_of_one_type_is_known(columns: tuple[Column, ...], expected: str) -> None:
    assert Signature(inputs=columns).matrix_type == expected
