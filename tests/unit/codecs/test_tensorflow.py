"""TensorFlow Serving's REST API by the vectors of its documentation."""

import base64
import json
from typing import Any

import numpy as np
import orjson
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlflow_deploy_plugin.serving.codecs.tensorflow import TensorflowCodec
from mlflow_deploy_plugin.serving.request import Frame, Matrix, Tensor, Tensors
from mlflow_deploy_plugin.serving.signature import Column, Signature, TensorSpec

PREDICT = "/v1/models/churn:predict"
ONE = Signature(inputs=(TensorSpec(name="x", dtype="float32", shape=(-1,)),))
MANY = Signature(
    inputs=(
        TensorSpec(name="tag", dtype="str", shape=(-1,)),
        TensorSpec(name="signal", dtype="int64", shape=(-1, 5)),
        TensorSpec(name="sensor", dtype="float32", shape=(-1, 2, 2)),
    )
)
INSTANCES = [
    {"tag": "foo", "signal": [1, 2, 3, 4, 5], "sensor": [[1, 2], [3, 4]]},
    {"tag": "bar", "signal": [3, 4, 1, 2, 5], "sensor": [[4, 5], [6, 8]]},
]
COLUMNS = {
    "tag": ["foo", "bar"],
    "signal": [[1, 2, 3, 4, 5], [3, 4, 1, 2, 5]],
    "sensor": [[[1, 2], [3, 4]], [[4, 5], [6, 8]]],
}


def halve_plus_three(payload: Any) -> Any:
    return payload.arrays["x"] * 0.5 + 3.0


@pytest.fixture
def half(loopback: Any, description: Any) -> Any:
    return loopback(factory=TensorflowCodec, model=halve_plus_three, description=description(signature=ONE))


@pytest.fixture
def many(loopback: Any, description: Any) -> Any:
    return loopback(factory=TensorflowCodec, model=lambda p: p.arrays, description=description(signature=MANY))


@pytest.fixture
def table(loopback: Any) -> Any:
    return loopback(factory=TensorflowCodec, model=lambda p: p.values.sum(axis=1))  # noqa: PD011  a Matrix


@pytest.mark.parametrize(
    "path", [PREDICT, "/v1/models/churn/versions/4:predict", "/v1/models/churn/labels/churn-v4:predict"]
)
def test_the_documented_example(half: Any, path: str) -> None:
    assert half.post(path, {"instances": [1.0, 2.0, 5.0]}) == (200, {"predictions": [3.5, 4.0, 5.5]})
    assert half.post(path, {"inputs": [1.0, 2.0, 5.0]}) == (200, {"outputs": [3.5, 4.0, 5.5]})


def test_row_format_of_several_tensors(many: Any) -> None:
    status, answer = many.post(PREDICT, {"signature_name": "serving_default", "instances": INSTANCES})
    assert isinstance(many.payload, Tensors)
    assert {name: array.shape for name, array in many.payload.arrays.items()} == {
        "tag": (2,),
        "signal": (2, 5),
        "sensor": (2, 2, 2),
    }
    assert (status, answer) == (200, {"predictions": INSTANCES})


def test_column_format_of_several_tensors(many: Any) -> None:
    assert many.post(PREDICT, {"inputs": COLUMNS}) == (200, {"outputs": COLUMNS})


def test_both_formats_mean_the_same(many: Any) -> None:
    many.post(PREDICT, {"instances": INSTANCES})
    many.post(PREDICT, {"inputs": COLUMNS})
    rows, columns = (request.payload.arrays for request in many.seen)
    assert all((rows[name] == columns[name]).all() for name in rows)


@pytest.mark.parametrize(
    "instances",
    [[[20, 1.5]], [{"age": 20, "income": 1.5}], [{"age": [20], "income": [1.5]}]],
    ids=["list", "dict", "1x1"],
)
def test_rows_of_a_table(table: Any, instances: Any) -> None:
    assert table.post(PREDICT, {"instances": instances}) == (200, {"predictions": [21.5]})
    assert isinstance(table.payload, Matrix)


MIXED = Signature(inputs=(Column(name="age", type="long"), Column(name="plan", type="string")))


@pytest.mark.parametrize("instances", [[[20, "a"], [30, "b"]], [{"plan": "a", "age": 20}, {"plan": "b", "age": 30}]])
def test_rows_of_several_types_keep_them(loopback: Any, description: Any, instances: Any) -> None:
    server = loopback(
        factory=TensorflowCodec, model=lambda p: p.frame["age"].to_numpy(), description=description(signature=MIXED)
    )
    assert server.post(PREDICT, {"instances": instances}) == (200, {"predictions": [20, 30]})
    assert isinstance(server.payload, Frame)
    assert list(server.payload.frame["plan"]) == ["a", "b"]


