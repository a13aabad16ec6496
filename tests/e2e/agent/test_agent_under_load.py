"""No request fails: real Envoy, real processes, load from another process that counts everything but 200."""

import os
import signal
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from mlflow_deploy_plugin import manifests
from mlflow_deploy_plugin.agent import client
from mlflow_deploy_plugin.manifests.model import Deployment, Files

pytestmark = [pytest.mark.e2e, pytest.mark.slow]
Make = Callable[..., Deployment]


def assert_no_failure(told: Mapping[str, Any]) -> None:
    assert told["answers"].keys() == {"200"}, told
    assert told["answers"]["200"] > 200
    assert told["failed"] == 0


def test_200_weight_changes_an_added_and_a_removed_version_fail_no_request(machine: Any, make_deployment: Make) -> None:
    machine.start()
    machine.create(make_deployment("churn"))
    (listener,) = machine.home.root.rglob("lds.json")
    written = listener.stat()
    with machine.load() as told:
        machine.join(make_deployment("churn-v2"), weight=100)
        before = machine.repository.files(machine.said.applied)
        changes = [split_of(before, 10 + number * 37 % 900) for number in range(200)]
        for number, pushed in enumerate(machine.push_each(changes)):
            if number < 50:  # one by one; the others as quick as somebody can push
                assert machine.wait(pushed) == client.Applied()
            else:
                time.sleep(0.05)
        assert machine.wait(pushed) == client.Applied()
        sha = machine.apply(drop_canary)
        machine.until(lambda: "churn-v2" not in machine.said.deployments)
    assert_no_failure(told)
    assert told["versions"].keys() == {"churn", "churn-v2"}
    assert machine.said.endpoints["churn"].weights == {"churn": 1000}
    assert machine.said.applied == sha
    assert machine.log().count(" applied") > 55
    assert (listener.stat().st_ino, listener.stat().st_mtime_ns) == (written.st_ino, written.st_mtime_ns)


def split_of(before: Files, weight: int) -> Files:
    """The file that differs when the canary has ``weight``."""
    after = manifests.set_split(before, "production", "churn", {"churn": 1000 - weight, "churn-v2": weight})
    return {path: text for path, text in after.items() if before[path] != text}


def drop_canary(files: Any) -> Any:
    files = manifests.set_split(files, "production", "churn", {"churn": 1000, "churn-v2": 0})
    return manifests.remove_deployment(files, "production", "churn-v2")


def test_an_update_replaces_the_model_in_place_and_fails_no_request(machine: Any, make_deployment: Make) -> None:
    machine.start()
    old = make_deployment("churn", replicas=2)
    machine.create(old)
    before = machine.pids("churn")
    with machine.load() as told:
        new = make_deployment("churn", digest="b" * 64, replicas=2, environment={"FAKE": "slow=1"})
        machine.apply(lambda files: manifests.replace_deployment(files, new))
        machine.until(lambda: not any(is_alive(pid) for pid in before))
    assert_no_failure(told)
    assert len(machine.pids("churn")) == 2


def test_more_and_fewer_replicas_fail_no_request(machine: Any, make_deployment: Make) -> None:
    machine.start()
    one = make_deployment("churn")
    machine.create(one)
    before = machine.pids("churn")
    with machine.load() as told:
        machine.apply(lambda files: manifests.replace_deployment(files, replace(one, replicas=3)))
        assert len(machine.pids("churn")) == 3
        machine.apply(lambda files: manifests.replace_deployment(files, one))
        machine.until(lambda: machine.pids("churn") == before)
    assert_no_failure(told)


def test_a_killed_worker_of_two_costs_no_request_and_is_replaced(machine: Any, make_deployment: Make) -> None:
    machine.start()
    machine.create(make_deployment("churn", replicas=2))
    with machine.load() as told:
        for _ in range(3):
            victim, survivor = machine.pids("churn")
            os.kill(victim, signal.SIGKILL)
            machine.until(lambda survivor=survivor, victim=victim: is_replaced(machine, victim, survivor))
    assert_no_failure(told)


def is_replaced(machine: Any, victim: int, survivor: int) -> bool:
    workers = machine.said.deployments["churn"].workers
    pids = [worker.pid for worker in workers]
    return len(pids) == 2 and victim not in pids and survivor in pids and {w.state for w in workers} == {"ready"}


