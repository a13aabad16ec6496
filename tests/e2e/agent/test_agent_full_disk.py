"""A disk that is full, a real one: a small file system in memory, where the system lets us mount one."""

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mlflow_deploy_plugin import manifests
from mlflow_deploy_plugin.agent import client
from mlflow_deploy_plugin.manifests.model import Deployment

pytestmark = pytest.mark.e2e
Make = Callable[..., Deployment]


@pytest.fixture
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The home on a disk of 32 MiB; in place of the fixture of that name that every other test has."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=32m", "tmpfs", str(disk)], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip("no right to mount a small file system")
    monkeypatch.setenv("MODELSERVE_HOME", str(disk / "home"))
    yield disk / "home"
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


def test_a_full_disk_stops_no_request_is_told_and_a_dead_worker_is_replaced_all_the_same(
    machine: Any, make_deployment: Make
) -> None:
    machine.start()
    machine.create(make_deployment("churn", replicas=2))
    machine.until((machine.home.agent / "reserve").exists)
    sha = machine.commit(lambda files: manifests.add_deployment(files, make_deployment("churn-v2"), weight=100))
    assert machine.wait(sha) == client.Applied()
    ballast = machine.home.root / "ballast"
    fill(ballast)
    with machine.load() as told:
        (victim, survivor) = machine.pids("churn")
        os.kill(victim, signal.SIGKILL)
        machine.until(lambda: "is full; free some space" in machine.said.message)
        machine.until(lambda: survivor in machine.pids("churn") and len(machine.pids("churn")) == 2)
        assert machine.said.phase == "degraded"
    assert told["answers"].keys() == {"200"}, told
    ballast.unlink()
    machine.until(lambda: machine.said.phase == "idle" and machine.said.message == "")


def fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        for size in (2**20, 2**12, 1):
            try:
                while True:
                    file.write(b"\0" * size)
            except OSError:
                continue
