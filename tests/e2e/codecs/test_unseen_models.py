"""A model of many types, asked by clients that others wrote, over REST and gRPC: they all hear the same."""

from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.e2e

Run = Callable[..., Any]


@pytest.fixture(scope="module")
def triton(foreign_python: Callable[..., str]) -> str:
    """A Python with both of NVIDIA's clients, which want a protobuf of their own."""
    return foreign_python("tritonclient[grpc,http]==2.69.0")


ANSWER = {
    "id": [2**53 + 1, 2**53 + 2],
    "animal": ["cat", "dög"],
    "light": [5.5, 17.5],
    "weight": [[1.0, 3.0], [-0.5, 65504.0]],
    "wild": [False, True],
    "name": ["é0", "x" * 300],
}
"""Whole numbers beyond 2⁵³, the largest half, text of many lengths."""

INPUTS = """
import json, os, sys
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import numpy as np
INPUTS = {
    "photo": np.arange(24, dtype="uint8").reshape(2, 2, 2, 3),
    "name": np.array(["é0", "x" * 300], dtype=object),
    "weight": np.array([[0.5, 1.5], [-0.25, 32752.0]], dtype="float16"),
    "tame": np.array([True, False]),
    "id": np.array([2**53 + 1, 2**53 + 2]),
}
NAMES = ("id", "animal", "light", "weight", "wild", "name")
def plain(array):
    whole = array.tolist()
    return [one.decode() if isinstance(one, bytes) else one for one in whole]
"""

TRITON = (
    INPUTS
    + """
import tritonclient.grpc, tritonclient.http
from tritonclient.utils import InferenceServerException, np_to_triton_dtype
said = {}
def tensors(kind, arrays, **how):
    made = []
    for name, array in arrays.items():
        made.append(kind.InferInput(name, list(array.shape), np_to_triton_dtype(array.dtype)))
        is_json = how.get("json") and name != "weight"  # the client itself refuses halves in JSON
        made[-1].set_data_from_numpy(array, **({"binary_data": False} if is_json else {}))
    return made
def attempt(ask):
    try:
        return ask() and "done"
    except InferenceServerException as error:
        return error.message()
for kind, address in ((tritonclient.http, sys.argv[1]), (tritonclient.grpc, sys.argv[2])):
    client = kind.InferenceServerClient(address)
    whole = client.infer("churn", tensors(kind, INPUTS), request_id="r-1")
    response = whole.get_response()
    assert (response["id"] if isinstance(response, dict) else response.id) == "r-1"
    wanted = [kind.InferRequestedOutput(name) for name in ("animal", "id")]
    some = client.infer("churn", tensors(kind, INPUTS), outputs=wanted, model_version="4")
    short = {**INPUTS, "photo": INPUTS["photo"][:, :1]}
    typed = {**INPUTS, "id": INPUTS["id"].astype("float64")}
    narrow = {**INPUTS, "id": np.array([1, 2], "int32")}
    none = {name: array[:0] for name, array in INPUTS.items()}
    said[kind.__name__] = {
        "answer": {name: plain(whole.as_numpy(name)) for name in NAMES},
        "negative": whole.as_numpy("negative").sum().item(),
        "some": [plain(some.as_numpy("animal")), plain(some.as_numpy("id")), some.as_numpy("light") is None],
        "narrow": plain(client.infer("churn", tensors(kind, narrow)).as_numpy("id")),
        "refused": [
            attempt(lambda: client.infer("churn", tensors(kind, short))),
            attempt(lambda: client.infer("churn", tensors(kind, typed))),
            attempt(lambda: client.infer("churn", tensors(kind, none))),
            attempt(lambda: client.infer("churn", tensors(kind, INPUTS)[1:])),
            attempt(lambda: client.infer("churn", tensors(kind, INPUTS), outputs=[kind.InferRequestedOutput("x")])),
            attempt(lambda: client.infer("churn", tensors(kind, INPUTS), model_version="9")),
            attempt(lambda: client.load_model("churn")),
            attempt(lambda: client.unload_model("churn")),
        ],
        "log": attempt(lambda: client.get_log_settings()),
        "memory": attempt(lambda: client.get_system_shared_memory_status()),
    }
mixed = [tritonclient.http.InferRequestedOutput(name, binary_data=at % 2 == 0) for at, name in enumerate(NAMES)]
http = tritonclient.http.InferenceServerClient(sys.argv[1])
found = http.infer("churn", tensors(tritonclient.http, INPUTS, json=True), outputs=mixed)
said["mixed"] = {name: plain(found.as_numpy(name)) for name in NAMES if name != "weight"}
print(json.dumps(said))
"""
)


