"""gRPC through the gateway: the same split, stickiness, override and fallback as REST, by clients that others wrote."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from mlflow_deploy_plugin import manifests
from mlflow_deploy_plugin.manifests.split import assign
from mlflow_deploy_plugin.serving.codecs.oip_messages import MESSAGES

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

LOAD = Path(__file__).with_name("grpc_load.py")
INFER = "/inference.GRPCInferenceService/ModelInfer"
TRITON = "tritonclient[grpc]==2.69.0"
TENSORFLOW = "tensorflow-cpu>=2.19"
SERVING = "tensorflow-serving-api>=2.19"

Refused = tuple[str, str]


@pytest.fixture(scope="session")
def triton(foreign_python: Callable[..., str]) -> str:
    return foreign_python(TRITON)


@pytest.fixture(scope="module")
def machine(real_machine: Any, serving: Any) -> Any:
    """The endpoint ``churn``: a model that says 1, and a canary of 300 that says 2."""
    real_machine.join(serving("churn-v2", 1), weight=300)
    return real_machine


@pytest.fixture(scope="module")
def channel(machine: Any) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(f"127.0.0.1:{machine.port}") as opened:
        yield opened


@contextmanager
def load(machine: Any, python: str) -> Iterator[dict[str, Any]]:
    """Calls without a pause; afterwards the dictionary says what came back."""
    stop, told = machine.tmp / f"stop-{time.monotonic_ns()}", {}
    command = [python, str(LOAD), str(machine.port), "8", str(stop)]
    generator = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        time.sleep(1.5)  # the client's own start
        yield told
        time.sleep(0.3)
    finally:
        stop.touch()
        out, _ = generator.communicate(timeout=60)
    told.update(json.loads(out))


def infer(channel: grpc.Channel, *values: float, **metadata: str) -> tuple[float, dict[str, str]] | Refused:
    """The first prediction and the answer's metadata, or status and message."""
    tensor = {"name": "x", "datatype": "FP64", "shape": [len(values)], "contents": {"fp64_contents": values}}
    body = MESSAGES["ModelInferRequest"](inputs=[tensor]).SerializeToString()
    named = [(name.replace("_", "-"), text) for name, text in metadata.items()]
    call = channel.unary_unary(INFER)
    try:
        answer, told = call.with_call(body, metadata=named, timeout=30)
    except grpc.RpcError as error:
        return error.code().name, error.details()
    first = MESSAGES["ModelInferResponse"].FromString(answer).outputs[0].contents.fp64_contents[0]
    return first, dict(told.initial_metadata())


def test_a_user_keeps_the_deployment_that_rest_gives_and_python_predicts(machine: Any, channel: grpc.Channel) -> None:
    route = manifests.parse_stage(machine.repository.files(machine.said.applied), "production").endpoints["churn"].route
    users = [f"user-{number}" for number in range(60)]
    predicted = [assign(user, route) for user in users]
    told = [infer(channel, 1.0, x_endpoint="churn", x_user_id=user)[1] for user in users]
    assert [one["x-model-assigned"] for one in told] == predicted
    assert [one["x-model-version"] for one in told] == predicted
    assert [machine.ask(user=user).headers["x-model-assigned"] for user in users[:10]] == predicted[:10]
    assert len(set(predicted)) == 2


def test_the_override_and_what_is_not_there(channel: grpc.Channel) -> None:
    assert infer(channel, 1.0, x_endpoint="churn", x_model_version="churn-v2")[0] == 2.0
    assert infer(channel, 1.0, x_endpoint="churn", x_model_version="churn")[0] == 1.0
    status, words = infer(channel, 1.0, x_endpoint="churn", x_model_version="churn-v9")
    assert (status, "names no deployment of endpoint 'churn'" in words) == ("NOT_FOUND", True)
    for metadata in ({}, {"x_endpoint": "other"}):
        status, words = infer(channel, 1.0, **metadata)
        assert (status, "names no endpoint" in words) == ("NOT_FOUND", True)


