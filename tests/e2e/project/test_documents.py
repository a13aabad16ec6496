"""The commands of README and of docs/ run, in order, in one shell, by a user who has nothing but the checkout."""

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
BLOCK = re.compile(r"```(?P<language>\w+)\n(?P<text>.*?)```", re.DOTALL)

pytestmark = pytest.mark.e2e


def blocks(language: str, *, document: str = "README.md") -> str:
    text = (ROOT / document).read_text()
    return "\n".join(m["text"] for m in BLOCK.finditer(text) if m["language"] == language)


@pytest.fixture
def environment(own_home: Path, tmp_path: Path) -> dict[str, str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    return os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "MODELSERVE_HOME": str(own_home),
        "MODELSERVE_PORT": port,
        "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path / 'mlflow.db'}",
        "PYTHONWARNINGS": "ignore",
    }


def shell(
    script: str, environment: dict[str, str], *, folder: Path, timeout_s: float = 280
) -> subprocess.CompletedProcess[str]:
    """Run ``script``; what it started dies with it."""
    process = subprocess.Popen(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        out, err = process.communicate(timeout=timeout_s)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def test_make_targets_that_the_readme_names_exist() -> None:
    named = set(re.findall(r"^make (\w+)", blocks("sh"), re.MULTILINE))
    makefile = (ROOT / "Makefile").read_text()
    assert named
    assert [name for name in named if not re.search(rf"^{name}:", makefile, re.MULTILINE)] == []


@pytest.mark.parametrize("document", ["README.md", *(str(path.relative_to(ROOT)) for path in ROOT.glob("docs/*.md"))])
def test_every_file_that_a_document_links_to_exists(document: str) -> None:
    linked = re.findall(r"\]\((?!https?:|#)([^)#\s]+)", (ROOT / document).read_text())
    assert [link for link in linked if not (ROOT / document).parent.joinpath(link).exists()] == []


@pytest.mark.timeout(900)
def test_the_commands_of_the_readme_run(environment: dict[str, str], tmp_path: Path) -> None:
    done = shell(blocks("bash"), environment, folder=tmp_path, timeout_s=800)
    shell("modelserve stop", environment, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert '"predictions"' in done.stdout
    assert "advance: iris-v2 begins at 5%" in done.stdout
    assert "unchanged: pause" in done.stdout
    assert "rolled back iris-v2 to iris=100" in done.stdout


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_commands_of_the_page_on_drift_run(environment: dict[str, str], tmp_path: Path) -> None:
    done = shell(blocks("bash", document="docs/drift.md"), environment, folder=tmp_path, timeout_s=800)
    shell("modelserve stop", environment, folder=tmp_path)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    assert "added 500 labels" in done.stdout
    assert "buys-v2 at fault: revert" in done.stdout
    assert "rolled back buys-v2" in done.stdout
    assert "within the 1024 MB" in done.stdout


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_demo_tells_the_whole_story() -> None:
    demo = subprocess.Popen(
        [sys.executable, ROOT / "docs/demo/demo.py"], text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        told, _ = demo.communicate()
    finally:
        demo.terminate()  # it stops all that it started
        demo.wait()
    assert demo.returncode == 0, told[-8000:]
    assert "the world moved" in told
    assert "Modelserve-Action: rollback" in told
