"""The benchmark as a person runs it: a real server under a real load, and Ctrl-C in the midst of it."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlflow_deploy_plugin.agent.processes import RECORD

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not installed; apt-get install wrk"),
    pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two cores"),
]
ROOT = Path(__file__).parents[3]
SHORT = ("--works", "tabular", "--connections", "4", "--seconds", "1", "--warmup", "1", "--rounds", "1")


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "pipelines", "benchmark", *SHORT, *arguments]


def servers_of(home: Path) -> list[int]:
    """Processes that a benchmark of this home started: its home is in their environment."""
    found = []
    for folder in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            environment = (folder / "environ").read_bytes() if folder.name.isdigit() else b""
            if f"MODELSERVE_HOME={home}".encode() in environment and f"{RECORD}=".encode() in environment:
                found.append(int(folder.name))
    return found


def first_look() -> str:
    """The block of the page that runs as it stands."""
    (block,) = re.findall(r"```bash\n(.*?)```", (ROOT / "docs/performance.md").read_text(), re.DOTALL)
    return str(block)


def test_the_first_look_measures_checks_answers_and_leaves_its_files(own_home: Path, tmp_path: Path) -> None:
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    script = ["bash", "-euo", "pipefail", "-c", first_look()]
    done = subprocess.run(
        script, check=False, capture_output=True, text=True, timeout=280, cwd=tmp_path, env=environment
    )
    assert done.returncode == 0, done.stdout + done.stderr
    folder = tmp_path / "results"
    results = json.loads((folder / "results.json").read_text())
    assert results["absences"] == [], done.stderr
    samples = {sample["cell"]["subject"]: sample for sample in results["samples"]}
    assert samples.keys() == {"empty", "gateway"}
    for sample in samples.values():
        assert sample["requests"] > 0
        assert (sample["failed"], sample["socket_errors"], sample["wrong"]) == (0, 0, 0)
    assert samples["gateway"]["checked"] > 0
    (foot,) = [foot for foot in results["footprints"] if foot["subject"] == "gateway"]
    assert foot["processes"] == 2
    assert {point["unit"] for point in json.loads((folder / "tracked.json").read_text())} == {
        "times the empty app",
        "requests",
    }
    assert (folder / "results.png").stat().st_size > 1000
    assert servers_of(own_home) == []


@pytest.fixture
def interrupted(own_home: Path, tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    """A long run that is under way."""
    arguments = command("--subjects", "empty", "--seconds", "120", "--out", str(tmp_path))
    process = subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True, start_new_session=True)
    try:
        until = time.monotonic() + 120
        while not servers_of(own_home):
            assert process.poll() is None
            assert time.monotonic() < until
            time.sleep(0.1)
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_an_interrupted_run_leaves_no_process(
    interrupted: "subprocess.Popen[str]", own_home: Path, number: signal.Signals
) -> None:
    interrupted.send_signal(number)
    _, warned = interrupted.communicate(timeout=60)
    assert interrupted.returncode == 130, warned
    assert "interrupted" in warned
    assert servers_of(own_home) == []