def test_triton_clients_hear_the_same_over_rest_and_grpc(shelter_server: Any, run_client: Run, triton: str) -> None:
    said = run_client(TRITON, shelter_server.address, shelter_server.grpc, python=triton)
    assert said.pop("mixed") == {name: values for name, values in ANSWER.items() if name != "weight"}
    rest, grpc = said["tritonclient.http"], said["tritonclient.grpc"]
    assert rest["answer"] == grpc["answer"] == ANSWER
    for name in ("negative", "some", "narrow", "refused"):
        assert rest[name] == grpc[name], name
    assert rest["some"] == [["cat", "dög"], ANSWER["id"], True]
    assert rest["narrow"] == [1, 2]
    shape, kind, rows, missing, output, version, *control = rest["refused"]
    assert "has shape [2, 1, 2, 3]; the model takes [-1, 2, 2, 3]" in shape
    assert "is float64; the model takes int64" in kind
    assert "sizes of at least 1" in rows
    assert "input 'photo' is missing" in missing
    assert "unknown output 'x'" in output
    assert "version '9' is not served here" in version
    assert all("git decides what is served" in words for words in control)
    for words in (rest["log"], rest["memory"]):
        assert "is not offered" in words
    for words in (grpc["log"], grpc["memory"]):
        assert "does not offer the method" in words


STATISTICS = """
import json, sys
import tritonclient.grpc, tritonclient.http
http = tritonclient.http.InferenceServerClient(sys.argv[1])
grpc = tritonclient.grpc.InferenceServerClient(sys.argv[2])
print(json.dumps([
    [http.get_inference_statistics("churn"), grpc.get_inference_statistics("churn", as_json=True)],
    [http.get_model_config("churn"), grpc.get_model_config("churn", as_json=True)["config"]],
    [http.get_model_repository_index(), grpc.get_model_repository_index(as_json=True)["models"]],
    http.get_inference_statistics(),
]))
"""


def test_triton_clients_are_told_configuration_statistics_and_index(
    shelter_server: Any, run_client: Run, triton: str
) -> None:
    for _ in range(3):
        assert shelter_server.post("/v2/models/churn/infer", {"inputs": []})[0] == 400
    before = run_client(STATISTICS, shelter_server.address, shelter_server.grpc, python=triton)[3]
    row = {"photo": [[[0] * 3] * 2] * 2, "name": "a", "weight": [1, 2], "tame": True, "id": 1}
    assert shelter_server.post("/v1/models/churn:predict", {"instances": [row, row]})[0] == 200
    statistics, configuration, index, every = run_client(
        STATISTICS, shelter_server.address, shelter_server.grpc, python=triton
    )
    ((told,), (grew,)) = before["model_stats"], every["model_stats"]
    assert grew["inference_count"] == told["inference_count"] + 2
    assert grew["inference_stats"]["success"]["count"] == told["inference_stats"]["success"]["count"] + 1
    assert grew["inference_stats"]["fail"]["count"] == 0
    (over_rest,), (over_grpc,) = (told["model_stats"] for told in statistics)
    assert over_rest["inference_count"] == int(over_grpc["inference_count"]) == grew["inference_count"]
    assert over_rest["inference_stats"]["queue"]["ns"] == int(over_grpc["inference_stats"]["queue"]["ns"]) > 0
    rest, grpc = configuration
    assert [one["name"] for one in rest["input"]] == [one["name"] for one in grpc["input"]]
    assert [one["data_type"] for one in rest["output"]] == [one["data_type"] for one in grpc["output"]]
    assert index[0] == [{"name": "churn", "version": "4", "state": "READY", "reason": ""}]
    assert index[1][0]["state"] == "READY"


TENSORFLOW = (
    INPUTS
    + """
import grpc
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc
stub = prediction_service_pb2_grpc.PredictionServiceStub(grpc.insecure_channel(sys.argv[1]))
def predict(inputs, version=0, wanted=()):
    request = predict_pb2.PredictRequest(output_filter=wanted)
    request.model_spec.name = "churn"
    if version:
        request.model_spec.version.value = version
    for name, array in inputs.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(array))
    try:
        answer = stub.Predict(request, timeout=30)
    except grpc.RpcError as error:
        return [error.code().name, error.details()]
    return {name: plain(tf.make_ndarray(tensor)) for name, tensor in answer.outputs.items()}
whole = predict(INPUTS)
print(json.dumps({
    "answer": {name: whole[name] for name in NAMES},
    "some": predict(INPUTS, 4, ["id", "animal"]),
    "refused": [
        predict(INPUTS, 9),
        predict({**INPUTS, "id": INPUTS["id"].astype("float64")}),
        predict({**INPUTS, "id": INPUTS["id"].astype("complex64")}),
        predict(INPUTS, wanted=["x"]),
    ],
}))
"""
)


@pytest.mark.slow
def test_a_stub_of_tensorflow_serving_hears_the_same(
    shelter_server: Any, run_client: Run, foreign_python: Callable[..., str]
) -> None:
    python = foreign_python("tensorflow-cpu>=2.19", bare=("tensorflow-serving-api>=2.19",))
    said = run_client(TENSORFLOW, shelter_server.grpc, python=python)
    assert said["answer"] == ANSWER
    assert said["some"] == {"id": ANSWER["id"], "animal": ANSWER["animal"]}
    version, kind, number, output = said["refused"]
    assert (version[0], kind[0], number[0], output[0]) == ("NOT_FOUND", *["INVALID_ARGUMENT"] * 3)
    assert "is float64; the model takes int64" in kind[1]
    assert "data type 8; known" in number[1]
    assert "unknown output 'x'" in output[1]