def test_base64_reaches_a_binary_column_as_bytes(loopback: Any, description: Any) -> None:
    signature = Signature(inputs=(Column(name="image", type="binary"), Column(name="caption", type="string")))
    server = loopback(
        factory=TensorflowCodec,
        model=lambda p: p.frame["caption"].to_numpy(),
        description=description(signature=signature),
    )
    example = {"image": {"b64": base64.b64encode(b"\xff\x00raw").decode()}, "caption": "seaside"}
    assert server.post(PREDICT, {"instances": [example]}) == (200, {"predictions": ["seaside"]})
    assert list(server.payload.frame["image"]) == [b"\xff\x00raw"]


def test_base64_alone_is_a_value_and_no_name(loopback: Any, description: Any) -> None:
    signature = Signature(inputs=(Column(name="image", type="binary"),))
    server = loopback(
        factory=TensorflowCodec,
        model=lambda p: p.frame["image"].to_numpy(),
        description=description(signature=signature),
    )
    encoded = {"b64": base64.b64encode(b"\xff").decode()}
    assert server.post(PREDICT, {"instances": [encoded]}) == (200, {"predictions": [encoded]})


def test_outputs_named_bytes_are_base64(loopback: Any, description: Any) -> None:
    server = loopback(
        factory=TensorflowCodec,
        model=lambda _: {"image_bytes": np.array(["a"]), "caption": np.array(["b"])},
        description=description(signature=ONE),
    )
    _, answer = server.post(PREDICT, {"inputs": [1.0]})
    assert answer == {"outputs": {"image_bytes": [{"b64": "YQ=="}], "caption": ["b"]}}


def test_nan_and_infinity_stand_in_bodies_and_answers(half: Any) -> None:
    reply = half.ask("POST", PREDICT, b'{"instances": [NaN, Infinity, 1.0]}')
    assert reply.body == b'{"predictions": [NaN, Infinity, 3.5]}'


def test_floats_take_the_models_precision(half: Any) -> None:
    assert half.post(PREDICT, {"instances": [0.1]})[0] == 200
    assert half.payload.arrays["x"].dtype == np.float32


def test_without_a_signature_values_type_themselves(loopback: Any, description: Any) -> None:
    server = loopback(
        factory=TensorflowCodec, model=lambda p: p.array.sum(axis=1), description=description(signature=Signature())
    )
    assert server.post(PREDICT, {"instances": [[1, 2], [3, 4]]}) == (200, {"predictions": [3, 7]})
    assert isinstance(server.payload, Tensor)


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({}, "exactly one of 'instances' and 'inputs'"),
        ({"instances": [1.0], "inputs": [1.0]}, "exactly one"),
        ({"instances": []}, "at least one value"),
        ({"instances": "x"}, "at least one value"),
        ({"instances": ["x"]}, "is text; the model takes float32"),
        ({"instances": [None]}, "must hold float32 alone, and has null"),
        ({"instances": [True]}, "is bool; the model takes float32"),
        ({"instances": [1e300]}, "beyond the range of float32"),
        ({"instances": [[1.0]]}, "has shape [1, 1]; the model takes [-1]"),
        ({"instances": [[1.0], [1.0, 2.0]]}, "rows of one shape"),
        ({"instances": [{"x": 1.0}, {"y": 1.0}]}, "instance 1 must be an object with the names of the first"),
        ({"instances": [{"y": 1.0}]}, "unknown input 'y'; the model takes 'x'"),
        ({"instances": [{"b64": "?"}]}, "no base64"),
        ({"inputs": {}}, "no inputs"),
        ({"inputs": 1.0}, "has shape []"),
        ({"instances": [1.0], "signature_name": "other"}, "the only one is 'serving_default'"),
        ({"instances": [1.0], "signature_name": []}, "the only one is 'serving_default'"),
    ],
)
def test_a_request_that_does_not_fit_says_why(half: Any, document: Any, words: str) -> None:
    status, answer = half.post(PREDICT, document)
    assert status == 400
    assert words in answer["error"]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff", b"[" * 100_000])
def test_a_body_that_is_no_object_is_refused(half: Any, body: bytes) -> None:
    assert half.ask("POST", PREDICT, body).status == 400


def test_classify_gives_every_class_with_its_score(loopback: Any, description: Any) -> None:
    server = loopback(
        factory=TensorflowCodec,
        model=lambda _: np.array(["yes"]),
        description=description(has_probability=True, classes=("no", "yes")),
        probability=np.array([[0.25, 0.75]]),
    )
    examples = {"context": {"income": 3.0}, "examples": [{"age": 20.0}]}
    assert server.post("/v1/models/churn:classify", examples) == (200, {"results": [[["no", 0.25], ["yes", 0.75]]]})


def test_classify_is_refused_where_there_are_no_probabilities(table: Any) -> None:
    status, answer = table.post("/v1/models/churn:classify", {"examples": [{"age": 1.0, "income": 1.0}]})
    assert (status, "use ':predict'" in answer["error"]) == (400, True)


def test_regress_gives_one_number_per_example(table: Any) -> None:
    examples = {"examples": [{"age": 1.0, "income": 2.0}, {"age": [3.0], "income": [4.0]}]}
    status, answer = table.post("/v1/models/churn:regress", {"examples": examples["examples"][:1] * 2})
    assert (status, answer) == (200, {"results": [3.0, 3.0]})


def test_regress_is_refused_where_the_answer_is_text(loopback: Any) -> None:
    server = loopback(factory=TensorflowCodec, model=lambda _: np.array(["a"]))
    assert server.post("/v1/models/churn:regress", {"examples": [{"age": 1.0, "income": 2.0}]})[0] == 400


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"examples": []},
        {"examples": [1]},
        {"examples": [{"age": 1.0}], "context": 7},
        {"examples": [{"age": 1.0}], "context": {"age": 1.0}},
    ],
)
def test_examples_that_do_not_fit_are_refused(table: Any, document: Any) -> None:
    assert table.post("/v1/models/churn:regress", document)[0] == 400


