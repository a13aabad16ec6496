"""The whole way on one machine, by the commands that a user types: train, create, predict, canary, update, delete."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pandas as pd
import psutil
import pytest
from mlflow.exceptions import MlflowException

from mlflow_deploy_plugin.client import ModelserveClient

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

Run = Callable[..., subprocess.CompletedProcess[str]]

ROWS = [{"age": 40.0, "zip": "07030"}]
BODY = {"dataframe_records": ROWS}

TRAIN = """
import mlflow, pandas as pd
from mlflow.models import infer_signature

frame = pd.DataFrame({"age": [20.0, 40.0, 60.0, 80.0] * 10, "zip": ["07030", "95120"] * 20})
class Model(mlflow.pyfunc.PythonModel):
    def __init__(self, version):
        self.version = version
    def predict(self, context, model_input, params=None):
        known = model_input["zip"].isin(["07030", "95120"])
        return [self.version if ok else -1 for ok in known]

class Broken(Model):
    def load_context(self, context):
        raise ValueError("the weights are from another planet")

for model in (Model(1), Model(2), Broken(3)):
    with mlflow.start_run():
        mlflow.pyfunc.log_model(
            name="model", python_model=model, registered_model_name="churn",
            signature=infer_signature(frame, pd.Series([1])), pip_requirements=["mlflow", "pandas"],
        )
