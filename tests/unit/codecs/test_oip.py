"""The Open Inference Protocol by hand-written vectors; a foreign client proves it in tests/e2e/codecs."""

import json
import struct
from typing import Any

import numpy as np
import orjson
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlflow_deploy_plugin.serving.codecs import oip_tensors
from mlflow_deploy_plugin.serving.codecs.oip import OipCodec
from mlflow_deploy_plugin.serving.faults import RequestError
from mlflow_deploy_plugin.serving.request import Frame, Matrix, Raw, Tensor, Tensors
from mlflow_deploy_plugin.serving.signature import Column, Param, Signature, TensorSpec

INFER = "/v2/models/churn/infer"
UNTYPED = Signature()


def total(payload: Any) -> Any:
    return payload.values.sum(axis=1)  # noqa: PD011  a Matrix


def echo(payload: Any) -> Any:
    return payload.array if isinstance(payload, Tensor) else payload.arrays


def tensor(name: str, datatype: str, shape: list[int], data: Any) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": shape, "data": data}


AGE = tensor("age", "FP64", [2, 1], [1, 2])
INCOME = tensor("income", "FP64", [2], [10.5, 20.5])


@pytest.fixture
def table(loopback: Any) -> Any:
    return loopback(factory=OipCodec, model=total)


@pytest.fixture
def mirror(loopback: Any, description: Any) -> Any:
    return loopback(factory=OipCodec, model=echo, description=description(signature=UNTYPED))


def test_columns_of_a_table_are_inputs_of_their_own(table: Any) -> None:
    status, answer = table.post(INFER, {"id": "7", "inputs": [INCOME, AGE]})
    assert (status, answer) == (
        200,
        {
            "id": "7",
            "model_name": "churn",
            "model_version": "4",
            "outputs": [{"name": "output-0", "datatype": "FP64", "shape": [2], "data": [11.5, 22.5]}],
        },
    )
    assert isinstance(table.payload, Matrix)
    assert table.payload.columns == ("age", "income")


def test_a_table_may_come_as_one_matrix(table: Any) -> None:
    status, answer = table.post(INFER, {"inputs": [tensor("x", "FP32", [2, 2], [[1, 2], [3, 4]])]})
    assert (status, answer["outputs"][0]["data"]) == (200, [3, 7])
    assert table.payload.values.dtype == np.float64  # noqa: PD011


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ([AGE], "input 'income' is missing; the model takes 'age', 'income'"),
        ([AGE, INCOME, tensor("x", "FP64", [2], [1, 2])], "unknown input 'x'"),
        ([AGE, tensor("income", "FP64", [1], [1])], "different numbers of rows: 'age' 2, 'income' 1"),
        ([AGE, tensor("income", "BYTES", [2], ["a", "b"])], "'income' is text; the model takes float64"),
        ([AGE, tensor("income", "INT64", [2], [1, 2**53 + 1])], "values do not fit the model's float64"),
        ([AGE, AGE], "'age' is given twice"),
        ([tensor("age", "FP64", [2], [1])], "has 1 elements; its shape [2] has 2"),
        ([tensor("age", "FP64", [2], [1, "2"])], "must be FP64, and has '2'"),
        ([tensor("age", "INT32", [1], [2**31])], "does not fit INT32"),
        ([tensor("age", "INT32", [1], [1.5])], "must be INT32, and has 1.5"),
        ([tensor("age", "INT32", [1], [True])], "must be INT32, and has True"),
        ([tensor("age", "BOOL", [1], [1])], "must be BOOL, and has 1"),
        ([tensor("age", "FP16", [1], [1e6])], "beyond the range of FP16"),
        ([tensor("age", "FP128", [1], [1])], "must be one of BOOL"),
        ([tensor("age", "FP64", [0], [])], "sizes of at least 1"),
        ([tensor("age", "FP64", [-1], [1])], "sizes of at least 1"),
        ([{"name": "age"}], "datatype of 'age'"),
        ([], "at least one tensor"),
        ("x", "at least one tensor"),
        ([7], "must be an object"),
    ],
)
def test_a_request_that_does_not_fit_says_why(table: Any, inputs: Any, words: str) -> None:
    status, answer = table.post(INFER, {"inputs": inputs})
    assert status == 400
    assert words in answer["error"]


def test_whole_numbers_widen_to_floats_where_nothing_is_lost(table: Any) -> None:
    assert table.post(INFER, {"inputs": [AGE, tensor("income", "INT64", [2], [1, 2**53])]})[0] == 200


