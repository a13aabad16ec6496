"""The examples of docs/protocols.md run: the shell's in one shell, each client's in an environment of its own."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

DOCUMENT = Path(__file__).parents[3] / "docs" / "protocols.md"
BLOCK = re.compile(r"```(?P<language>\w+)\n(?P<text>.*?)```", re.DOTALL)

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(900)]


def blocks(language: str) -> list[str]:
    return [m["text"] for m in BLOCK.finditer(DOCUMENT.read_text()) if m["language"] == language]


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    folder = tmp_path_factory.mktemp("protocols")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    values = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "MODELSERVE_HOME": str(folder / "home"),
        "MODELSERVE_PORT": port,
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'mlflow.db'}",
        "PYTHONWARNINGS": "ignore",
    }
    yield values
    subprocess.run(["modelserve", "stop"], env=values, cwd=folder, check=False, capture_output=True, timeout=100)


@pytest.fixture(scope="module")
def said(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> str:
    """What the shell's blocks print."""
    shell = subprocess.Popen(
        ["bash", "-euo", "pipefail", "-c", "\necho\n".join(blocks("bash"))],
        cwd=tmp_path_factory.mktemp("shell"),
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        out, err = shell.communicate(timeout=500)
    finally:
        if shell.poll() is None:
            os.killpg(shell.pid, signal.SIGTERM)
    assert shell.returncode == 0, out + err
    return out


@pytest.mark.parametrize(
    "words",
    [
        '{"predictions":[0]}',
        '{"predictions":[2]}',
        '"prediction":0,"probability":0.9',
        '"predictions":[2],"probability":[0.9',
        "[[0.98 0.02 0.  ]",
        '"state":"AVAILABLE"',
        '"modelName":"iris"',
        '"method":"exact"',
    ],
)
def test_the_shell_says_what_each_protocol_answers(said: str, words: str) -> None:
    assert words in said


def run(python: str, script: str, environment: dict[str, str]) -> str:
    done = subprocess.run(
        [python, "-c", script], env=environment, capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_example_of_tritonclient_over_grpc(
    said: str, environment: dict[str, str], foreign_python: Callable[..., str]
) -> None:
    assert said
    (script,) = (text for text in blocks("python") if "tritonclient" in text)
    assert run(foreign_python("tritonclient[grpc]==2.69.0"), script, environment) == "[0 2]\n"


def test_the_example_of_tensorflow_serving_over_grpc(
    said: str, environment: dict[str, str], foreign_python: Callable[..., str]
) -> None:
    assert said
    (script,) = (text for text in blocks("python") if "tensorflow" in text)
    python = foreign_python("tensorflow-cpu>=2.19", bare=("tensorflow-serving-api>=2.19",))
    assert run(python, script, environment) == "[0]\n"


def test_the_table_of_statuses_is_what_the_codecs_say() -> None:
    from grpc import StatusCode  # noqa: PLC0415

    from mlflow_deploy_plugin.serving.codecs.grpc_status import STATUS_OF  # noqa: PLC0415

    names = {code.value[0]: code.name for code in StatusCode}
    told = {names[number] for number in STATUS_OF.values()} - {"CANCELLED"}
    assert set(re.findall(r"^\| `([A-Z_]+)`", DOCUMENT.read_text(), re.MULTILINE)) == told
