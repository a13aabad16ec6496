"""TensorFlow Serving over gRPC, as bytes: every type in its field or as content, and bad input is refused."""

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlflow_deploy_plugin.serving.codecs.grpc_status import MESSAGE, STATUS
from mlflow_deploy_plugin.serving.codecs.tensorflow_grpc import MODEL, PREDICTION, TensorflowGrpcCodec
from mlflow_deploy_plugin.serving.codecs.tensorflow_messages import MAX_REPEATED, MESSAGES, NUMBERS, to_array
from mlflow_deploy_plugin.serving.signature import Signature

FIELDS = {
    "DT_FLOAT": ("float_val", [0.5, 2.0], "f4"),
    "DT_DOUBLE": ("double_val", [0.1, 2.0], "f8"),
    "DT_INT32": ("int_val", [-1, 2], "i4"),
    "DT_UINT8": ("int_val", [0, 255], "u1"),
    "DT_INT16": ("int_val", [-1, 2], "i2"),
    "DT_INT8": ("int_val", [-128, 2], "i1"),
    "DT_STRING": ("string_val", ["ö".encode(), b"b"], "O"),
    "DT_INT64": ("int64_val", [-(2**63), 2], "i8"),
    "DT_BOOL": ("bool_val", [True, False], "?"),
    "DT_UINT16": ("int_val", [0, 65535], "u2"),
    "DT_HALF": ("half_val", [14336, 31744], "f2"),
    "DT_UINT32": ("uint32_val", [0, 2**32 - 1], "u4"),
    "DT_UINT64": ("uint64_val", [0, 2**64 - 1], "u8"),
}


def tensor(kind: str, values: Any, shape: list[int] | None = None, *, field: str = "") -> Any:
    sizes = [len(values)] if shape is None else shape
    return MESSAGES["TensorProto"](
        dtype=NUMBERS[kind],
        tensor_shape={"dim": [{"size": size} for size in sizes]},
        **{field or FIELDS[kind][0]: values},
    )


@pytest.fixture
def echo(loopback: Any, description: Any) -> Any:
    signature = Signature()
    return loopback(
        factory=TensorflowGrpcCodec, model=lambda payload: payload.array, description=description(signature=signature)
    )


@pytest.fixture
def table(loopback: Any) -> Any:
    return loopback(factory=TensorflowGrpcCodec, model=lambda payload: payload.values.sum(axis=1))


def predict(model: Any, inputs: dict[str, Any], **fields: Any) -> Any:
    request = MESSAGES["PredictRequest"](inputs=inputs, **{"model_spec": {"name": "churn"}, **fields})
    reply = model.ask("POST", f"{PREDICTION}Predict", request.SerializeToString())
    headers = dict(reply.headers)
    if STATUS in headers:
        return int(headers[STATUS]), headers[MESSAGE].decode()
    return MESSAGES["PredictResponse"].FromString(reply.body)


@pytest.mark.parametrize("kind", FIELDS)
def test_every_type_comes_back_in_its_field(echo: Any, kind: str) -> None:
    field, values, _ = FIELDS[kind]
    answer = predict(echo, {"x": tensor(kind, values, [2, 1])})
    came = answer.outputs["output-0"]
    assert came.dtype == NUMBERS[kind]
    assert [dim.size for dim in came.tensor_shape.dim] == [2, 1]
    assert list(getattr(came, field)) == values
    assert (answer.model_spec.name, answer.model_spec.version.value) == ("churn", 4)
    assert answer.model_spec.signature_name == "serving_default"


@pytest.mark.parametrize("kind", [kind for kind in FIELDS if kind != "DT_STRING"])
def test_every_type_is_read_from_content(kind: str) -> None:
    field, values, dtype = FIELDS[kind]
    array = np.array(values, "u2").view("f2") if kind == "DT_HALF" else np.array(values, dtype)
    found = to_array(tensor(kind, array.tobytes(), [2], field="tensor_content"), "x")
    assert found.dtype == array.dtype
    assert found.tolist() == array.tolist()
    assert to_array(tensor(kind, values), "x").tolist() == array.tolist(), field


def test_bfloat16_is_widened() -> None:
    bits = [0x3FC0, 0xC000]  # 1.5 and -2
    for found in (
        to_array(tensor("DT_BFLOAT16", bits, field="half_val"), "x"),
        to_array(tensor("DT_BFLOAT16", np.array(bits, "<u2").tobytes(), [2], field="tensor_content"), "x"),
    ):
        assert (found.dtype, found.tolist()) == (np.float32, [1.5, -2.0])