def test_a_null_is_a_missing_number(table: Any) -> None:
    _, answer = table.post(INFER, {"inputs": [AGE, tensor("income", "FP64", [2], [None, 1])]})
    assert answer["outputs"][0]["data"] == [None, 3]


NUMBERS = {
    "BOOL": ([True, False], b"\x01\x00"),
    "UINT8": ([1, 255], struct.pack("<2B", 1, 255)),
    "UINT16": ([1, 65535], struct.pack("<2H", 1, 65535)),
    "UINT32": ([1, 2**32 - 1], struct.pack("<2I", 1, 2**32 - 1)),
    "UINT64": ([1, 2**64 - 1], struct.pack("<2Q", 1, 2**64 - 1)),
    "INT8": ([-128, 127], struct.pack("<2b", -128, 127)),
    "INT16": ([-(2**15), 1], struct.pack("<2h", -(2**15), 1)),
    "INT32": ([-(2**31), 1], struct.pack("<2i", -(2**31), 1)),
    "INT64": ([-(2**63), 1], struct.pack("<2q", -(2**63), 1)),
    "FP16": ([1.5, -2.0], struct.pack("<2e", 1.5, -2.0)),
    "FP32": ([1.5, -2.0], struct.pack("<2f", 1.5, -2.0)),
    "FP64": ([1.5, -2.0], struct.pack("<2d", 1.5, -2.0)),
    "BYTES": (["a", "öé"], b"\x01\x00\x00\x00a\x04\x00\x00\x00" + "öé".encode()),
}


def binary_request(mirror: Any, datatype: str, data: bytes, **head: Any) -> tuple[dict[str, Any], bytes]:
    described = {"name": "x", "datatype": datatype, "shape": [2], "parameters": {"binary_data_size": len(data)}}
    document = json.dumps({"inputs": [described], "parameters": {"binary_data_output": True}, **head}).encode()
    headers = {"Inference-Header-Content-Length": str(len(document))}
    reply = mirror.ask("POST", INFER, document + data, headers)
    assert reply.status == 200, reply.body
    length = int(dict(reply.headers)[b"inference-header-content-length"])
    assert reply.content_type == b"application/octet-stream"
    return json.loads(reply.body[:length])["outputs"][0], reply.body[length:]


@pytest.mark.parametrize("datatype", NUMBERS)
def test_every_datatype_comes_back_as_it_went_in_json(mirror: Any, datatype: str) -> None:
    values, _ = NUMBERS[datatype]
    status, answer = mirror.post(INFER, {"inputs": [tensor("x", datatype, [2], values)]})
    assert (status, answer["outputs"]) == (200, [tensor("output-0", datatype, [2], values)])


@pytest.mark.parametrize("datatype", NUMBERS)
def test_every_datatype_comes_back_as_it_went_in_binary(mirror: Any, datatype: str) -> None:
    _, data = NUMBERS[datatype]
    output, returned = binary_request(mirror, datatype, data)
    assert (output["datatype"], output["parameters"], returned) == (datatype, {"binary_data_size": len(data)}, data)


def test_bf16_is_widened(mirror: Any) -> None:
    halves = (np.array([1.5, -2.0], dtype=np.float32).view(np.uint32) >> 16).astype("<u2").tobytes()
    output, returned = binary_request(mirror, "BF16", halves)
    assert (output["datatype"], struct.unpack("<2f", returned)) == ("FP32", (1.5, -2.0))


def test_binary_carries_what_json_cannot_say(mirror: Any) -> None:
    data = struct.pack("<2f", float("nan"), float("inf"))
    assert binary_request(mirror, "FP32", data)[1] == data


def test_inputs_may_mix_json_and_binary(loopback: Any, description: Any) -> None:
    server = loopback(factory=OipCodec, model=echo, description=description(signature=UNTYPED))
    inputs = [
        tensor("a", "INT8", [2, 1], [1, 2]),
        {"name": "b", "datatype": "INT8", "shape": [2, 1], "parameters": {"binary_data_size": 2}},
    ]
    wanted = [{"name": "b"}, {"name": "a", "parameters": {"binary_data": True}}]
    document = json.dumps({"inputs": inputs, "outputs": wanted}).encode()
    headers = {"Inference-Header-Content-Length": str(len(document))}
    reply = server.ask("POST", INFER, document + b"\x03\x04", headers)
    length = int(dict(reply.headers)[b"inference-header-content-length"])
    first, second = json.loads(reply.body[:length])["outputs"]
    assert (first["name"], first["data"], second["name"], reply.body[length:]) == ("b", [3, 4], "a", b"\x01\x02")