def test_health_and_server_calls_need_no_metadata(channel: grpc.Channel) -> None:
    asked = {"/grpc.health.v1.Health/Check": b"\x08\x01"} | {
        f"/inference.GRPCInferenceService/{method}": b"\x08\x01" for method in ("ServerLive", "ServerReady")
    }
    for metadata in ([], [("x-endpoint", "churn")]):
        told = {path: channel.unary_unary(path)(b"", metadata=metadata, timeout=30) for path in asked}
        assert told == asked
    with pytest.raises(grpc.RpcError) as refused:
        channel.unary_unary("/grpc.health.v1.Health/Check")(b"", metadata=[("x-endpoint", "other")], timeout=30)
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND


def test_the_host_name_of_an_endpoint_needs_no_metadata(machine: Any) -> None:
    options = [("grpc.default_authority", f"churn.localhost:{machine.port}")]
    with grpc.insecure_channel(f"127.0.0.1:{machine.port}", options=options) as own:
        assert infer(own, 1.0, x_model_version="churn-v2")[0] == 2.0


def test_errors_of_the_model_server_reach_the_client_and_every_attempt_the_log(
    machine: Any, channel: grpc.Channel
) -> None:
    import pyarrow.dataset as ds  # noqa: PLC0415

    status, words = infer(channel, x_endpoint="churn", x_user_id="mistaken")
    assert status == "INVALID_ARGUMENT"
    assert "sizes of at least 1" in words
    assert infer(channel, 5.0, x_endpoint="churn", x_user_id="right")[0] in {1.0, 2.0}

    def rows(table: str, user: str) -> list[Any]:
        files = [str(file) for file in (machine.home.events / table).rglob("[!.]*.parquet")]
        wanted = ds.field("user_id") == user
        return ds.dataset(files, partitioning="hive").to_table(filter=wanted).to_pylist() if files else []

    machine.until(lambda: all(rows("attempts", user) for user in ("mistaken", "right")))
    assert [row["status"] for row in rows("attempts", "mistaken")] == [400]
    (attempt,) = rows("attempts", "right")
    assert attempt["status"] == 200
    machine.until(lambda: bool(rows("predictions", "right")))
    (prediction,) = rows("predictions", "right")
    assert prediction["request_id"] == attempt["request_id"]
    assert prediction["protocol"] == "oip-grpc"


TRITON_CLIENT = """
import json, sys
import numpy as np
from tritonclient.grpc import InferenceServerClient, InferInput, InferRequestedOutput
from tritonclient.utils import InferenceServerException
metadata = {"x-endpoint": "churn", "x-model-version": "churn-v2"}
with InferenceServerClient(sys.argv[1]) as client:
    one = InferInput("x", [2, 1], "FP64")
    one.set_data_from_numpy(np.array([[1.0], [2.0]]))
    found = client.infer("churn", [one], outputs=[InferRequestedOutput("output-0")], request_id="7", headers=metadata)
    try:
        client.unload_model("churn", headers=metadata)
    except InferenceServerException as error:
        refused = error.status()
    print(json.dumps({
        "live": client.is_server_live(headers=metadata), "ready": client.is_server_ready(headers=metadata),
        "model": client.is_model_ready("churn", headers=metadata),
        "other": client.is_model_ready("churn", "9", headers=metadata),
        "server": client.get_server_metadata(headers=metadata).name,
        "inputs": [(t.name, t.datatype) for t in client.get_model_metadata("churn", headers=metadata).inputs],
        "id": found.get_response().id, "answer": found.as_numpy("output-0").tolist(), "refused": refused,
        "counted": client.get_inference_statistics("churn", headers=metadata).model_stats[0].name,
    }))
"""


