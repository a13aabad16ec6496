"""The Open Inference Protocol over gRPC, as bytes: what goes in raw or typed comes out so, and bad input is refused."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlflow_deploy_plugin.serving.codecs import oip_tensors
from mlflow_deploy_plugin.serving.codecs.base import Reply, Totals
from mlflow_deploy_plugin.serving.codecs.grpc_status import MESSAGE, STATUS
from mlflow_deploy_plugin.serving.codecs.oip_grpc import SERVICE, OipGrpcCodec
from mlflow_deploy_plugin.serving.codecs.oip_messages import MESSAGES
from mlflow_deploy_plugin.serving.request import Tensor
from mlflow_deploy_plugin.serving.signature import Signature, TensorSpec

Ask = Callable[..., Any]

NAN = float("nan")
ARRAYS = {
    "BOOL": np.array([[True, False]]),
    **{f"UINT{bits}": np.array([0, 2**bits - 1], dtype=f"u{bits // 8}") for bits in (8, 16, 32, 64)},
    **{f"INT{bits}": np.array([-(2 ** (bits - 1)), 1], dtype=f"i{bits // 8}") for bits in (8, 16, 32, 64)},
    "FP16": np.array([0.5, NAN], dtype="f2"),
    "FP32": np.array([0.1, NAN], dtype="f4"),
    "FP64": np.array([0.1, -np.inf]),
    "BYTES": np.array(["ö", "", "x\0"], dtype=object),
}
FIELDS = {
    "BOOL": "bool", "UINT8": "uint", "UINT16": "uint", "UINT32": "uint", "UINT64": "uint64", "INT8": "int",
    "INT16": "int", "INT32": "int", "INT64": "int64", "FP32": "fp32", "FP64": "fp64", "BYTES": "bytes",
}  # fmt: skip


@pytest.fixture
def echo(loopback: Any, description: Any) -> Any:
    """A model without a signature that gives back its input."""
    return loopback(
        factory=OipGrpcCodec, model=lambda payload: payload.array, description=description(signature=Signature())
    )


@pytest.fixture
def table(loopback: Any) -> Any:
    return loopback(factory=OipGrpcCodec, model=lambda payload: payload.values.sum(axis=1))


def typed(name: str, datatype: str, values: list[Any], shape: list[int] | None = None) -> dict[str, Any]:
    contents = {f"{FIELDS[datatype]}_contents": values}
    return {"name": name, "datatype": datatype, "shape": shape or [len(values)], "contents": contents}


def infer(model: Any, **fields: Any) -> Any:
    request = MESSAGES["ModelInferRequest"](**{"model_name": "churn", **fields}).SerializeToString()
    reply = model.ask("POST", f"{SERVICE}ModelInfer", request)
    return refusal(reply) or MESSAGES["ModelInferResponse"].FromString(reply.body)


def refusal(reply: Reply) -> tuple[int, str] | None:
    headers = dict(reply.headers)
    return (int(headers[STATUS]), headers[MESSAGE].decode()) if STATUS in headers else None


@pytest.mark.parametrize("datatype", ARRAYS)
def test_every_datatype_comes_back_raw_as_it_went_raw(echo: Any, datatype: str) -> None:
    array = ARRAYS[datatype]
    raw = oip_tensors.to_bytes(array)
    tensor = {"name": "x", "datatype": datatype, "shape": array.shape}
    answer = infer(echo, inputs=[tensor], raw_input_contents=[raw], id="7")
    assert (answer.id, answer.model_name, answer.model_version) == ("7", "churn", "4")
    assert [(one.datatype, list(one.shape)) for one in answer.outputs] == [(datatype, list(array.shape))]
    assert list(answer.raw_output_contents) == [raw]


@pytest.mark.parametrize("datatype", FIELDS)
def test_every_typed_datatype_comes_back_typed(echo: Any, datatype: str) -> None:
    values = (
        oip_tensors.to_bytes_list(ARRAYS[datatype]) if datatype == "BYTES" else ARRAYS[datatype].reshape(-1).tolist()
    )
    answer = infer(echo, inputs=[typed("x", datatype, values)])
    assert answer.outputs[0].datatype == datatype
    assert not answer.raw_output_contents
    came = getattr(answer.outputs[0].contents, f"{FIELDS[datatype]}_contents")
    assert repr(list(came)) == repr(values) or datatype == "FP32"
    assert np.array_equal(np.array(came, "f4"), np.array(values, "f4"), equal_nan=True) if datatype == "FP32" else True


def test_a_half_goes_raw_even_where_the_request_was_typed(loopback: Any, description: Any) -> None:
    halves = loopback(
        factory=OipGrpcCodec,
        model=lambda payload: {"half": payload.array.astype("f2"), "whole": payload.array},
        description=description(signature=Signature()),
    )
    answer = infer(halves, inputs=[typed("x", "FP32", [0.5])])
    assert [one.datatype for one in answer.outputs] == ["FP16", "FP32"]
    assert list(answer.raw_output_contents) == [np.float16(0.5).tobytes(), np.float32(0.5).tobytes()]


def test_bf16_is_widened(echo: Any) -> None:
    tensor = {"name": "x", "datatype": "BF16", "shape": [1]}
    infer(echo, inputs=[tensor], raw_input_contents=[b"\x80\x3f"])
    assert isinstance(echo.payload, Tensor)
    assert echo.payload.array.tolist() == [1.0]


def test_columns_become_the_models_table_and_outputs_are_chosen_by_name(loopback: Any, description: Any) -> None:
    probability = np.array([[0.25, 0.75]])
    model = loopback(
        factory=OipGrpcCodec,
        model=lambda payload: payload.values[:, 0],
        description=description(has_probability=True, classes=(0, 1)),
        probability=probability,
    )
    inputs = [typed("age", "FP64", [30.0]), typed("income", "INT32", [2])]
    plain = infer(model, inputs=inputs)
    assert [one.name for one in plain.outputs] == ["output-0"]
    both = infer(model, inputs=inputs, outputs=[{"name": "probability"}, {"name": "output-0"}])
    assert [list(one.contents.fp64_contents) for one in both.outputs] == [[0.25, 0.75], [30.0]]
    assert infer(model, inputs=inputs, outputs=[{"name": "score"}])[0] == 3


@pytest.mark.parametrize(
    ("fields", "status", "words"),
    [
        ({}, 3, "no inputs"),
        ({"inputs": [typed("age", "FP64", [1.0])]}, 3, "'income' is missing"),
        ({"inputs": [typed("age", "FP64", [1.0], [2])]}, 3, "has 1 elements; its shape [2] has 2"),
        ({"inputs": [typed("age", "FP64", [1.0], [-1])]}, 3, "sizes of at least 1"),
        ({"inputs": [typed("age", "INT8", [200])]}, 3, "do not fit INT8"),
        ({"inputs": [typed("age", "FP64", [1.0])] * 2}, 3, "given twice"),
        ({"inputs": [typed("age", "FP64", [1.0]) | {"datatype": "FP8"}]}, 3, "must be one of BOOL"),
        ({"inputs": [typed("age", "FP64", [1.0]) | {"datatype": "FP32"}]}, 3, "fp64_contents has elements"),
        ({"inputs": [typed("age", "FP64", [1.0]) | {"datatype": "FP16"}]}, 3, "raw_input_contents only"),
        ({"inputs": [typed("age", "FP64", [1.0])], "raw_input_contents": [b"12345678"]}, 3, "beside raw_input"),
        ({"inputs": [{"name": "age", "datatype": "FP64", "shape": [1]}], "raw_input_contents": [b"1"]}, 3, "1 bytes"),
        ({"inputs": [{"name": "age"}], "raw_input_contents": [b"", b""]}, 3, "2 entries for 1 inputs"),
        (
            {"inputs": [typed("age", "FP64", [1.0]) | {"parameters": {"shared_memory_region": {"string_param": "r"}}}]},
            3,
            "shared memory is not offered",
        ),
        ({"outputs": [{"name": "y", "parameters": {"classification": {"int64_param": 2}}}]}, 3, "classification"),
        ({"model_version": "9"}, 5, "version '9' is not served here"),
    ],
)  # fmt: skip
def test_bad_input_is_refused_in_its_own_words(table: Any, fields: dict[str, Any], status: int, words: str) -> None:
    found = infer(table, **fields)
    assert found[0] == status
    assert words in found[1]


def test_a_model_that_raises_is_internal_and_one_that_refuses_a_value_is_not(loopback: Any) -> None:
    def broken(_: object) -> None:
        raise KeyError("boom")

    def choosy(_: object) -> None:
        raise ValueError("no NaN")

    inputs = [typed("age", "FP64", [1.0]), typed("income", "FP64", [1.0])]
    assert infer(loopback(factory=OipGrpcCodec, model=broken), inputs=inputs) == (13, "'boom'")
    assert infer(loopback(factory=OipGrpcCodec, model=choosy), inputs=inputs) == (3, "no NaN")
    objects = loopback(factory=OipGrpcCodec, model=lambda _: [{1, 2}])
    assert infer(objects, inputs=inputs)[0] == 13


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(body=st.binary(max_size=200))
def test_any_bytes_are_answered_or_refused_and_nothing_else(loopback: Any, body: bytes) -> None:
    table = loopback(factory=OipGrpcCodec, model=lambda payload: payload.values.sum(axis=1))
    for method in ("ModelInfer", "ModelReady", "ModelMetadata"):
        reply = table.ask("POST", SERVICE + method, body)
        assert (refusal(reply) or (0, ""))[0] in {0, 3, 5}


def ask(model: Any, method: str, **fields: Any) -> Any:
    reply = model.ask("POST", SERVICE + method, MESSAGES[f"{method}Request"](**fields).SerializeToString())
    return refusal(reply) or MESSAGES[f"{method}Response"].FromString(reply.body)


def test_health_follows_the_worker(table: Any) -> None:
    assert ask(table, "ServerLive").live
    assert ask(table, "ServerReady").ready
    assert [ask(table, "ModelReady", name="x", version=v).ready for v in ("", "4", "churn-v4", "9")] == [True] * 3 + [
        False
    ]
    table.is_ready = False
    assert ask(table, "ServerLive").live
    assert not ask(table, "ServerReady").ready
    assert not ask(table, "ModelReady").ready


def test_metadata_is_that_of_rest(loopback: Any, description: Any) -> None:
    pixels = Signature(inputs=(TensorSpec(name="pixels", dtype="float32", shape=(-1, 4)),))
    model = loopback(factory=OipGrpcCodec, model=lambda _: None, description=description(signature=pixels))
    said = ask(model, "ModelMetadata", name="mine")
    assert (said.name, list(said.versions), said.platform) == ("mine", ["4"], "mlflow_sklearn")
    assert [(one.name, one.datatype, list(one.shape)) for one in said.inputs] == [("pixels", "FP32", [-1, 4])]
    assert ask(model, "ModelMetadata", version="9")[0] == 5
    assert ask(model, "ServerMetadata").name == "modelserve"


def test_what_triton_tells_is_that_of_rest(loopback: Any) -> None:
    model = loopback(factory=OipGrpcCodec, model=len, totals=Totals(requests=3, batches=2, compute_s=0.5, rows=9))
    (told,) = ask(model, "ModelStatistics", name="any").model_stats
    assert (told.name, told.version, told.inference_count, told.execution_count) == ("any", "4", 9, 2)
    assert (told.inference_stats.success.count, told.inference_stats.compute_infer.ns) == (3, 500_000_000)
    config = ask(model, "ModelConfig", name="churn").config
    assert [(one.name, one.data_type, list(one.dims)) for one in config.input] == [
        ("age", 12, [-1, 1]),
        ("income", 12, [-1, 1]),
    ]
    assert (config.max_batch_size, config.backend, config.output[0].data_type) == (0, "mlflow", 9)
    (entry,) = ask(model, "RepositoryIndex").models
    assert (entry.name, entry.version, entry.state) == ("churn", "4", "READY")
    for method in ("RepositoryModelLoad", "RepositoryModelUnload"):
        status, words = refusal(model.ask("POST", SERVICE + method)) or (0, "")
        assert status == 12
        assert "git decides what is served" in words