def test_a_canary_that_dies_again_and_again_costs_its_users_nothing(machine: Any, make_deployment: Make) -> None:
    machine.start()
    machine.create(make_deployment("churn"))
    machine.join(make_deployment("churn-v2"), weight=500)
    with machine.load() as told:
        for _ in range(4):
            (victim,) = machine.pids("churn-v2")
            os.kill(victim, signal.SIGKILL)
            machine.until(lambda victim=victim: has_successor(machine, victim))
    assert_no_failure(told)
    assert told["versions"].keys() == {"churn", "churn-v2"}


def has_successor(machine: Any, victim: int) -> bool:
    workers = machine.said.deployments["churn-v2"].workers
    return [worker.state for worker in workers if worker.pid != victim] == ["ready"]


def test_a_killed_agent_is_not_noticed_and_the_next_one_adopts_everything(machine: Any, make_deployment: Make) -> None:
    agent = machine.start()
    machine.create(make_deployment("churn", replicas=2))
    envoy, workers = machine.said.envoy, machine.pids("churn")
    with machine.load() as told:
        agent.kill()
        agent.wait()
        assert machine.status() is None
        sha = machine.commit(lambda files: manifests.add_deployment(files, make_deployment("churn-v2"), weight=100))
        assert machine.ask().status == 200
        machine.start()
        assert machine.wait(sha) == client.Applied()
        assert (machine.said.envoy, machine.pids("churn")) == (envoy, workers)
    assert_no_failure(told)


def test_an_agent_that_is_killed_while_a_version_arrives_is_carried_on(machine: Any, make_deployment: Make) -> None:
    agent = machine.start()
    machine.create(make_deployment("churn"))
    slow = make_deployment("churn-v2", environment={"FAKE": "slow=2"})
    with machine.load() as told:
        sha = machine.commit(lambda files: manifests.add_deployment(files, slow, weight=100))
        machine.until(lambda: bool(machine.said.pending) and bool(machine.pids("churn-v2")))
        starting = machine.pids("churn-v2")
        agent.kill()
        agent.wait()
        machine.start()
        assert machine.wait(sha) == client.Applied()
        assert machine.pids("churn-v2") == starting
    assert_no_failure(told)


def test_a_killed_envoy_is_back_soon(machine: Any, make_deployment: Make, record_property: Any) -> None:
    machine.start()
    machine.create(make_deployment("churn"))
    envoy = machine.said.envoy
    os.kill(envoy, signal.SIGKILL)
    machine.until(lambda: not is_alive(envoy))
    back_s = machine.until(lambda: answers(machine), timeout_s=20)
    record_property("envoy_back_s", back_s)
    assert machine.said.applied == machine.repository.head().sha


def answers(machine: Any) -> bool:
    try:
        return bool(machine.ask().status == 200)
    except OSError:
        return False


def is_alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as stat:  # noqa: PTH123
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_worker_that_hangs_is_given_up_and_the_request_asked_again(machine: Any, make_deployment: Make) -> None:
    machine.start()
    machine.create(make_deployment("churn", replicas=2, environment={"MODELSERVE_TIMEOUT_S": "0.1"}))
    hanging = machine.pids("churn")[0]
    os.kill(hanging, signal.SIGSTOP)
    try:
        with ThreadPoolExecutor(8) as users:
            answers = [answer.status for answer in users.map(lambda _: machine.ask(), range(8))]
    finally:
        os.kill(hanging, signal.SIGCONT)
    assert answers == [200] * 8


def test_a_large_request_is_asked_again_elsewhere_when_its_worker_dies(machine: Any, make_deployment: Make) -> None:
    """Of 12 MiB, above the listener's own buffer."""
    machine.start()
    machine.create(make_deployment("churn"))
    machine.join(make_deployment("churn-v2"), weight=999)
    killed = [machine.ask(body=b" " * 12 * 2**20, x_fake="exit-of=churn-v2") for _ in range(3)]
    assert [answer.status for answer in killed] == [200, 200, 200]
    assert {answer.json["bytes"] for answer in killed} == {12 * 2**20}
