"""What is wrong is refused by name, and what was good goes on serving."""

import socket
import subprocess
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from mlflow_deploy_plugin import manifests
from mlflow_deploy_plugin.agent import client
from mlflow_deploy_plugin.agent.processes import OsProcesses
from mlflow_deploy_plugin.manifests.model import Deployment, Files, Resources

pytestmark = pytest.mark.e2e
Make = Callable[..., Deployment]
ROUTE = "stages/production/churn/route.yaml"


def broken_yaml(files: Files) -> Files:
    return {**files, ROUTE: files[ROUTE] + "\n  - [unclosed"}


def bad_sum(files: Files) -> Files:
    return {**files, ROUTE: files[ROUTE].replace("weight: 1000", "weight: 900")}


def unknown_deployment(files: Files) -> Files:
    return {
        **files,
        ROUTE: files[ROUTE].replace("name: churn\n", "name: ghost\n").replace("stable: churn", "stable: ghost"),
    }


@pytest.mark.parametrize("spoil", [broken_yaml, bad_sum, unknown_deployment])
def test_a_commit_that_breaks_a_rule_is_named_and_the_last_good_state_serves(
    machine: Any, make_deployment: Make, spoil: Callable[[Files], Files]
) -> None:
    machine.start()
    good = machine.create(make_deployment("churn"))
    bad = machine.commit(spoil)
    outcome = machine.wait(bad)
    assert isinstance(outcome, client.Refused)
    assert outcome.reason.startswith("stages/production/churn/")
    assert (machine.said.refused.commit, machine.said.phase) == (bad, "degraded")
    assert (machine.said.commit, machine.said.applied) == (bad, good)
    assert machine.ask().status == 200
    before = machine.repository.files(good)
    mended = machine.commit(lambda _: before)
    assert machine.wait(mended) == client.Applied()
    assert machine.said.refused is None


@pytest.mark.parametrize(
    ("faults", "word"),
    [
        ({"environment": {"FAKE": "crash"}}, "this model cannot be loaded"),
        ({"environment": {"FAKE": "never-ready"}}, "0 of 1 processes ready after 3 s"),
    ],
)
def test_a_version_that_never_becomes_ready_is_refused_and_the_other_endpoint_of_the_commit_moves(
    machine: Any, make_deployment: Make, faults: Any, word: str
) -> None:
    machine.start("--ready-limit", "3")
    machine.create(make_deployment("churn"), make_deployment("price", endpoint="price"))

    def edit(files: Files) -> Files:
        files = manifests.add_deployment(files, make_deployment("churn-v2", **faults), weight=100)
        return manifests.add_deployment(files, make_deployment("price-v2", endpoint="price"), weight=100)

    sha = machine.commit(edit)
    outcome = machine.wait(sha)
    assert isinstance(outcome, client.Refused)
    assert word in outcome.reason
    assert client.wait_applied(machine.home, sha, 5, endpoint="price") == client.Applied()
    assert isinstance(client.wait_applied(machine.home, sha, 5, endpoint="churn"), client.Refused)
    assert machine.said.endpoints["churn"].weights == {"churn": 1000}
    assert machine.said.endpoints["price"].weights == {"price": 900, "price-v2": 100}
    assert machine.said.deployments["churn-v2"].state == "failed"
    assert word in machine.said.refused.reason
    machine.until(lambda: not machine.said.deployments["churn-v2"].workers)
    assert machine.ask().version == "churn"


def test_a_bento_that_is_not_on_this_machine_is_refused_at_once(machine: Any, make_deployment: Make) -> None:
    machine.start()
    one = make_deployment("absent")
    sha = machine.commit(lambda files: manifests.add_endpoint(files, one, salt="s"))
    outcome = machine.wait(sha)
    assert isinstance(outcome, client.Refused)
    assert "absent:1 is not in the store" in outcome.reason


def test_gpus_that_are_not_there_are_refused(machine: Any, make_deployment: Make, monkeypatch: Any) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    machine.start()
    one = make_deployment("churn", resources=Resources(gpu=1))
    outcome = machine.wait(machine.commit(lambda files: manifests.add_endpoint(files, one, salt="s")))
    assert isinstance(outcome, client.Refused)
    assert "asks for 1 GPU" in outcome.reason