@pytest.mark.parametrize(
    ("header", "size", "words"),
    [
        ("5000", 4, "must be at most"),
        ("-1", 4, "must be at most"),
        ("x", 4, "must be at most"),
        ("", 4, "must be at most"),
        ("whole", 5, "reaches 1 bytes too far"),
        ("whole", 3, "'x' has 3 bytes; INT8 of shape [4] has 4"),
        ("whole", -1, "binary_data_size of 0 or more"),
        ("whole", None, "data of 'x' must be an array"),
    ],
)
def test_binary_sizes_are_checked(mirror: Any, header: str, size: Any, words: str) -> None:
    described = {"name": "x", "datatype": "INT8", "shape": [4], "parameters": {"binary_data_size": size}}
    document = json.dumps({"inputs": [described]}).encode()
    length = str(len(document)) if header == "whole" else header
    reply = mirror.ask("POST", INFER, document + b"abcd", {"Inference-Header-Content-Length": length})
    assert reply.status == 400
    assert words in json.loads(reply.body)["error"]


def test_bytes_that_belong_to_no_input_are_refused(mirror: Any) -> None:
    document = json.dumps({"inputs": [tensor("x", "INT8", [1], [1])]}).encode()
    reply = mirror.ask("POST", INFER, document + b"a", {"Inference-Header-Content-Length": str(len(document))})
    assert (reply.status, b"1 bytes of binary data belong to no input" in reply.body) == (400, True)


@pytest.mark.parametrize(
    "data", [b"\xff\xff\xff\xff", b"\x01\x00\x00\x00", b"\x00\x00\x00\x00" * 2 + b"x", b"", b"\x00\x00\x00\x00"]
)
def test_torn_bytes_elements_are_refused(data: bytes) -> None:
    with pytest.raises(RequestError):
        oip_tensors.from_bytes(data, "BYTES", [2], "x")


def test_text_columns_get_text_and_binary_ones_bytes(loopback: Any, description: Any) -> None:
    signature = Signature(
        inputs=(
            Column(name="word", type="string"),
            Column(name="blob", type="binary"),
            Column(name="day", type="datetime"),
            Column(name="note", type="string", is_required=False),
        )
    )
    server = loopback(factory=OipCodec, model=lambda p: p.frame["word"], description=description(signature=signature))
    inputs = [
        tensor("word", "BYTES", [1], ["hi"]),
        tensor("blob", "BYTES", [1], ["raw"]),
        tensor("day", "BYTES", [1], ["2026-01-02T03:04:05"]),
    ]
    status, answer = server.post(INFER, {"inputs": inputs})
    assert (status, answer["outputs"][0]["data"]) == (200, ["hi"])
    (row,) = server.payload.frame.to_dict("records")
    assert row == {"word": "hi", "blob": b"raw", "day": pd.Timestamp("2026-01-02T03:04:05")}


