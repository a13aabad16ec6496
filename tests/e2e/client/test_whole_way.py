"""The whole way on one machine, by the commands that a user types: train, create, predict, canary, update, delete."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

Run = Callable[..., subprocess.CompletedProcess[str]]

TRAIN = """
import mlflow, pandas as pd
from mlflow.models import infer_signature
from sklearn.tree import DecisionTreeClassifier

frame = pd.DataFrame({"age": [20.0, 40.0, 60.0, 80.0] * 10, "zip": ["07030", "95120"] * 20})
class Model(mlflow.pyfunc.PythonModel):
    def __init__(self, version):
        self.version = version
    def predict(self, context, model_input, params=None):
        known = model_input["zip"].isin(["07030", "95120"])
        return [self.version if ok else -1 for ok in known]

for version in (1, 2):
    with mlflow.start_run():
        mlflow.pyfunc.log_model(
            name="model", python_model=Model(version), registered_model_name="churn",
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
    def run(*words: str, status: int = 0, **environment: str) -> subprocess.CompletedProcess[str]:
        program = ["mlflow", "deployments", words[0], "-t", "modelserve", *words[1:]]
        command = list(words[1:]) if words[0] == "modelserve" else program
        if words[0] == "modelserve":
            command = ["modelserve", *words[1:]]
        done = subprocess.run(
            command, check=False, capture_output=True, text=True, env={**machine, **environment}, timeout=240
        )
        assert done.returncode == status, done.stderr
        assert "Traceback" not in done.stderr
        return done

    return run


def described(run: Run, name: str) -> dict[str, str]:
    lines = run("get", "--name", name).stdout.splitlines()
    return dict(line.split(": ", 1) for line in lines if ": " in line)


def test_the_whole_way(run: Run, tmp_path: Path) -> None:
    created = run("create", "--name", "churn", "-m", "models:/churn/1")
    assert created.stdout == "\npython_function deployment churn is created\n"
    first = described(run, "churn")
    assert (first["state"], first["weight"], first["model_uri"]) == ("ready", "100", "models:/churn/1")
    assert first["commit"] == first["applied"]

    rows = [{"age": 40.0, "zip": "07030"}]
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    (tmp_path / "rows.csv").write_text("age,zip\n40.0,95120\n")
    by_mlflow = run("predict", "--name", "churn", "-I", str(tmp_path / "rows.json")).stdout
    assert json.loads(by_mlflow) == {"predictions": [1]}
    by_us = run("modelserve", "predict", "--endpoint", "churn", "-I", str(tmp_path / "rows.csv")).stdout
    assert json.loads(by_us) == {"predictions": [1]}
    by_http = httpx.post(first["url"], json={"dataframe_records": rows}, timeout=30)
    assert (by_http.json(), by_http.headers["x-model-version"]) == ({"predictions": [1]}, "churn")

    refused = run("create", "--name", "churn", "-m", "models:/churn/1", status=2)
    assert "mlflow deployments update" in refused.stderr

    run("create", "--name", "churn-v2", "-m", "models:/churn/2", "--endpoint", "churn", "-C", "weight=10")
    answers = [
        httpx.post(
            first["url"], json={"dataframe_records": rows}, headers={"x-user-id": f"user-{n % 100}"}, timeout=30
        ).headers["x-model-version"]
        for n in range(200)
    ]
    assert answers[:100] == answers[100:]
    assert 0 < answers.count("churn-v2") < 60
    pinned = run("predict", "--name", "churn-v2", "-I", str(tmp_path / "rows.json")).stdout
    assert json.loads(pinned) == {"predictions": [2]}

    run("update-endpoint", "--endpoint", "churn", "-C", "traffic=churn=0,churn-v2=100")
    assert run("modelserve", "history", "churn").stdout.splitlines()[0].endswith("churn-v2 10% → 100%")
    run("update", "--name", "churn", "-m", "models:/churn/2")
    commit = described(run, "churn")["commit"]
    again = run("update", "--name", "churn", "-m", "models:/churn/2")
    assert "unchanged" in again.stderr
    assert described(run, "churn")["commit"] == commit

    status = json.loads(run("modelserve", "status", "--json").stdout)
    assert {"repository", "commit", "applied", "endpoints"} <= set(status)
    cloned = subprocess.run(
        ["git", "clone", "-q", status["repository"], str(tmp_path / "clone")], check=False, capture_output=True
    )
    assert cloned.returncode == 0

    in_use = run("delete", "--name", "churn-v2", status=2)
    assert "takes 100%" in in_use.stderr
    run("delete", "--name", "churn")
    run("delete", "--name", "churn")
    run("delete", "--name", "churn-v2")
    assert "[]" in run("list").stdout
    assert run("get", "--name", "churn", status=2).stderr.count("\n") == 1


def test_predictions_need_no_registry(run: Run, tmp_path: Path) -> None:
    run("create", "--name", "alone", "-m", "models:/churn/1")
    (tmp_path / "rows.json").write_text('{"dataframe_split": {"columns": ["age", "zip"], "data": [[1.0, "07030"]]}}')
    away = "http://127.0.0.1:9"  # the discard port: nothing listens there
    answer = run("predict", "--endpoint", "alone", "-I", str(tmp_path / "rows.json"), MLFLOW_TRACKING_URI=away)
    assert json.loads(answer.stdout) == {"predictions": [1]}
    run("delete-endpoint", "--endpoint", "alone")


def test_a_model_that_is_not_there_leaves_nothing(run: Run) -> None:
    refused = run("create", "--name", "ghost", "-m", "models:/ghost/1", status=2)
    assert refused.stderr.count("Error: ") == 1
    assert "ghost" not in run("list").stdout
