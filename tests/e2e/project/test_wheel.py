"""The wheel, as somebody who installs it meets it."""

import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An interpreter of a new environment with the built wheel, and the dependencies of this one by path alone."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = folder.glob("modelserve-*.whl")
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    python = folder / "venv/bin/python"
    subprocess.run([python, "-m", "pip", "install", "-qq", "--no-deps", "--no-index", wheel], check=True)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    ours = folder / f"venv/lib/{version}/site-packages/dependencies.pth"
    ours.write_text(sysconfig.get_path("purelib") + "\n")
    return python


def run(python: Path, *arguments: str) -> str:
    done = subprocess.run([python, *arguments], check=False, capture_output=True, text=True, cwd=python.parent)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_wheel_holds_the_packages_and_their_type_marker(python: Path) -> None:
    program = (
        "import mlflow_deploy_plugin as a, pipelines as b, pathlib;"
        "print(*[pathlib.Path(p.__file__).with_name('py.typed').is_file() for p in (a, b)], a.__file__)"
    )
    plugin_typed, pipelines_typed, file = run(python, "-c", program).split()
    assert (plugin_typed, pipelines_typed) == ("True", "True")
    assert str(python.parents[1]) in file


def test_mlflow_finds_the_target_that_the_wheel_registers(python: Path) -> None:
    program = (
        "from mlflow.deployments import get_deploy_client as get;"
        "client = get('modelserve'); print(type(client).__module__)"
    )
    assert run(python, "-c", program).strip() == "mlflow_deploy_plugin.client"


def test_the_command_is_installed(python: Path) -> None:
    assert "agent" in run(python, str(python.with_name("modelserve")), "--help")