"""


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment of one home on a free port, with two versions of ``churn`` in a registry."""
    folder = tmp_path_factory.mktemp("machine")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    environment = {
        **os.environ,
        "HOME": str(folder),
        "MODELSERVE_HOME": str(folder / "home"),
        "MODELSERVE_PORT": str(port),
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db",
        "MLFLOW_ARTIFACT_URI": str(folder / "artifacts"),
        "BENTOML_DO_NOT_TRACK": "True",
        "DO_NOT_TRACK": "1",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    subprocess.run([sys.executable, "-c", TRAIN], check=True, env=environment, cwd=folder, capture_output=True)
    yield environment
    subprocess.run(["modelserve", "stop"], check=False, env=environment, capture_output=True, timeout=60)


@pytest.fixture
def run(machine: dict[str, str]) -> Run:
    """Types a command; ``modelserve`` as it is, anything else after ``mlflow deployments``."""

    def run(*words: str, status: int = 0, **environment: str) -> subprocess.CompletedProcess[str]:
        deployments = ["mlflow", "deployments", words[0], "-t", "modelserve", *words[1:]]
        done = subprocess.run(
            list(words) if words[0] == "modelserve" else deployments,
            check=False,
            capture_output=True,
            text=True,
            env={**machine, **environment},
            timeout=240,
        )
        assert done.returncode == status, done.stderr
        assert "Traceback" not in done.stderr
        return done

    return run


@pytest.fixture
def client(machine: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> ModelserveClient:
    """The client in this process: one import of MLflow for many questions."""
    for name, value in machine.items():
        monkeypatch.setenv(name, value)
    return ModelserveClient("modelserve")


def versions(url: str, *, users: int) -> list[str]:
    """Who answers each of so many users."""
    with httpx.Client(timeout=60) as http:
        answers = [http.post(url, json=BODY, headers={"x-user-id": f"user-{n}"}) for n in range(users)]
    assert {answer.status_code for answer in answers} == {200}
    return [answer.headers["x-model-version"] for answer in answers]


def test_a_model_is_created_and_answers_every_way(run: Run, tmp_path: Path) -> None:
    created = run("create", "--name", "churn", "-m", "models:/churn/1")
    assert created.stdout == "\npython_function deployment churn is created\n"
    lines = run("get", "--name", "churn").stdout.splitlines()
    first = dict(line.split(": ", 1) for line in lines if ": " in line)
    assert (first["state"], first["weight"], first["model_uri"]) == ("ready", "100", "models:/churn/1")
    assert first["commit"] == first["applied"]

    (tmp_path / "rows.json").write_text(json.dumps(ROWS))
    (tmp_path / "rows.csv").write_text("age,zip\n40.0,95120\n")
    away = "http://127.0.0.1:9"  # the discard port: no registry answers there, and none is needed
    by_mlflow = run("predict", "--name", "churn", "-I", str(tmp_path / "rows.json"), MLFLOW_TRACKING_URI=away)
    assert json.loads(by_mlflow.stdout) == {"predictions": [1]}
    by_us = run("modelserve", "predict", "--endpoint", "churn", "-I", str(tmp_path / "rows.csv"))
    assert json.loads(by_us.stdout) == {"predictions": [1]}
    by_http = httpx.post(first["url"], json=BODY, timeout=60)
    assert (by_http.json(), by_http.headers["x-model-version"]) == ({"predictions": [1]}, "churn")

    refused = run("create", "--name", "churn", "-m", "models:/churn/1", status=2)
    assert refused.stderr.count("\n") == 1
    assert "mlflow deployments update" in refused.stderr


def test_a_canary_takes_its_share_and_users_keep_their_version(client: ModelserveClient) -> None:
    client.create_deployment("shop", "models:/churn/1")
    client.create_deployment("shop-v2", "models:/churn/2", config={"weight": 10}, endpoint="shop")
    url = client.get_endpoint("shop")["url"]
    before = versions(url, users=200)
    assert before == versions(url, users=200)
    assert 0 < before.count("shop-v2") < 60
    assert client.predict("shop-v2", pd.DataFrame(ROWS)) == {"predictions": [2]}

    client.update_endpoint("shop", {"traffic": "shop=50,shop-v2=50"})
    after = versions(url, users=200)
    assert all(new == "shop-v2" for old, new in zip(before, after, strict=True) if old == "shop-v2")
    assert after.count("shop-v2") > before.count("shop-v2")

    with pytest.raises(MlflowException, match="takes 50%"):
        client.delete_deployment("shop-v2")
    client.update_endpoint("shop", {"traffic": "shop=100,shop-v2=0"})
    client.delete_deployment("shop-v2")
    client.delete_deployment("shop-v2")
    assert set(versions(url, users=20)) == {"shop"}


def test_an_update_replaces_the_model_once(client: ModelserveClient, run: Run) -> None:
    client.create_deployment("swap", "models:/churn/1")
    view = client.update_deployment("swap", "models:/churn/2")
    assert (view["change"], view["model_uri"]) == ("applied", "models:/churn/2")
    assert client.predict(endpoint="swap", inputs=ROWS) == {"predictions": [2]}
    again = client.update_deployment("swap", "models:/churn/2")
    assert (again["change"], again["commit"]) == ("unchanged", view["commit"])
    subjects = [line.split("  ")[-1] for line in run("modelserve", "history", "swap").stdout.splitlines()]
    assert subjects == ["swap: swap models:/churn/1 → models:/churn/2", "swap: created with swap (models:/churn/1)"]


def test_a_model_that_does_not_start_is_taken_back(client: ModelserveClient) -> None:
    client.create_deployment("steady", "models:/churn/1")
    with pytest.raises(MlflowException, match="endpoint 'steady' is as before") as raised:
        client.update_deployment("steady", "models:/churn/3")
    assert "another planet" in raised.value.message
    assert raised.value.message.count("commit ") == 2
    assert client.get_deployment("steady")["model_uri"] == "models:/churn/1"
    assert client.predict("steady", ROWS) == {"predictions": [1]}


def test_a_model_that_is_not_there_leaves_nothing(client: ModelserveClient) -> None:
    with pytest.raises(MlflowException, match="ghost"):
        client.create_deployment("ghost", "models:/ghost/1")
    assert "ghost" not in [view["name"] for view in client.list_deployments()]


def test_the_repository_can_be_cloned_and_an_endpoint_goes_whole(
    client: ModelserveClient, run: Run, tmp_path: Path
) -> None:
    client.create_endpoint("brief", {"model_uri": "models:/churn/1"})
    status = json.loads(run("modelserve", "status", "--json").stdout)
    assert status["applied"] == status["commit"]
    subprocess.run(["git", "clone", "-q", status["repository"], tmp_path / "clone"], check=True)
    assert (tmp_path / "clone" / "stages" / "production" / "brief" / "route.yaml").is_file()
    client.delete_endpoint("brief")
    client.delete_endpoint("brief")
    with pytest.raises(MlflowException, match="not found"):
        client.get_endpoint("brief")


def test_a_model_runs_in_the_foreground_and_ends_with_its_command(machine: dict[str, str]) -> None:
    words = ["mlflow", "deployments", "run-local", "-t", "modelserve", "--name", "near", "-m", "models:/churn/2"]
    process = subprocess.Popen([*words, "-C", "port=0"], env=machine, text=True, stderr=subprocess.PIPE)
    try:
        assert process.stderr is not None
        url = next(line.split()[-1] for line in process.stderr if line.startswith("serving near at "))
        assert httpx.post(url, json=BODY, timeout=60).json() == {"predictions": [2]}
        children = psutil.Process(process.pid).children(recursive=True)
        process.terminate()
        assert process.wait(60) == 143
        assert psutil.wait_procs(children, timeout=30)[1] == []
    finally:
        process.kill()
        process.communicate()
