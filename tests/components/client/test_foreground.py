"""`run-local` as a process of its own, over a Bento whose launcher is a few lines long."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

LAUNCHER = """
    import http.server, os, socket, sys

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            body = f"{os.getpid()} {os.environ['MODELSERVE_DEPLOYMENT']} {os.environ['CUDA_VISIBLE_DEVICES']}".encode()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *words):
            pass

    if "--die" in os.environ.get("LAUNCHER", ""):
        sys.exit(7)
    listener = socket.socket(fileno=int(sys.argv[sys.argv.index("--fd") + 1]))
    server = http.server.HTTPServer(("127.0.0.1", 0), Handler, bind_and_activate=False)
    server.socket = listener
    server.serve_forever()
"""

CALLER = """
    import sys
    from pathlib import Path
    from mlflow_deploy_plugin.config.home import Home
    from mlflow_deploy_plugin.config.keys import RunLocalConfig
    from mlflow_deploy_plugin.errors import ModelserveError
    from mlflow_deploy_plugin.packaging import Packaged
    from mlflow_deploy_plugin.scoring import FakeScorer
    from mlflow_deploy_plugin.spec.bento import BentoSpec
    from mlflow_deploy_plugin.targets.doors import Doors
    from mlflow_deploy_plugin.targets.foreground import serve_in_foreground
    from mlflow_deploy_plugin.targets.packager import FakePackager

    spec = BentoSpec(model_uri="m", model_name="m", model_digest="d", serving_digest="s", environment_digest="e")
    bento = Packaged(tag="m:1", path=Path(sys.argv[1]), spec=spec, python=None, warnings=(), is_new=True)
    doors = Doors(home=Home(root=Path(sys.argv[1])), packager=FakePackager(make=lambda uri: bento),
                  scorer=FakeScorer(), open_target=lambda uri: None, say=print)
    try:
        serve_in_foreground("churn", "m", RunLocalConfig.parse({"port": sys.argv[2]}), doors=doors)
    except ModelserveError as error:
        sys.exit(str(error))
"""


@pytest.fixture
def bento(tmp_path: Path) -> Path:
    package = tmp_path / "src" / "mlflow_deploy_plugin" / "serving"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package.parent / "__init__.py").touch()
    (package / "launch.py").write_text(textwrap.dedent(LAUNCHER))
    return tmp_path


class Running:
    def __init__(self, bento: Path, **environment: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(CALLER), str(bento), "0"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **environment},
        )

    def url(self) -> str:
        assert self.process.stderr is not None
        line = self.process.stderr.readline()
        assert line.startswith("serving churn at http://127.0.0.1:"), line
        return line.split()[-1].removesuffix("/invocations")

    def end(self) -> None:
        for child in psutil.Process(self.process.pid).children() if self.process.poll() is None else []:
            child.kill()
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()


@pytest.fixture
def running(bento: Path) -> Iterator[Running]:
    started = Running(bento)
    yield started
    started.end()


def worker(url: str) -> psutil.Process:
    pid, name, *gpus = httpx.get(url + "/readyz", timeout=10).text.split()
    assert (name, gpus) == ("churn", [])
    return psutil.Process(int(pid))


def is_gone(process: psutil.Process) -> bool:
    until = time.monotonic() + 10
    while process.is_running() and process.status() != psutil.STATUS_ZOMBIE and time.monotonic() < until:
        time.sleep(0.02)
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 0), (signal.SIGTERM, 143), (signal.SIGKILL, -signal.SIGKILL)]
)
def test_the_model_ends_with_its_caller(running: Running, number: signal.Signals, status: int) -> None:
    model = worker(running.url())
    running.process.send_signal(number)
    assert running.process.wait(20) == status
    assert is_gone(model)


def test_a_model_that_does_not_start_is_an_error(bento: Path) -> None:
    failed = Running(bento, LAUNCHER="--die")
    _, err = failed.process.communicate(timeout=20)
    assert failed.process.returncode == 1
    assert "the model did not start (status 7)" in err
