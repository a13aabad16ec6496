"""Bentos on disk and launchers around them, each ended by the test that started it."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from mlflow_deploy_plugin.spec.bento import MODEL_FOLDER, SPEC_FILE, BentoSpec

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # MLflow warns of itself when it is imported
    import mlflow
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema

MODEL = """
    import time

    from mlflow.models import set_model
    from mlflow.pyfunc import PythonModel


    class Moody(PythonModel):
        '''Echoes the column a after the longest sleep in b; raises for a = -1, hangs for a = -2.'''

        def predict(self, context, model_input, params=None):
            if (model_input["a"] == -1).any():
                raise ValueError("poison")
            if (model_input["a"] == -2).any():
                time.sleep(3600)
            time.sleep(float(model_input["b"].max()))
            return model_input["a"].to_numpy()


    set_model(Moody())
"""


@pytest.fixture(scope="session")
def moody(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The src folder of a Bento whose model echoes, sleeps, raises and hangs as its input says."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow warns of models without type hints
        folder = tmp_path_factory.mktemp("moody")
        (folder / "code.py").write_text(textwrap.dedent(MODEL))
        mlflow.pyfunc.save_model(
            path=folder / MODEL_FOLDER,
            python_model=str(folder / "code.py"),
            signature=ModelSignature(inputs=Schema([ColSpec("double", "a"), ColSpec("double", "b")])),
            pip_requirements=["mlflow"],
        )
    write_spec(folder)
    return folder


def write_spec(folder: Path) -> None:
    spec = BentoSpec(
        model_uri="models:/moody/1",
        model_name="moody",
        model_version="1",
        model_digest="sha256:m",
        serving_digest="sha256:s",
        environment_digest="sha256:e",
    )
    (folder / SPEC_FILE).write_text(spec.to_json())


@dataclass(kw_only=True)
class Launched:
    """A launcher's process."""

    process: subprocess.Popen[str]
    log: Path

    @property
    def stderr(self) -> str:
        return self.log.read_text()

    @property
    def url(self) -> str:
        found = re.search(r"listening on (http://\S+)", self.stderr)
        assert found, self.stderr
        return found[1]

    def wait_ready(self, timeout_s: float = 90) -> "Launched":
        until = time.monotonic() + timeout_s
        while time.monotonic() < until:
            assert self.process.poll() is None, self.stderr
            with contextlib.suppress(httpx.HTTPError, AssertionError):
                if httpx.get(self.url + "/readyz").status_code == 200:
                    return self
            time.sleep(0.1)
        raise AssertionError(self.stderr)

    def terminate(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


@dataclass(kw_only=True)
class Launcher:
    """Starts launchers and ends what is left of them."""

    folder: Path
    started: list[Launched] = field(default_factory=list)

    def __call__(self, bento: Path, *, port: int = 0, **settings: object) -> Launched:
        names = {f"MODELSERVE_{name.upper()}": str(value) for name, value in settings.items()}
        log = self.folder / f"launch-{len(self.started)}.log"
        with log.open("w") as stderr:
            command = [
                sys.executable,
                "-m",
                "mlflow_deploy_plugin.serving.launch",
                "--bento",
                bento,
                "--port",
                str(port),
            ]
            process = subprocess.Popen(command, stderr=stderr, text=True, env={**os.environ, **names})
        self.started.append(Launched(process=process, log=log))
        return self.started[-1]


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Callable[..., Launched]]:
    launcher = Launcher(folder=tmp_path)
    yield launcher
    for each in launcher.started:
        if each.process.poll() is None:
            each.process.kill()
            each.process.wait()
