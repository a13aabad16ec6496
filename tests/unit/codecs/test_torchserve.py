"""TorchServe's inference API, and management that shows and refuses."""

import json
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlflow_deploy_plugin.serving.codecs.torchserve import TorchserveCodec
from mlflow_deploy_plugin.serving.request import Frame, Matrix, Raw, Tensor
from mlflow_deploy_plugin.serving.signature import Column, Signature, TensorSpec

PREDICT = "/predictions/churn"
JSON_BODY = {"content-type": "application/json"}
VECTORS = Signature(inputs=(TensorSpec(name="", dtype="float32", shape=(-1, 3)),))
FILE = Signature(inputs=(Column(name="image", type="binary"),))


@pytest.fixture
def table(loopback: Any) -> Any:
    return loopback(factory=TorchserveCodec, model=lambda p: p.values.sum(axis=1))


PAIR = Signature(
    inputs=(TensorSpec(name="x", dtype="float64", shape=(-1, 2)), TensorSpec(name="k", dtype="int64", shape=(-1,)))
)


def test_items_of_several_tensors_are_answered_item_by_item(loopback: Any, description: Any) -> None:
    def both(payload: Any) -> dict[str, Any]:
        return {"sum": payload.arrays["x"].sum(axis=1), "k": payload.arrays["k"].tolist()}

    model = loopback(factory=TorchserveCodec, model=both, description=description(signature=PAIR))
    items = [{"x": [1, 2], "k": 3}, {"x": [4.5, 5], "k": 6}]
    assert model.post(PREDICT, items) == (200, [{"sum": 3.0, "k": 3}, {"sum": 9.5, "k": 6}])
    assert model.post(PREDICT, items[0]) == (200, {"sum": 3.0, "k": 3})
    assert model.post(PREDICT, {"data": items})[1][1] == {"sum": 9.5, "k": 6}


@pytest.fixture
def each(table: Any, vectors: Any, files: Any) -> Any:
    """One server of each kind, whatever they are asked."""
    for server in (table, vectors, files):
        server.model = lambda _: np.array([1.0])
    return table, vectors, files


@pytest.fixture
def vectors(loopback: Any, description: Any) -> Any:
    return loopback(factory=TorchserveCodec, model=lambda p: p.array, description=description(signature=VECTORS))


@pytest.fixture
def files(loopback: Any, description: Any) -> Any:
    return loopback(
        factory=TorchserveCodec,
        model=lambda p: np.array([len(content) for content in p.frame["image"]]),
        description=description(signature=FILE),
    )


@pytest.mark.parametrize(
    ("body", "answer"),
    [
        ([20, 1.5], 21.5),
        ({"age": 20, "income": 1.5}, 21.5),
        ([[20, 1.5], [1, 2]], [21.5, 3.0]),
        ([{"age": 20, "income": 1.5}], [21.5]),
        ({"data": [20, 1.5]}, 21.5),
        ({"body": {"age": 20, "income": 1.5}}, 21.5),
        ({"instances": [[20, 1.5]]}, [21.5]),
    ],
)
@pytest.mark.parametrize("path", [PREDICT, f"{PREDICT}/4", f"{PREDICT}/churn-v4", "/endpoints/churn/predictions/churn"])
def test_one_item_gets_one_answer_and_an_array_an_array(table: Any, path: str, body: Any, answer: Any) -> None:
    assert table.post(path, body) == (200, answer)
    assert isinstance(table.payload, Matrix)


@pytest.mark.parametrize(("body", "answer"), [([1, 2, 3], [1, 2, 3]), ([[1, 2, 3]], [[1, 2, 3]])])
def test_a_tensor_is_one_item_by_its_dimensions(vectors: Any, body: Any, answer: Any) -> None:
    assert vectors.post(PREDICT, body) == (200, answer)
    assert isinstance(vectors.payload, Tensor)


@pytest.mark.parametrize(("dtype", "number"), [("float32", 1e39), ("int8", 300), ("uint8", -1)])
def test_a_number_beyond_the_tensors_type_is_refused(
    loopback: Any, description: Any, dtype: str, number: float
) -> None:
    signature = Signature(inputs=(TensorSpec(name="", dtype=dtype, shape=(-1, 1)),))
    server = loopback(factory=TorchserveCodec, model=lambda p: p.array, description=description(signature=signature))
    status, answer = server.post(PREDICT, [[number]])
    assert (status, "beyond the range" in answer["message"]) == (400, True)


def test_a_column_named_data_is_no_wrapper(loopback: Any, description: Any) -> None:
    signature = Signature(inputs=(Column(name="data", type="double"),))
    server = loopback(
        factory=TorchserveCodec, model=lambda p: p.values[:, 0], description=description(signature=signature)
    )
    assert server.post(PREDICT, {"data": 1.5}) == (200, 1.5)
    assert server.post(PREDICT, 1.5) == (200, 1.5)


@pytest.mark.parametrize(("body", "value"), [("a", ["a"]), (["a", "b"], ["a", "b"])])
def test_a_type_hint_model_takes_items(loopback: Any, description: Any, body: Any, value: Any) -> None:
    signature = Signature(inputs=(Column(name="", type="string"),), is_from_type_hint=True)
    server = loopback(factory=TorchserveCodec, model=lambda p: p.value, description=description(signature=signature))
    assert server.post(PREDICT, body) == (200, body)
    assert server.payload == Raw(value=value)


CONTENT = bytes(range(256)) + b"\r\n\r--x\n"