def test_the_last_value_stands_for_those_that_follow() -> None:
    assert to_array(tensor("DT_FLOAT", [1.0, 2.0], [2, 2]), "x").tolist() == [[1.0, 2.0], [2.0, 2.0]]


def test_a_table_by_columns_and_chosen_outputs(table: Any) -> None:
    inputs = {"age": tensor("DT_DOUBLE", [1.0]), "income": tensor("DT_FLOAT", [2.0], [1, 1])}
    assert list(predict(table, inputs).outputs["output-0"].double_val) == [3.0]
    assert list(predict(table, inputs, output_filter=["output-0"]).outputs) == ["output-0"]
    assert predict(table, inputs, output_filter=["score"]) == (3, "unknown output 'score'; the model gives 'output-0'")


@pytest.mark.parametrize(
    "spec", [{}, {"version": {"value": 4}}, {"version_label": "churn-v4"}, {"signature_name": "serving_default"}]
)
def test_versions_labels_and_the_signature(table: Any, spec: dict[str, Any]) -> None:
    inputs = {"age": tensor("DT_DOUBLE", [1.0]), "income": tensor("DT_DOUBLE", [2.0])}
    assert not isinstance(predict(table, inputs, model_spec=spec), tuple)


@pytest.mark.parametrize(
    ("inputs", "spec", "status", "words"),
    [
        ({}, {}, 3, "no inputs"),
        ({"age": tensor("DT_DOUBLE", [1.0])}, {}, 3, "'income' is missing"),
        ({"age": tensor("DT_DOUBLE", [1.0, 2.0], [1])}, {}, 3, "has 2 elements"),
        ({"age": tensor("DT_DOUBLE", [], [1])}, {}, 3, "has 0 elements"),
        ({"age": tensor("DT_DOUBLE", [1.0], [MAX_REPEATED + 1])}, {}, 3, "has 1 elements"),
        ({"age": tensor("DT_DOUBLE", [1.0], [0])}, {}, 3, "sizes of at least 1"),
        ({"age": tensor("DT_INT8", [200])}, {}, 3, "do not fit DT_INT8"),
        ({"age": tensor("DT_DOUBLE", b"1234", [1], field="tensor_content")}, {}, 3, "has 4 bytes"),
        ({"age": tensor("DT_STRING", b"1234", [1], field="tensor_content")}, {}, 3, "travels in string_val"),
        ({"age": MESSAGES["TensorProto"](dtype=8)}, {}, 3, "data type 8"),
        ({"age": MESSAGES["TensorProto"](dtype=1, tensor_shape={"unknown_rank": True})}, {}, 3, "must have a shape"),
        ({}, {"version": {"value": 9}}, 5, "Servable not found"),
        ({}, {"version_label": "stable"}, 5, "'stable'"),
        ({}, {"signature_name": "other"}, 3, "'other' is not known"),
    ],
)
def test_bad_input_is_refused(table: Any, inputs: Any, spec: Any, status: int, words: str) -> None:
    found = predict(table, inputs, model_spec=spec)
    assert found[0] == status
    assert words in found[1]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(body=st.binary(max_size=200))
def test_any_bytes_are_answered_or_refused_and_nothing_else(loopback: Any, body: bytes) -> None:
    table = loopback(factory=TensorflowGrpcCodec, model=lambda payload: payload.values.sum(axis=1))
    for path in (f"{PREDICTION}Predict", f"{PREDICTION}GetModelMetadata", f"{MODEL}GetModelStatus"):
        assert int(dict(table.ask("POST", path, body).headers).get(STATUS, 0)) in {0, 3, 5}


def test_metadata_and_status(table: Any) -> None:
    request = MESSAGES["GetModelMetadataRequest"](model_spec={"name": "x"}, metadata_field=["signature_def"])
    reply = table.ask("POST", f"{PREDICTION}GetModelMetadata", request.SerializeToString())
    known = MESSAGES["GetModelMetadataResponse"].FromString(reply.body).metadata["signature_def"]
    assert known.type_url.endswith("/tensorflow.serving.SignatureDefMap")
    signature = MESSAGES["SignatureDefMap"].FromString(known.value).signature_def["serving_default"]
    assert {name: info.dtype for name, info in signature.inputs.items()} == {"age": 2, "income": 2}
    wrong = table.ask("POST", f"{PREDICTION}GetModelMetadata", b"")
    assert b"must be 'signature_def', not nothing" in dict(wrong.headers)[MESSAGE]
    for is_ready, state in ((True, 30), (False, 20)):
        table.is_ready = is_ready
        reply = table.ask("POST", f"{MODEL}GetModelStatus")
        (status,) = MESSAGES["GetModelStatusResponse"].FromString(reply.body).model_version_status
        assert (status.version, status.state) == (4, state)
