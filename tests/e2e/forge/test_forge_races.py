"""Many promoters, dying promoters and lost answers, over real git and HTTP: no commit is lost, none is made twice."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from mlflow_deploy_plugin.errors import RetryLaterError
from mlflow_deploy_plugin.repository import Repository

pytestmark = pytest.mark.e2e

WRITER = Path(__file__).with_name("writer.py")
PROCESSES, PROMOTIONS = 8, 20

Promote = Callable[[Repository, str, str], Any]


def start(arguments: list[str], environment: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(WRITER), *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def made(process: subprocess.Popen[str]) -> int:
    out, err = process.communicate(timeout=560)
    assert process.returncode == 0, err
    return int(json.loads(out)["made"])


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_eight_processes_promote_twenty_times_each_and_no_commit_is_lost_or_doubled(forge: Any, tmp_path: Path) -> None:
    url = forge.create({"README.md": "served\n"})
    # Half of them share one machine's clone, the others are machines of their own; every other step is on one endpoint.
    clones = [tmp_path / ("shared" if index < PROCESSES // 2 else f"machine-{index}") for index in range(PROCESSES)]
    with ExitStack() as ending:
        running = [
            ending.enter_context(start([url, str(folder), f"w{index}", str(PROMOTIONS), f"own-{index}", "everybodys"]))
            for index, folder in enumerate(clones)
        ]
        assert sum(made(process) for process in running) == PROCESSES * PROMOTIONS

    wished = [f"w{writer}-{step}" for writer in range(PROCESSES) for step in range(PROMOTIONS)]
    assert Counter(forge.operations()) == Counter([*wished, "begin"])
    assert forge.git("rev-list", "--count", "--merges", "main") == "0"
    everybodys = forge.text("stages/production/everybodys/route.yaml").split()
    assert sorted(everybodys) == sorted(wish for wish in wished if int(wish.rpartition("-")[2]) % 2)
    for writer in range(PROCESSES):  # each endpoint's steps, in its writer's order
        steps = forge.text(f"stages/production/own-{writer}/route.yaml").split()
        assert steps == [f"w{writer}-{step}" for step in range(0, PROMOTIONS, 2)]


@pytest.mark.parametrize("point", ["before the commit", "between commit and push", "between push and record"])
def test_a_promoter_that_is_killed_commits_once_when_it_runs_again(
    forge: Any, tmp_path: Path, nobodys_git: Path, point: str
) -> None:
    url = forge.create({"README.md": "served\n"})
    arguments = [url, str(tmp_path / "clones"), "w", "1", "churn"]
    environment = {"HOME": str(nobodys_git), "PATH": os.environ["PATH"], "GIT_CONFIG_NOSYSTEM": "1"}

    killed = start(arguments, {**environment, "CRASH": point})
    killed.communicate(timeout=60)
    assert killed.returncode == -signal.SIGKILL
    arrived = forge.operations().count("w-0")
    assert arrived == (point == "between push and record")

    assert made(start(arguments, environment)) == 1 - arrived
    assert made(start(arguments, environment)) == 0
    assert forge.operations() == ["w-0", "begin"]


def test_a_push_that_outlives_its_killed_promoter_is_not_made_twice(forge: Any, tmp_path: Path) -> None:
    url = forge.create({"README.md": "served\n"})
    entered = tmp_path / "entered"
    forge.hook("pre-receive", f"test -e {entered} && exit 0\ntouch {entered}\nsleep 1")
    arguments = [url, str(tmp_path / "clones"), "w", "1", "churn"]

    orphan = start(arguments)
    deadline = time.monotonic() + 30
    while not entered.exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    orphan.kill()  # git itself lives on and ends its push
    orphan.communicate(timeout=30)

    made(start(arguments))
    time.sleep(1.5)
    assert forge.operations() == ["w-0", "begin"]


@pytest.mark.parametrize("fault", ["lost answer", "cut answer"])
def test_a_push_whose_answer_is_lost_is_recognised_as_made(
    forge: Any, tmp_path: Path, promote: Promote, fault: str
) -> None:
    repository = Repository.open(forge.create({"README.md": "served\n"}), clones=tmp_path / "clones")
    forge.faults.append(fault)
    assert promote(repository, "churn", "o1").changed
    assert not promote(repository, "churn", "o1").changed
    assert forge.operations() == ["o1", "begin"]


def test_a_push_that_never_arrives_is_made_again(forge: Any, tmp_path: Path, promote: Promote) -> None:
    repository = Repository.open(forge.create({"README.md": "served\n"}), clones=tmp_path / "clones")
    forge.faults.append("never arrives")
    assert promote(repository, "churn", "o1").changed
    assert forge.operations() == ["o1", "begin"]


def test_a_network_that_stays_away_is_a_reason_to_try_later(forge: Any, tmp_path: Path, promote: Promote) -> None:
    repository = Repository.open(forge.create({"README.md": "served\n"}), clones=tmp_path / "clones")
    forge.faults.extend(["never arrives"] * 40)
    with pytest.raises(RetryLaterError):
        promote(repository, "churn", "o1")
    forge.faults.clear()
    assert promote(repository, "churn", "o1").changed
    assert forge.operations() == ["o1", "begin"]
