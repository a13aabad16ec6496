"""A device without room is the server's state in every protocol, whatever exception told of it."""

import json
from typing import Any

import pytest

from mlflow_deploy_plugin.serving.codecs import oip_messages, tensorflow_messages
from mlflow_deploy_plugin.serving.codecs.grpc_status import MESSAGE, PUSHBACK, STATUS
from mlflow_deploy_plugin.serving.codecs.mlflow import MlflowCodec
from mlflow_deploy_plugin.serving.codecs.oip import OipCodec
from mlflow_deploy_plugin.serving.codecs.oip_grpc import SERVICE, OipGrpcCodec
from mlflow_deploy_plugin.serving.codecs.rest import RestCodec
from mlflow_deploy_plugin.serving.codecs.tensorflow import TensorflowCodec
from mlflow_deploy_plugin.serving.codecs.tensorflow_grpc import PREDICTION, TensorflowGrpcCodec
from mlflow_deploy_plugin.serving.codecs.torchserve import TorchserveCodec
from mlflow_deploy_plugin.serving.faults import Fault, RequestError

ROW = {"age": 1.0, "income": 2.0}
OIP = {"inputs": [{"name": name, "datatype": "FP64", "shape": [1, 1], "data": [value]} for name, value in ROW.items()]}


def no_room(_: Any) -> None:
    error = RequestError(Fault.UNAVAILABLE, "no room on cuda:0", retry_after_s=1.0)
    raise error from MemoryError("out of memory")


@pytest.mark.parametrize(
    ("codec", "path", "body"),
    [
        (MlflowCodec, "/invocations", {"dataframe_records": [ROW]}),
        (RestCodec, "/endpoints/churn/predict", {"features": ROW}),
        (OipCodec, "/v2/models/churn/infer", OIP),
        (TensorflowCodec, "/v1/models/churn:predict", {"instances": [ROW]}),
        (TorchserveCodec, "/predictions/churn", ROW),
    ],
)
def test_no_room_is_503_with_the_time_to_come_back(loopback: Any, codec: Any, path: str, body: Any) -> None:
    reply = loopback(factory=codec, model=no_room).ask(
        "POST", path, json.dumps(body).encode(), {"content-type": "application/json"}
    )
    assert reply.status == 503, reply.body
    assert (b"retry-after", b"1") in [(name.lower(), value) for name, value in reply.headers]
    assert b"no room on cuda:0" in reply.body


def oip_message() -> Any:
    inputs = [
        {"name": name, "datatype": "FP64", "shape": [1], "contents": {"fp64_contents": [value]}}
        for name, value in ROW.items()
    ]
    return oip_messages.MESSAGES["ModelInferRequest"](model_name="churn", inputs=inputs)


def tensorflow_message() -> Any:
    double = tensorflow_messages.NUMBERS["DT_DOUBLE"]
    inputs = {
        name: {"dtype": double, "tensor_shape": {"dim": [{"size": 1}]}, "double_val": [value]}
        for name, value in ROW.items()
    }
    return tensorflow_messages.MESSAGES["PredictRequest"](model_spec={"name": "churn"}, inputs=inputs)


@pytest.mark.parametrize(
    ("codec", "path", "message"),
    [
        (OipGrpcCodec, f"{SERVICE}ModelInfer", oip_message),
        (TensorflowGrpcCodec, f"{PREDICTION}Predict", tensorflow_message),
    ],
)
def test_no_room_is_unavailable_over_grpc(loopback: Any, codec: Any, path: str, message: Any) -> None:
    reply = loopback(factory=codec, model=no_room).ask("POST", path, message().SerializeToString())
    headers = dict(reply.headers)
    assert (reply.status, headers[STATUS]) == (503, b"14"), headers
    assert b"no room on cuda:0" in headers[MESSAGE]
    assert headers[PUSHBACK] == b"1000"
