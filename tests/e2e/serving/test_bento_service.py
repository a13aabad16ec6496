"""The same model under ``bentoml serve``: our routes in front, BentoML's own behind, workers counted together."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

import mlflow_deploy_plugin

pytestmark = pytest.mark.e2e

ROWS = {"dataframe_split": {"columns": ["a", "b"], "data": [[4.5, 0.0]]}}
PACKAGE = Path(mlflow_deploy_plugin.__file__).parent


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def served(moody: Path, tmp_path: Path) -> Iterator[str]:
    """A Bento's src folder under ``bentoml serve`` with two workers."""
    src = tmp_path / "src"
    shutil.copytree(moody, src)
    copy = src / PACKAGE.name
    copy.mkdir()
    for name in ("__init__.py", "errors.py", "version.py"):
        shutil.copyfile(PACKAGE / name, copy / name)
    for room in ("spec", "serving"):
        shutil.copytree(PACKAGE / room, copy / room)
    (src / "service.py").write_text("from mlflow_deploy_plugin.serving.service import ModelService\n")
    port = free_port()
    environment = {**os.environ, "BENTOML_HOME": str(tmp_path / "bentoml"), "MODELSERVE_WORKERS": "2"}
    log = tmp_path / "bentoml.log"
    command = [sys.executable, "-m", "bentoml", "serve", "service:ModelService", "--host", "127.0.0.1", "-p", str(port)]
    with log.open("w") as output:
        process = subprocess.Popen(
            command, cwd=src, env=environment, stdout=output, stderr=output, start_new_session=True
        )
    try:
        yield wait_ready(f"http://127.0.0.1:{port}", process, log)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(30)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def wait_ready(url: str, process: "subprocess.Popen[bytes]", log: Path) -> str:
    until = time.monotonic() + 120
    while time.monotonic() < until:
        assert process.poll() is None, log.read_text()
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(url + "/readyz").status_code == 200:
                return url
        time.sleep(0.2)
    raise AssertionError(log.read_text())


def test_it_answers_as_the_launcher_does_and_counts_over_its_workers(served: str) -> None:
    for _ in range(20):
        with httpx.Client(base_url=served) as client:  # a connection each, so that both workers have some
            answer = client.post("/endpoints/moody/invocations", json=ROWS)
            assert answer.json() == {"predictions": [4.5]}
            assert answer.headers["x-model-version"] == "moody-v1"
    time.sleep(2.5)  # a snapshot is written every second
    counted = 'model_predictions_total{model_version="moody-v1",prediction_class="other",status="success"} 20'
    assert counted in httpx.get(served + "/metrics").text
    assert httpx.get(served + "/schema.json").json()["name"] == "moody", "BentoML's own routes are behind ours"