@pytest.mark.parametrize("headers", [{}, {"content-type": "image/jpeg"}, {"content-type": "application/octet-stream"}])
def test_a_file_in_the_body_reaches_a_binary_model(files: Any, headers: Any) -> None:
    reply = files.ask("PUT", PREDICT, CONTENT, headers)
    assert (reply.status, json.loads(reply.body)) == (200, len(CONTENT))
    assert isinstance(files.payload, Frame)
    assert list(files.payload.frame["image"]) == [CONTENT]


def form(*contents: bytes, name: str = "data") -> tuple[bytes, dict[str, str]]:
    parts = [
        b'--x-boundary\r\nContent-Disposition: form-data; name="%s"; filename="a"\r\n'
        b"Content-Type: application/octet-stream\r\n\r\n%s\r\n" % (name.encode(), content)
        for content in contents
    ]
    return b"".join(parts) + b"--x-boundary--\r\n", {"content-type": "multipart/form-data; boundary=x-boundary"}


def test_files_of_a_form_reach_a_binary_model_byte_by_byte(files: Any) -> None:
    body, headers = form(CONTENT, b"second", b"")
    reply = files.ask("POST", PREDICT, body, headers)
    assert (reply.status, json.loads(reply.body)) == (200, [len(CONTENT), 6, 0])
    assert list(files.payload.frame["image"]) == [CONTENT, b"second", b""]


def test_one_file_of_a_form_is_one_item(files: Any) -> None:
    assert json.loads(files.ask("POST", PREDICT, *form(b"abc")).body) == 3


def test_json_in_a_form_is_an_item(table: Any) -> None:
    reply = table.ask("POST", PREDICT, *form(b"[20, 1.5]"))
    assert (reply.status, json.loads(reply.body)) == (200, 21.5)


@pytest.mark.parametrize("body", [b"", b"nothing", form(b"x")[0][:-20], b"--x-boundary--\r\n"])
def test_a_torn_form_is_refused(files: Any, body: bytes) -> None:
    assert files.ask("POST", PREDICT, body, form(b"")[1]).status == 400


def test_headers_of_a_part_are_bounded(files: Any) -> None:
    body, headers = form(b"x", name="n" * 9000)
    assert files.ask("POST", PREDICT, body, headers).status == 400


def test_a_form_without_a_boundary_is_refused(files: Any) -> None:
    assert files.ask("POST", PREDICT, form(b"x")[0], {"content-type": "multipart/form-data"}).status == 400


@pytest.mark.parametrize("body", [[], {"data": []}, [1], [1, "x"], {"age": 1}, "x", None, [[1, 2], [3]]])
def test_items_that_do_not_fit_are_refused_in_torchserves_words(table: Any, body: Any) -> None:
    status, answer = table.post(PREDICT, body)
    assert (status, answer["code"], answer["type"]) == (400, 400, "BadRequestException")
    assert answer["message"]


def test_a_version_that_is_not_here_is_unknown(table: Any) -> None:
    status, answer = table.post(f"{PREDICT}/9", [20, 1.5])
    assert (status, answer["type"]) == (404, "ModelNotFoundException")
    assert table.get("/models/churn/9")[0] == 404


def test_management_shows_what_runs(table: Any) -> None:
    assert table.get("/models") == (200, {"models": [{"modelName": "churn", "modelUrl": "models:/churn/4"}]})
    for path in ("/models/churn", "/models/churn/4", "/models/churn/all"):
        (described,) = table.get(path)[1]
        assert (described["modelName"], described["modelVersion"]) == ("churn", "4")
        (worker,) = described["workers"]
        assert worker["status"] == "READY"
        assert worker["memoryUsage"] > 1_000_000


@pytest.mark.parametrize(
    ("method", "path", "way"),
    [
        ("PUT", "/models/churn", "update -t modelserve --name churn-v4 -C workers=N"),
        ("PUT", "/models/churn/4", "update -t modelserve --name churn-v4 -C workers=N"),
        ("PUT", "/models/churn/4/set-default", "update-endpoint -t modelserve --endpoint churn"),
        ("POST", "/models", "create -t modelserve"),
        ("DELETE", "/models/churn", "delete -t modelserve --name churn-v4"),
        ("DELETE", "/models/churn/4", "delete -t modelserve --name churn-v4"),
    ],
)
def test_what_would_change_the_server_is_refused_with_the_way_out(table: Any, method: str, path: str, way: str) -> None:
    reply = table.ask(method, path)
    answer = json.loads(reply.body)
    assert (reply.status, answer["type"]) == (405, "MethodNotAllowedException")
    assert way in answer["message"]


def test_explanations_are_told_item_by_item(table: Any) -> None:
    status, one = table.post("/explanations/churn", {"age": 1.0, "income": 2.0})
    assert (status, one["attributions"], one["prediction"]) == (200, {"age": 1.0, "income": 0.0}, 1.0)
    status, many = table.post("/explanations/churn/4", [[1.0, 2.0], [3.0, 4.0]])
    assert [item["prediction"] for item in many] == [1.0, 3.0]
    assert table.post("/explanations/churn/9", [1.0, 2.0])[0] == 404
    assert table.post("/explanations/churn", [1.0])[0] == 400


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["age", "income", "data", "body"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=st.binary(max_size=60) | JSON_VALUES.map(orjson.dumps), is_form=st.booleans(), which=st.integers(0, 2))
def test_any_body_is_answered_or_refused_and_nothing_else(each: Any, body: bytes, *, is_form: bool, which: int) -> None:
    server = each[which]
    sent, headers = form(body) if is_form else (body, JSON_BODY)
    assert server.ask("POST", PREDICT, sent, headers).status in {200, 400}
