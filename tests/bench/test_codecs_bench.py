"""One row of 30 numbers through each protocol: what decoding and encoding cost."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import orjson
import pytest

from mlflow_deploy_plugin.serving.codecs.base import Call, Codec, Factory, Host, ModelDescription
from mlflow_deploy_plugin.serving.codecs.mlflow import MlflowCodec
from mlflow_deploy_plugin.serving.codecs.oip import OipCodec
from mlflow_deploy_plugin.serving.codecs.rest import RestCodec
from mlflow_deploy_plugin.serving.codecs.tensorflow import TensorflowCodec
from mlflow_deploy_plugin.serving.codecs.torchserve import TorchserveCodec
from mlflow_deploy_plugin.serving.payloads import row_count
from mlflow_deploy_plugin.serving.request import Caller, Request, Response
from mlflow_deploy_plugin.serving.router import InferMatch, Router

Measure = Callable[[Callable[[], Any]], Any]

ROW = np.random.default_rng(1).normal(size=30)
NAMES = [f"x{index}" for index in range(30)]
BY_NAME = dict(zip(NAMES, ROW, strict=True))
TENSOR = {"name": "input", "shape": [1, 30], "datatype": "FP64"}
HEAD = orjson.dumps({"inputs": [{**TENSOR, "parameters": {"binary_data_size": ROW.nbytes}}]})


@dataclass(frozen=True, kw_only=True)
class Case:
    """One protocol's request."""

    factory: Factory
    path: str
    body: bytes
    headers: Mapping[bytes, bytes] = field(default_factory=lambda: {b"content-type": b"application/json"})

    def open(self, description: ModelDescription) -> tuple[Codec, Call]:
        codec = self.factory(Host(model=description, is_ready=lambda: True))
        match = Router([codec]).match("POST", self.path)
        assert isinstance(match, InferMatch)
        return codec, Call("POST", match.route, match.captures, self.headers, b"", self.body, Caller(request_id="r"))


def document(value: Any) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY)


CASES = {
    "mlflow": Case(
        factory=MlflowCodec,
        path="/invocations",
        body=document({"dataframe_split": {"columns": NAMES, "data": [ROW]}}),
    ),
    "rest": Case(factory=RestCodec, path="/predict", body=document({"features": ROW})),
    "oip": Case(factory=OipCodec, path="/v2/models/churn/infer", body=document({"inputs": [{**TENSOR, "data": ROW}]})),
    "oip-binary": Case(
        factory=OipCodec,
        path="/v2/models/churn/infer",
        body=HEAD + ROW.tobytes(),
        headers={b"inference-header-content-length": str(len(HEAD)).encode()},
    ),
    "tensorflow": Case(
        factory=TensorflowCodec, path="/v1/models/churn:predict", body=document({"instances": [BY_NAME]})
    ),
    "torchserve": Case(factory=TorchserveCodec, path="/predictions/churn", body=document(BY_NAME)),
}


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    return CASES[request.param]


def test_decode(measure: Measure, case: Case, description: ModelDescription) -> None:
    codec, call = case.open(description)
    request: Request = measure(lambda: codec.decode(call))
    assert row_count(request.payload) == 1


def test_encode(measure: Measure, case: Case, description: ModelDescription) -> None:
    codec, call = case.open(description)
    request = codec.decode(call)
    response = Response(prediction=np.array([1]))
    reply = measure(lambda: codec.encode(response, request, call))
    assert reply.status == 200
    assert b"1" in reply.body