def test_bytes_that_are_no_text_are_refused_for_text(loopback: Any, description: Any) -> None:
    signature = Signature(inputs=(Column(name="x", type="string"),))
    server = loopback(factory=OipCodec, model=echo, description=description(signature=signature))
    described = {"name": "x", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": 5}}
    document = json.dumps({"inputs": [described]}).encode()
    headers = {"Inference-Header-Content-Length": str(len(document))}
    reply = server.ask("POST", INFER, document + b"\x01\x00\x00\x00\xff", headers)
    assert (reply.status, "not UTF-8" in reply.body.decode()) == (400, True)


IMAGE = Signature(inputs=(TensorSpec(name="", dtype="float32", shape=(-1, 2, 2)),))
PAIR = Signature(
    inputs=(TensorSpec(name="a", dtype="int64", shape=(-1,)), TensorSpec(name="b", dtype="str", shape=(-1, 1)))
)


def test_an_unnamed_tensor_takes_any_name(loopback: Any, description: Any) -> None:
    server = loopback(factory=OipCodec, model=echo, description=description(signature=IMAGE))
    status, _ = server.post(INFER, {"inputs": [tensor("whatever", "FP32", [1, 2, 2], [[[1, 2], [3, 4]]])]})
    assert status == 200
    assert isinstance(server.payload, Tensor)
    status, answer = server.post(INFER, {"inputs": [tensor("whatever", "FP32", [1, 4], [1, 2, 3, 4])]})
    assert (status, "has shape [1, 4]; the model takes [-1, 2, 2]" in answer["error"]) == (400, True)


def test_named_tensors_go_by_name(loopback: Any, description: Any) -> None:
    server = loopback(factory=OipCodec, model=echo, description=description(signature=PAIR))
    inputs = [tensor("b", "BYTES", [1, 1], ["hi"]), tensor("a", "INT32", [1], [5])]
    status, answer = server.post(INFER, {"inputs": inputs})
    assert isinstance(server.payload, Tensors)
    assert (status, [output["data"] for output in answer["outputs"]]) == (200, [[5], ["hi"]])


def test_a_type_hint_model_gets_plain_values(loopback: Any, description: Any) -> None:
    signature = Signature(inputs=(Column(name="", type="string"),), is_from_type_hint=True)
    server = loopback(factory=OipCodec, model=lambda p: p.value, description=description(signature=signature))
    server.post(INFER, {"inputs": [tensor("x", "BYTES", [2], ["a", "b"])]})
    assert server.payload == Raw(value=["a", "b"])


def test_without_a_signature_vectors_of_one_length_are_a_table(loopback: Any, description: Any) -> None:
    server = loopback(factory=OipCodec, model=lambda p: p.frame, description=description(signature=UNTYPED))
    _, answer = server.post(INFER, {"inputs": [tensor("a", "INT8", [1], [1]), tensor("b", "FP32", [1], [2])]})
    assert isinstance(server.payload, Frame)
    assert [output["name"] for output in answer["outputs"]] == ["a", "b"]


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        (np.array(["x", "y"]), tensor("output-0", "BYTES", [2], ["x", "y"])),
        (["x"], tensor("output-0", "BYTES", [1], ["x"])),
        ([{"label": "x"}], tensor("output-0", "BYTES", [1], ['{"label":"x"}'])),
        (pd.DataFrame({"y": [1]}), tensor("y", "INT64", [1], [1])),
        (np.array(["2026-01-02"], dtype="datetime64[s]"), tensor("output-0", "BYTES", [1], ["2026-01-02T00:00:00"])),
        (3.5, tensor("output-0", "FP64", [1], [3.5])),
        (np.array([[1.0, np.inf]], dtype=np.float32), tensor("output-0", "FP32", [1, 2], [1.0, None])),
    ],
)
def test_any_output_is_said_in_tensors(loopback: Any, output: Any, expected: Any) -> None:
    server = loopback(factory=OipCodec, model=lambda _: output)
    status, answer = server.post(INFER, {"inputs": [AGE, INCOME]})
    assert (status, answer["outputs"]) == (200, [expected])


def test_an_output_that_is_no_tensor_is_the_models_fault(loopback: Any) -> None:
    server = loopback(factory=OipCodec, model=lambda _: [[1], [1, 2]])
    assert server.post(INFER, {"inputs": [AGE, INCOME]})[0] == 500


def test_a_classifier_gives_its_probability_where_asked(loopback: Any, description: Any) -> None:
    server = loopback(
        factory=OipCodec,
        model=total,
        description=description(has_probability=True, classes=(0, 1)),
        probability=np.array([[0.25, 0.75], [0.5, 0.5]]),
    )
    plain = server.post(INFER, {"inputs": [AGE, INCOME]})[1]
    assert [output["name"] for output in plain["outputs"]] == ["output-0"]
    asked = server.post(INFER, {"inputs": [AGE, INCOME], "outputs": [{"name": "probability"}]})[1]
    assert asked["outputs"] == [tensor("probability", "FP64", [2, 2], [0.25, 0.75, 0.5, 0.5])]


def test_an_unknown_output_is_refused_with_the_known(table: Any) -> None:
    status, answer = table.post(INFER, {"inputs": [AGE, INCOME], "outputs": [{"name": "nope"}]})
    assert (status, answer["error"]) == (400, "unknown output 'nope'; the model gives 'output-0'")


def test_parameters_of_the_signature_reach_the_model(loopback: Any, description: Any) -> None:
    signature = Signature(params=(Param(name="temperature", type="double", default=1.0),))
    server = loopback(factory=OipCodec, model=echo, description=description(signature=signature))
    server.post(INFER, {"inputs": [AGE], "parameters": {"temperature": 0.5, "sequence_id": 3}})
    assert server.seen[-1].params == {"temperature": 0.5}


