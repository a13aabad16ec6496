"""What the machine must have, and what a server's processes cost."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mlflow_deploy_plugin.agent.processes import Launch, OsProcesses, Running
from pipelines.benchmark import machine
from pipelines.benchmark.accounting import Family, busy_s
from pipelines.benchmark.machine import MachineError

PARENT = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
sum(range(20_000_000))
print("ready", flush=True)
time.sleep(600)
"""


def wait_until(holds: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.02)


@pytest.mark.parametrize("missing", ["wrk", "taskset"])
def test_a_missing_program_is_named_with_its_package(missing: str) -> None:
    with pytest.raises(MachineError, match=f"{missing} is not installed; apt-get install"):
        machine.find({0, 1}, lambda name: None if name == missing else f"/usr/bin/{name}")


def test_one_core_is_too_few() -> None:
    with pytest.raises(MachineError, match="1 core"):
        machine.find({3}, lambda name: name)


def test_the_first_two_cores_that_may_be_used_are_taken() -> None:
    found = machine.find({5, 2, 9}, lambda name: name)
    assert (found.server_core, found.load_core) == (2, 5)


def test_a_core_s_working_time_never_goes_back() -> None:
    core = min(os.sched_getaffinity(0))
    first = busy_s(core)
    assert busy_s(core) >= first > 0


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[str], Running]]:
    processes = OsProcesses()
    started: dict[str, Running] = {}

    def run(home: str) -> Running:
        command = (sys.executable, "-c", PARENT)
        log = tmp_path / "log"
        environment = {"PATH": os.environ["PATH"]}
        launch = Launch(command=command, cwd=tmp_path, environment=environment, log=log, record={"home": home})
        running = started[home] = processes.start(launch)
        wait_until(lambda: "ready" in log.read_text())
        return running

    yield run
    for home, running in started.items():
        Family(home=home).kill()
        wait_until(lambda running=running: processes.exit_of(running) is not None)


def test_a_family_is_a_server_and_all_it_started_even_in_sessions_of_their_own(
    start: Callable[[str], Running],
) -> None:
    running, home = start("benchmark-test-1"), "benchmark-test-1"
    family = Family(home=home)
    assert running.pid in family.pids()
    assert len(family.pids()) == 2
    assert family.cpu_s() > 0.05
    assert family.pss_bytes() > 1_000_000
    assert Family(home="benchmark-test-2").pids() == ()


def test_a_killed_family_leaves_nobody(start: Callable[[str], Running]) -> None:
    start("benchmark-test-3")
    family = Family(home="benchmark-test-3")
    family.kill()
    wait_until(lambda: family.pids() == ())


def test_a_process_without_the_record_is_nobody_s() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        assert other.pid not in Family(home="benchmark-test-4").pids()
        other.communicate(b"\n")
