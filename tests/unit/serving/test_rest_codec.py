"""Plain REST: what it takes, what it refuses and in which words."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlflow_deploy_plugin.serving.codecs.base import Call, Host, Infer, ModelDescription
from mlflow_deploy_plugin.serving.codecs.rest import RestCodec
from mlflow_deploy_plugin.serving.faults import Fault, RequestError
from mlflow_deploy_plugin.serving.request import Caller, Frame, Matrix, Raw, Request, Response, Tensor, Tensors
from mlflow_deploy_plugin.serving.signature import Column, Signature, TensorSpec

DOUBLES = Signature(inputs=(Column(name="age", type="double"), Column(name="income", type="double")))
MIXED = Signature(
    inputs=(
        Column(name="age", type="long"),
        Column(name="city", type="string"),
        Column(name="member", type="boolean", is_required=False),
    )
)
PIXELS = Signature(inputs=(TensorSpec(name="", dtype="float32", shape=(-1, 2, 2)),))
HINTED = Signature(inputs=(Column(name="", type="string"),), is_from_type_hint=True)


def codec(signature: Signature, **known: Any) -> RestCodec:
    description = ModelDescription(
        endpoint="churn",
        deployment="churn-v4",
        model_name="churn",
        model_version="4",
        flavor="f",
        folder=Path(),
        signature=signature,
        **known,
    )
    return RestCodec(Host(model=description, is_ready=lambda: True))


def call(body: Any, *, verb: str = "predict") -> Call:
    sent = body if isinstance(body, bytes) else orjson.dumps(body)
    return Call("POST", Infer(path="/" + verb, verb=verb), {}, {}, b"", sent, Caller(request_id="r"))


def decode(signature: Signature, features: Any, *, verb: str = "predict") -> Any:
    return codec(signature).decode(call({"features": features}, verb=verb)).payload


def refusal(signature: Signature, body: Any, *, verb: str = "predict") -> RequestError:
    with pytest.raises(RequestError) as told:
        codec(signature).decode(call(body, verb=verb))
    return told.value


@pytest.mark.parametrize("features", [[31, 1500.5], {"age": 31, "income": 1500.5}, {"income": 1500.5, "age": 31.0}])
def test_a_row_is_given_in_order_or_by_name(features: Any) -> None:
    payload = decode(DOUBLES, features)
    assert isinstance(payload, Matrix)
    assert payload.values.tolist() == [[31.0, 1500.5]]  # noqa: PD011
    assert payload.values.dtype == np.float64  # noqa: PD011


def test_many_rows_are_given_in_either_form() -> None:
    payload = decode(DOUBLES, [[1, 2.0], {"income": 4, "age": 3}], verb="predict_batch")
    assert payload.values.tolist() == [[1.0, 2.0], [3.0, 4.0]]  # noqa: PD011  no frame


def test_a_mixed_table_keeps_its_types_and_an_optional_column_may_miss() -> None:
    rows = [{"age": 3, "city": "Ulm"}, {"age": 4, "city": "Bonn", "member": True}]
    payload = decode(MIXED, rows, verb="predict_batch")
    assert isinstance(payload, Frame)
    assert payload.frame["age"].dtype == np.int64
    assert payload.frame["member"].tolist() == [None, True]
    assert list(decode(MIXED, {"age": 3, "city": "Ulm"}).frame.columns) == ["age", "city"]


def test_a_tensor_row_has_its_shape_without_the_batch() -> None:
    payload = decode(PIXELS, [[1, 2], [3, 4]])
    assert isinstance(payload, Tensor)
    assert (payload.array.shape, payload.array.dtype) == ((1, 2, 2), np.float32)


def test_named_tensors_come_by_name() -> None:
    two = Signature(
        inputs=(TensorSpec(name="x", dtype="float32", shape=(-1, 2)), TensorSpec(name="k", dtype="int64", shape=(-1,)))
    )
    payload = decode(two, {"x": [1.5, 2], "k": 3})
    assert isinstance(payload, Tensors)
    assert payload.arrays["k"].tolist() == [3]


def test_a_type_hint_model_gets_a_list_and_no_signature_takes_what_comes() -> None:
    assert decode(HINTED, "hello") == Raw(value=["hello"])
    assert isinstance(decode(Signature(), [1, 2]), Tensor)
    assert isinstance(decode(Signature(), {"a": 1}), Frame)


@pytest.mark.parametrize(
    ("signature", "features", "words"),
    [
        (DOUBLES, [1], "has 1 values; the model takes 2"),
        (DOUBLES, {"age": 1}, "misses 'income'"),
        (DOUBLES, {"age": 1, "income": 2, "extra": 3}, "unknown 'extra'"),
        (DOUBLES, ["1", 2], "field 'age': must be a number, not a string"),
        (DOUBLES, [True, 2], "must be a number, not a boolean"),
        (DOUBLES, [None, 2], "must be a number, not null"),
        (DOUBLES, [[1], 2], "not an array"),
        (DOUBLES, "text", "must be an object or an array, not a string"),
        (MIXED, [1.5, "Ulm", None], "must be a whole number, not 1.5"),
        (MIXED, [2**63, "Ulm", None], "64 bits"),
        (MIXED, [1, 5, None], "must be a string"),
        (MIXED, [1, "Ulm", 0], "true or false"),
        (PIXELS, [[1, 2]], "shape"),
        (PIXELS, [["a", "b"], ["c", "d"]], "float32"),
        (PIXELS, [[1, 2], [3]], "float32"),
    ],
)
def test_what_breaks_the_signature_is_refused_by_name(signature: Signature, features: Any, words: str) -> None:
    error = refusal(signature, {"features": features})
    assert error.fault is Fault.INVALID
    assert words in error.message


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[1]", b"nul", b"\xff\xfe", b"[" * 100_000, {"rows": [1]}, {}, {"features": [1, 2], "extra": 1}],
)
def test_what_is_no_such_body_is_malformed(body: Any) -> None:
    assert refusal(DOUBLES, body).fault is Fault.MALFORMED


def test_no_rows_and_wrong_params_are_refused() -> None:
    assert refusal(DOUBLES, {"features": []}, verb="predict_batch").fault is Fault.INVALID
    assert refusal(DOUBLES, {"features": {"a": 1}}, verb="predict_batch").fault is Fault.INVALID
    assert refusal(DOUBLES, {"features": [1, 2], "params": [1]}).fault is Fault.INVALID


def outcome(signature: Signature, sent: bytes, verb: str) -> Fault | None:
    try:
        codec(signature).decode(call(sent, verb=verb))
    except RequestError as error:
        return error.fault
    return None


REFUSALS = {Fault.MALFORMED, Fault.INVALID}


@given(body=st.binary(max_size=200))
def test_no_bytes_make_it_raise_anything_else(body: bytes) -> None:
    assert outcome(MIXED, body, "predict") in REFUSALS


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["age", "city", "x"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(
    features=JSON,
    signature=st.sampled_from([DOUBLES, MIXED, PIXELS]),
    verb=st.sampled_from(["predict", "predict_batch"]),
)
def test_no_json_makes_it_raise_anything_else(features: Any, signature: Signature, verb: str) -> None:
    assert outcome(signature, json.dumps({"features": features}).encode(), verb) in {None, *REFUSALS}


def encode(prediction: Any, *, probability: Any = None, is_batch: bool = False, **known: Any) -> Any:
    request = Request(payload=Raw(value=[]), echo=is_batch)
    response = Response(prediction=prediction, probability=probability, latency_ms=0.5)
    return orjson.loads(codec(DOUBLES, **known).encode(response, request, call({})).body)


def test_the_probability_is_the_predicted_classs() -> None:
    body = encode(np.array(["no"]), probability=np.array([[0.3, 0.7]]), classes=("no", "yes"))
    assert body == {"prediction": "no", "probability": 0.3, "model_version": "churn-v4", "latency_ms": 0.5}


def test_a_batch_has_a_list_of_each() -> None:
    body = encode(np.array([0, 1]), probability=np.array([[0.9, 0.1], [0.2, 0.8]]), classes=(0, 1), is_batch=True)
    assert (body["predictions"], body["probability"]) == ([0, 1], [0.9, 0.8])


@pytest.mark.parametrize(
    ("prediction", "said"),
    [
        (np.array([1.5]), 1.5),
        (pd.Series([1.5]), 1.5),
        (pd.DataFrame({"y": [1.5]}), 1.5),
        (pd.DataFrame({"y": [1.5], "z": ["a"]}), {"y": 1.5, "z": "a"}),
        ({"y": np.array([1.5]), "z": ["a"]}, {"y": 1.5, "z": "a"}),
        (np.array([[1, 2]]), [1, 2]),
        (["text"], "text"),
        (np.array([np.nan]), None),
        (7, 7),
    ],
)
def test_one_row_is_said_as_one_value(prediction: Any, said: Any) -> None:
    assert encode(prediction)["prediction"] == said


@pytest.mark.parametrize(
    ("cause", "signature", "status"),
    [
        (ValueError("NaN"), DOUBLES, 422),
        (RuntimeError("bug"), DOUBLES, 500),
        (RuntimeError("dtype"), Signature(), 422),
        (None, Signature(), 500),
    ],
)
def test_a_model_that_fails_is_500_unless_its_input_may_be_at_fault(
    cause: Exception | None, signature: Signature, status: int
) -> None:
    error = RequestError(Fault.MODEL_FAILED, "the model raised")
    error.__cause__ = cause
    request = Request(payload=Raw(value=[])) if cause else None
    assert codec(signature).encode_error(error, call({}), request).status == status