@pytest.mark.parametrize("field", ["parameters", "outputs", "id"])
def test_fields_of_a_wrong_kind_are_refused(table: Any, field: str) -> None:
    assert table.post(INFER, {"inputs": [AGE, INCOME], field: 7})[0] == 400


def test_metadata_says_what_to_send(table: Any) -> None:
    assert table.get("/v2/models/any") == (
        200,
        {
            "name": "any",
            "versions": ["4"],
            "platform": "mlflow_sklearn",
            "inputs": [
                {"name": "age", "datatype": "FP64", "shape": [-1, 1]},
                {"name": "income", "datatype": "FP64", "shape": [-1, 1]},
            ],
            "outputs": [{"name": "output-0", "datatype": "INT64", "shape": [-1]}],
        },
    )


def test_readiness_follows_the_engine(table: Any) -> None:
    paths = ["/v2/health/ready", "/v2/models/churn/ready", "/v2/models/churn/versions/4/ready"]
    assert [table.get(path)[0] for path in paths] == [200, 200, 200]
    table.is_ready = False
    assert [table.get(path)[0] for path in [*paths, "/v2/health/live"]] == [503, 503, 503, 200]


def test_a_version_that_is_not_here_is_unknown(table: Any) -> None:
    assert table.post("/v2/models/churn/versions/4/infer", {"inputs": [AGE, INCOME]})[0] == 200
    assert table.post("/v2/models/churn/versions/churn-v4/infer", {"inputs": [AGE, INCOME]})[0] == 200
    status, answer = table.post("/v2/models/churn/versions/9/infer", {"inputs": [AGE, INCOME]})
    assert (status, "x-model-version" in answer["error"]) == (404, True)
    assert table.get("/v2/models/churn/versions/9")[0] == 404


def test_server_metadata_names_the_extensions(table: Any) -> None:
    assert table.get("/v2")[1]["extensions"] == ["binary_tensor_data", "model_configuration", "statistics"]
    assert table.get("/endpoints/churn/v2")[0] == 200
    assert table.post("/v2/repository/index", {})[1][0]["state"] == "READY"


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)
DESCRIBED = st.fixed_dictionaries(
    {},
    optional={
        "name": st.sampled_from(["age", "income"]) | JSON_VALUES,
        "datatype": st.sampled_from(sorted(oip_tensors.NUMPY)) | JSON_VALUES,
        "shape": st.lists(st.integers(-1, 3), max_size=3) | JSON_VALUES,
        "data": st.lists(JSON_VALUES, max_size=4) | JSON_VALUES,
        "parameters": st.fixed_dictionaries({}, optional={"binary_data_size": st.integers(-1, 9)}) | JSON_VALUES,
    },
)
DOCUMENTS = st.fixed_dictionaries(
    {"inputs": st.lists(DESCRIBED, max_size=3) | JSON_VALUES},
    optional={"outputs": JSON_VALUES, "parameters": JSON_VALUES, "id": JSON_VALUES},
)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(document=DOCUMENTS, binary=st.none() | st.binary(max_size=9), is_typed=st.booleans())
def test_any_document_is_answered_or_refused_and_nothing_else(
    table: Any, mirror: Any, document: Any, binary: bytes | None, *, is_typed: bool
) -> None:
    server = table if is_typed else mirror
    server.model = lambda _: np.array([1.0])
    body = orjson.dumps(document)
    headers = {} if binary is None else {"Inference-Header-Content-Length": str(len(body))}
    reply = server.ask("POST", INFER, body + (binary or b""), headers)
    assert reply.status in {200, 400}
    assert "error" in json.loads(reply.body) or reply.status == 200


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=st.binary(max_size=200))
def test_any_bytes_are_refused(loopback: Any, body: bytes) -> None:
    assert loopback(factory=OipCodec, model=total).ask("POST", INFER, body).status == 400


@pytest.mark.parametrize("datatype", ["FP16", "FP32", "FP64"])
def test_zeros_and_ones_are_numbers_and_what_only_equals_them_is_not(mirror: Any, datatype: str) -> None:
    status, answer = mirror.post(INFER, {"inputs": [tensor("x", datatype, [4], [0, 1.0, 0.5, 1])]})
    assert (status, answer["outputs"][0]["data"]) == (200, [0.0, 1.0, 0.5, 1.0])
    status, answer = mirror.post(INFER, {"inputs": [tensor("x", datatype, [4], [0, 1.0, True, 1])]})
    assert (status, answer["error"]) == (400, f"data of 'x' must be {datatype}, and has True")