def test_an_agent_that_starts_on_a_broken_commit_serves_the_last_good_one(machine: Any, make_deployment: Make) -> None:
    agent = machine.start()
    good = machine.create(make_deployment("churn"))
    bad = machine.commit(broken_yaml)
    machine.wait(bad)
    agent.terminate()
    assert agent.wait(30) == 0
    machine.start()
    machine.until(lambda: machine.said.refused is not None and machine.said.deployments["churn"].state == "ready")
    machine.until(lambda: machine.said.is_settled)
    assert machine.ask().status == 200
    assert (machine.said.applied, machine.said.refused.commit) == (good, bad)


def test_a_rewritten_history_prunes_nothing_until_it_is_accepted(machine: Any, make_deployment: Make) -> None:
    agent = machine.start()
    machine.create(make_deployment("churn"))
    applied = machine.said.applied
    first = machine.repository.history()[-1].sha
    git = ("git", "-C", str(machine.home.repository))
    subprocess.run([*git, "update-ref", "refs/heads/main", first], check=True)
    machine.until(lambda: machine.said.refused is not None)
    assert "history was rewritten" in machine.said.refused.reason
    assert (machine.said.applied, machine.ask().status) == (applied, 200)
    agent.terminate()
    agent.wait(30)
    machine.start("--accept-rewrite")
    machine.until(lambda: machine.said.applied == first)
    assert machine.said.endpoints == {}


def test_a_second_agent_is_refused_in_one_line(machine: Any) -> None:
    first = machine.start()
    second = machine.launch()
    assert second.wait(30) == 2
    last = machine.log().strip().splitlines()[-1]
    assert last.startswith("modelserve: an agent already serves")
    assert f"pid {first.pid}" in last


def test_a_taken_port_is_refused_in_one_line_before_anything_is_touched(machine: Any, own_home: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", machine.port))
        other.listen()
        before = sorted(path.relative_to(own_home) for path in own_home.rglob("*"))
        agent = machine.launch()
        assert agent.wait(30) == 2
    assert machine.log().strip() == (
        f"modelserve: port {machine.port} on 127.0.0.1 is taken; choose another by --port or MODELSERVE_PORT"
    )
    new = {path.relative_to(own_home) for path in own_home.rglob("*")} - {*before}
    assert {str(path) for path in new} <= {"agent/agent.log", "agent/lock"}


def test_the_client_says_why_the_agent_cannot_start(machine: Any) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", machine.port))
        other.listen()
        with pytest.raises(client.CannotStartError, match=f"^port {machine.port} on 127.0.0.1 is taken"):
            client.start(machine.home, port=machine.port)


def test_the_client_starts_one_agent_however_often_it_is_asked_and_stops_it(machine: Any) -> None:
    status = client.start(machine.home, port=machine.port)
    assert client.start(machine.home, port=machine.port).pid == status.pid
    assert client.stop(machine.home)
    assert client.read_status(machine.home) is None
    assert not client.stop(machine.home)
    assert not (machine.home.agent / "status.json").exists()


def test_a_start_while_the_last_agent_leaves_is_a_start(machine: Any, make_deployment: Make) -> None:
    agent = machine.start()
    machine.create(make_deployment("churn"))
    asking = threading.Thread(target=lambda: machine.ask(x_fake="sleep=2"))
    asking.start()
    time.sleep(0.3)
    agent.terminate()
    machine.until(lambda: machine.status() is None)
    assert agent.poll() is None, "it waits for the request"
    with ThreadPoolExecutor(2) as users:
        started = list(users.map(lambda _: client.start(machine.home, port=machine.port).pid, range(2)))
    assert started[0] == started[1] != agent.pid
    assert agent.wait(10) == 0
    asking.join()
    client.stop(machine.home)


def test_a_stop_lets_requests_end_and_leaves_no_process(machine: Any, make_deployment: Make) -> None:
    agent = machine.start()
    machine.create(make_deployment("churn"))
    answers: list[int] = []
    asking = threading.Thread(target=lambda: answers.append(machine.ask(x_fake="sleep=1.5").status))
    asking.start()
    time.sleep(0.5)
    agent.terminate()
    assert agent.wait(30) == 0
    asking.join()
    assert answers == [200]
    assert OsProcesses().find(str(machine.home.root)) == ()