def speak(python: str, script: str, port: int) -> Any:
    done = subprocess.run(
        [python, "-c", script, f"127.0.0.1:{port}"], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_tritonclient(machine: Any, triton: str) -> None:
    assert speak(triton, TRITON_CLIENT, machine.port) == {
        "live": True,
        "ready": True,
        "model": True,
        "other": False,
        "server": "modelserve",
        "inputs": [["x", "FP64"]],
        "id": "7",
        "answer": [2.0, 2.0],
        "refused": "StatusCode.UNIMPLEMENTED",
        "counted": "churn",
    }


TENSORFLOW_CLIENT = """
import json, os, sys
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import grpc
import tensorflow as tf
from tensorflow_serving.apis import (
    classification_pb2, get_model_metadata_pb2, get_model_status_pb2, model_service_pb2_grpc, predict_pb2,
    prediction_service_pb2_grpc,
)
metadata = (("x-endpoint", "churn"), ("x-model-version", "churn-v2"))
with grpc.insecure_channel(sys.argv[1]) as channel:
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    asked = predict_pb2.PredictRequest()
    asked.model_spec.name = "churn"
    for value in ([[1.0], [2.0]], tf.constant([1.0, 2.0], dtype=tf.float32)):
        asked.inputs["x"].CopyFrom(tf.make_tensor_proto(value, dtype=None if tf.is_tensor(value) else tf.float64))
        answer = stub.Predict(asked, timeout=30, metadata=metadata)
    about = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    about.model_spec.name = "churn"
    said = stub.GetModelMetadata(about, timeout=30, metadata=metadata).metadata["signature_def"]
    signature = get_model_metadata_pb2.SignatureDefMap()
    said.Unpack(signature)
    status = model_service_pb2_grpc.ModelServiceStub(channel).GetModelStatus(
        get_model_status_pb2.GetModelStatusRequest(model_spec=asked.model_spec), timeout=30, metadata=metadata
    )
    refused = []
    asked.inputs["x"].CopyFrom(tf.make_tensor_proto(["text"]))
    for method, message in (
        (stub.Predict, asked), (stub.Classify, classification_pb2.ClassificationRequest(model_spec=asked.model_spec))
    ):
        try:
            method(message, timeout=30, metadata=metadata)
        except grpc.RpcError as error:
            refused.append(error.code().name)
print(json.dumps({
    "answer": tf.make_ndarray(answer.outputs["output-0"]).tolist(),
    "state": get_model_status_pb2.ModelVersionStatus.State.Name(status.model_version_status[0].state),
    "inputs": [[name, tf.dtypes.as_dtype(info.dtype).name]
               for name, info in signature.signature_def["serving_default"].inputs.items()],
    "refused": refused,
}))
"""


@pytest.mark.timeout(600)
def test_the_stubs_of_tensorflow_serving(machine: Any, foreign_python: Callable[..., str]) -> None:
    python = foreign_python(TENSORFLOW, bare=(SERVING,))
    assert speak(python, TENSORFLOW_CLIENT, machine.port) == {
        "answer": [2.0, 2.0],
        "state": "AVAILABLE",
        "inputs": [["x", "float64"]],
        "refused": ["INVALID_ARGUMENT", "UNIMPLEMENTED"],
    }


def test_a_canary_that_dies_costs_its_callers_nothing(machine: Any, triton: str) -> None:
    with load(machine, triton) as told:
        (victim,) = machine.pids("churn-v2")
        os.kill(victim, signal.SIGKILL)
        machine.until(lambda: ready(machine, "churn-v2") == 1 and machine.pids("churn-v2") != [victim])
    assert told["answers"].keys() == {"OK"}, told
    assert told["values"].keys() == {"1.0", "2.0"}


def test_a_model_is_replaced_without_a_failed_call(machine: Any, serving: Any, triton: str) -> None:
    with load(machine, triton) as told:
        before = machine.pids("churn")
        machine.apply(lambda files: manifests.replace_deployment(files, serving("churn", 1, workers=2)))
        machine.apply(lambda files: manifests.set_split(files, "production", "churn", {"churn": 1000, "churn-v2": 0}))
        machine.apply(lambda files: manifests.remove_deployment(files, "production", "churn-v2"))
        machine.until(lambda: len(machine.pids("churn")) == 2 and not set(before) & set(machine.pids("churn")))
    assert told["answers"].keys() == {"OK"}, told
    assert told["answers"]["OK"] > 50
    assert told["values"].keys() == {"1.0", "2.0"}


def ready(machine: Any, deployment: str) -> int:
    return sum(worker.state == "ready" for worker in machine.said.deployments[deployment].workers)