def test_status_is_that_of_the_engine(half: Any) -> None:
    expected = {"version": "4", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
    assert half.get("/v1/models/churn") == (200, {"model_version_status": [expected]})
    half.is_ready = False
    assert half.get("/v1/models/churn/versions/4")[1]["model_version_status"][0]["state"] == "LOADING"


def test_metadata_is_a_signature_definition(many: Any) -> None:
    _, answer = many.get("/v1/models/churn/metadata")
    assert answer["model_spec"] == {"name": "churn", "signature_name": "", "version": "4"}
    inputs = answer["metadata"]["signature_def"]["signature_def"]["serving_default"]["inputs"]
    assert {name: tensor["dtype"] for name, tensor in inputs.items()} == {
        "tag": "DT_STRING",
        "signal": "DT_INT64",
        "sensor": "DT_FLOAT",
    }
    assert [dimension["size"] for dimension in inputs["sensor"]["tensor_shape"]["dim"]] == ["-1", "2", "2"]


@pytest.mark.parametrize("path", ["/versions/9", "/labels/stable", "/versions/9/metadata"])
def test_a_version_that_is_not_here_is_unknown(half: Any, path: str) -> None:
    status, answer = half.get(f"/v1/models/churn{path}")
    assert (status, "Servable not found" in answer["error"]) == (404, True)
    assert half.post("/v1/models/churn/versions/9:predict", {"instances": [1.0]})[0] == 404


@pytest.mark.parametrize(
    ("output", "rows"),
    [
        (pd.DataFrame({"a": [1], "b": ["x"]}), [{"a": 1, "b": "x"}]),
        (pd.DataFrame({"a": [1]}), [1]),
        (np.array([[0.5, 0.25]], dtype=np.float32), [[0.5, 0.25]]),
        ([{"label": "x"}], [{"label": "x"}]),
        (np.array(["2026-01-02"], dtype="datetime64[D]"), ["2026-01-02"]),
    ],
)
def test_any_output_is_said_in_rows(loopback: Any, output: Any, rows: Any) -> None:
    server = loopback(factory=TensorflowCodec, model=lambda _: output)
    assert server.post(PREDICT, {"instances": [[1.0, 2.0]]}) == (200, {"predictions": rows})


def test_outputs_of_different_lengths_are_no_rows(loopback: Any) -> None:
    server = loopback(factory=TensorflowCodec, model=lambda _: {"a": np.array([1]), "b": np.array([1, 2])})
    assert server.post(PREDICT, {"instances": [[1.0, 2.0]]})[0] == 500
    assert server.post(PREDICT, {"inputs": [[1.0, 2.0]]}) == (200, {"outputs": {"a": [1], "b": [1, 2]}})


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["age", "income", "b64", "x"]), inner, max_size=4)
    ),
    max_leaves=8,
)
KEYS = st.sampled_from(["instances", "inputs", "examples", "context", "signature_name", "other"])


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    document=st.dictionaries(KEYS, JSON_VALUES, max_size=3),
    verb=st.sampled_from(["predict", "classify", "regress"]),
    is_typed=st.booleans(),
)
def test_any_document_is_answered_or_refused_and_nothing_else(
    table: Any, half: Any, document: Any, verb: str, *, is_typed: bool
) -> None:
    server = table if is_typed else half
    server.model = lambda _: np.array([1.0])
    reply = server.ask("POST", f"/v1/models/churn:{verb}", orjson.dumps(document))
    assert reply.status in {200, 400}
    assert "error" in json.loads(reply.body) or reply.status == 200
