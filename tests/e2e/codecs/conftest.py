"""Real models behind the real launcher, and the Python of an environment that has the foreign clients."""

import contextlib
import importlib.util
import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mlflow_deploy_plugin.spec.bento import MODEL_FOLDER, SPEC_FILE, BentoSpec

CLIENTS = "MODELSERVE_CLIENTS_PYTHON"
"""Environment variable: a Python that has the foreign clients, which want versions of their own."""


@dataclass(frozen=True)
class Server:
    """A running Bento process."""

    address: str
    events: Path
    log: Path

    @property
    def grpc(self) -> str:
        """Address of gRPC; the launcher chose the port."""
        found = re.search(r"listening for gRPC on (\S+)", self.log.read_text())
        assert found, self.log.read_text()
        return found[1]

    def get(self, path: str) -> tuple[int, Any]:
        return self._send(urllib.request.Request(f"http://{self.address}{path}"))

    def post(self, path: str, document: Any) -> tuple[int, Any]:
        body = json.dumps(document).encode()
        headers = {"content-type": "application/json"}
        return self._send(urllib.request.Request(f"http://{self.address}{path}", data=body, headers=headers))

    def _send(self, request: urllib.request.Request) -> tuple[int, Any]:
        try:
            with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310  our own server
                return response.status, json.loads(response.read())
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.loads(error.read())


def write_spec(source: Path, flavor: str) -> None:
    spec = BentoSpec(
        model_uri="models:/churn/4",
        model_name="churn",
        model_version="4",
        model_digest="sha256:0",
        serving_digest="sha256:0",
        environment_digest="sha256:0",
        flavor=flavor,
    )
    (source / SPEC_FILE).write_text(spec.to_json())


@contextlib.contextmanager
def served(folder: Path, flavor: str, script: str) -> Iterator[Server]:
    source = folder / "src"
    source.mkdir(parents=True)
    subprocess.run([sys.executable, "-c", script, source / MODEL_FOLDER], check=True, timeout=120, cwd=folder)
    write_spec(source, flavor)
    events, log = folder / "events", folder / "server.log"
    environment = os.environ | {
        "MODELSERVE_ENDPOINT": "churn",
        "MODELSERVE_DEPLOYMENT": "churn-v4",
        "MODELSERVE_STAGE": "production",
        "MODELSERVE_EVENTS_DIR": str(events),
        "MODELSERVE_LOG_FLUSH_S": "0.1",
        "MODELSERVE_GRPC_ADDRESS": "127.0.0.1:0",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "HOME": str(folder),
    }
    with socket.socket() as listener, log.open("wb") as output:
        listener.bind(("127.0.0.1", 0))
        server = Server(address=f"127.0.0.1:{listener.getsockname()[1]}", events=events, log=log)
        options = ["--bento", str(source), "--fd", str(listener.fileno())]
        process = subprocess.Popen(
            [sys.executable, "-m", "mlflow_deploy_plugin.serving.launch", *options],
            env=environment,
            stderr=output,
            pass_fds=[listener.fileno()],
        )
    try:
        wait_ready(process, server, log)
        yield server
    finally:
        process.terminate()
        process.wait(30)


def wait_ready(process: subprocess.Popen[bytes], server: Server, log: Path) -> None:
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError):
            if server.get("/v2/health/ready")[0] == 200:
                return
        time.sleep(0.1)
    pytest.fail(f"the server did not become ready:\n{log.read_text()}")


# Models are saved by a process of their own: MLflow warns while it is imported, and warnings are errors here.
SAVE_TABLE = """
import sys
import mlflow.sklearn
import pandas as pd
from mlflow.models import infer_signature
from sklearn.linear_model import LogisticRegression

frame = pd.DataFrame({"age": [20.0, 30.0, 60.0, 70.0], "income": [1.0, 2.0, 5.0, 6.0]})
model = LogisticRegression().fit(frame, [0, 0, 1, 1])
signature = infer_signature(frame, model.predict(frame))
mlflow.sklearn.save_model(model, sys.argv[1], signature=signature, serialization_format="cloudpickle")
"""

ECHO = """
import mlflow
class Echo(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        return model_input
mlflow.models.set_model(Echo())
"""

SAVE_ECHO = f"""
import pathlib, sys
import mlflow.pyfunc
script = pathlib.Path("echo.py")
script.write_text({ECHO!r})
mlflow.pyfunc.save_model(sys.argv[1], python_model=str(script))
"""


@pytest.fixture(scope="session")
def table_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A scikit-learn classifier of two named columns."""
    with served(tmp_path_factory.mktemp("table"), "sklearn", SAVE_TABLE) as server:
        yield server


@pytest.fixture(scope="session")
def echo_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A custom model without a signature that returns what it was given."""
    with served(tmp_path_factory.mktemp("echo"), "python_function", SAVE_ECHO) as server:
        yield server


SAVE_SHELTER = """
import sys
import mlflow.pyfunc
import numpy as np
from mlflow.models import ModelSignature
from mlflow.types import Schema, TensorSpec

class Shelter(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        photos = model_input["photo"]
        return {
            "id": model_input["id"],
            "animal": np.array(["cat" if tame else "dög" for tame in model_input["tame"]]),
            "light": photos.reshape(len(photos), -1).mean(axis=1).astype("float32"),
            "weight": model_input["weight"] * np.float16(2),
            "wild": ~model_input["tame"],
            "negative": 255 - photos,
            "name": model_input["name"],
        }

def schema(**tensors):
    return Schema([TensorSpec(np.dtype(kind), shape, name) for name, (kind, shape) in tensors.items()])

photo, words, numbers = ("uint8", (-1, 2, 2, 3)), ("str", (-1,)), ("int64", (-1,))
signature = ModelSignature(
    inputs=schema(photo=photo, name=words, weight=("float16", (-1, 2)), tame=("bool", (-1,)), id=numbers),
    outputs=schema(id=numbers, animal=words, light=("float32", (-1,)), weight=("float16", (-1, 2)),
                   wild=("bool", (-1,)), negative=photo, name=words),
)
mlflow.pyfunc.save_model(sys.argv[1], python_model=Shelter(), signature=signature, pip_requirements=["mlflow"])
"""


@pytest.fixture(scope="session")
def shelter_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A model of five named tensors of five types, which answers seven."""
    with served(tmp_path_factory.mktemp("shelter"), "python_function", SAVE_SHELTER) as server:
        yield server


@pytest.fixture(scope="session")
def clients() -> str:
    """A Python that can import tritonclient."""
    if importlib.util.find_spec("tritonclient") is not None:
        return sys.executable
    if CLIENTS in os.environ:
        return os.environ[CLIENTS]
    pytest.skip(f"tritonclient is not installed; {CLIENTS}=/path/to/a/python that has tritonclient[http] runs this")


@pytest.fixture
def run_client(clients: str) -> Callable[..., Any]:
    """Runs a script in the clients' environment; its last line is JSON."""

    def run(script: str, *addresses: str, python: str = clients) -> Any:
        done = subprocess.run(
            [python, "-c", script, *addresses], capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    return run
