"""Real models in a real MLflow registry (SQLite), made once for all tests of this folder."""

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from mlflow_deploy_plugin.config.home import Home
from mlflow_deploy_plugin.packaging.serving_code import FILES, PACKAGE

collect_ignore = ["log_models.py"]  # a program, and doctest would import it

SILENT = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "1", "BENTOML_DO_NOT_TRACK": "True"}
LOG_MODELS = Path(__file__).with_name("log_models.py")

STUB_SERVICE = '''\
"""The least service that answers MLflow's protocol, so that packaging is tested apart from serving."""

import json
from pathlib import Path

import bentoml
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

MODEL = Path(__file__).resolve().parents[2] / "model"


async def invocations(request):
    import mlflow
    import pandas as pd

    body = await request.json()
    model = mlflow.pyfunc.load_model(str(MODEL))
    found = model.predict(pd.DataFrame(body["dataframe_records"]), params=body.get("params"))
    return JSONResponse({"predictions": json.loads(pd.Series(list(found)).to_json(orient="values"))})


@bentoml.asgi_app(Starlette(routes=[Route("/invocations", invocations, methods=["POST"])]), path="/")
@bentoml.service(name="ModelService", workers=1)
class ModelService:
    pass
'''


@dataclass(frozen=True, kw_only=True)
class Registry:
    """A tracking server in a file, and what was logged to it."""

    uri: str
    models: Mapping[str, str]


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    folder = tmp_path_factory.mktemp("registry")
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    out = folder / "models.json"
    environment = os.environ | SILENT | {"MLFLOW_TRACKING_URI": uri, "HOME": str(folder)}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(LOG_MODELS), str(folder), str(out)],
        env=environment, cwd=folder, capture_output=True, text=True, check=False, timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return Registry(uri=uri, models=json.loads(out.read_text()))


@pytest.fixture
def tracking(registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    """This process and its children speak to the registry, from a folder of their own."""
    for name, text in {**SILENT, "MLFLOW_TRACKING_URI": registry.uri}.items():
        monkeypatch.setenv(name, text)
    monkeypatch.chdir(tmp_path)
    return registry


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(root=tmp_path / "home")


@pytest.fixture(scope="session")
def stub_code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Our package as a Bento carries it, with the least service in place of the real one."""
    code = tmp_path_factory.mktemp("code") / "mlflow_deploy_plugin"
    (code / "serving").mkdir(parents=True)
    for room in ("spec", "attribution"):
        shutil.copytree(PACKAGE / room, code / room, ignore=shutil.ignore_patterns("__pycache__"))
    for name in FILES:
        shutil.copyfile(PACKAGE / name, code / name)
    (code / "serving" / "__init__.py").write_text("")
    (code / "serving" / "service.py").write_text(STUB_SERVICE)
    return code


Serve = Callable[..., AbstractContextManager[str]]


@pytest.fixture
def bentoml_serve(home: Home, tmp_path: Path) -> Serve:
    """``bentoml serve TAG`` on a free port, where no registry can be reached; ended afterwards."""

    @contextmanager
    def serve(tag: str, *, python: Path = Path(sys.executable)) -> Iterator[str]:
        port = free_port()
        away = {"BENTOML_HOME": str(home.bentoml), "MLFLOW_TRACKING_URI": "http://127.0.0.1:9", "HOME": str(tmp_path)}
        log = (tmp_path / "serve.log").open("w")
        process = subprocess.Popen(
            [python, "-m", "bentoml", "serve", tag, "--host", "127.0.0.1", "--port", str(port)],
            env=os.environ | SILENT | away, cwd=tmp_path, stdout=log, stderr=log,
        )  # fmt: skip
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(timeout=30)
            log.close()

    return serve


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
