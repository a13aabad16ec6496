"""Decisions of the engine, served: real Envoy, real processes, the real command, and load from another process."""

import os
import time
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from mlflow_deploy_plugin.agent import client
from mlflow_deploy_plugin.manifests.model import Deployment
from pipelines.cli import main
from pipelines.commands.doors import Doors

pytestmark = [pytest.mark.e2e, pytest.mark.slow]
Make = Callable[..., Deployment]

HEAD = """
apiVersion: modelserve.io/v1alpha1
kind: Rollout
metadata: {name: churn, annotations: {config.kubernetes.io/local-config: "true"}}
spec: """
BLUE_GREEN = "{strategy: blue-green, approval: false, keep_warm: 1h}\n"
BASELINE = "{baseline: true, steps: [{weight: 20}, {weight: 100}]}\n"


def run(machine: Any, verb: str) -> str:
    """One command on the machine's repository, and what it said; its commit is served on return."""
    said: list[str] = []
    environment = {**os.environ, "MODELSERVE_HOME": str(machine.home.root)}
    real = Doors.real(environment)
    doors = Doors(
        environment=environment,
        open_target=real.open_target,
        open_events=real.open_events,
        now=real.now,
        identity=real.identity,
        say=said.append,
        warn=said.append,
    )
    target = f"modelserve:{machine.home.repository}?stage=production"
    assert main([verb, "--endpoint", "churn", "--target", target], doors=doors) == 0, said
    machine.repository.fetch()
    head = machine.repository.head()
    assert machine.wait(head.sha) == client.Applied(), machine.log()
    return "\n".join(said)


def plan(machine: Any, text: str) -> None:
    machine.apply(lambda files: {**files, "stages/production/churn/rollout.yaml": HEAD + text})


def users(machine: Any) -> Mapping[str, int]:
    return {name: weight for name, weight in machine.said.endpoints["churn"].weights.items() if weight}


def test_a_blue_green_switch_and_the_way_back_fail_no_request(
    machine: Any, make_deployment: Make, record_property: Any
) -> None:
    machine.start()
    machine.create(make_deployment("churn"))
    machine.join(make_deployment("churn-v2"), weight=0)
    plan(machine, BLUE_GREEN)
    before = (machine.pids("churn"), machine.pids("churn-v2"))
    with machine.load() as told:
        assert "churn-v2 is ready and takes over at once" in run(machine, "promote")
        assert users(machine) == {"churn-v2": 1000}
        assert {machine.ask(user=f"u{number}").version for number in range(20)} == {"churn-v2"}
        assert "rolled back churn-v2" in run(machine, "rollback")
        committed = machine.repository.head().time.timestamp()
        record_property("back_within_s", time.time() - committed)  # git's times are whole seconds
        assert users(machine) == {"churn": 1000}
        assert {machine.ask(user=f"u{number}").version for number in range(20)} == {"churn"}
    assert told["answers"].keys() == {"200"}, told
    assert told["versions"].keys() == {"churn", "churn-v2"}
    assert (machine.pids("churn"), machine.pids("churn-v2")) == before


def test_a_baseline_comes_and_goes_with_its_canary_and_fails_no_request(machine: Any, make_deployment: Make) -> None:
    machine.start()
    machine.create(make_deployment("churn"))
    machine.join(make_deployment("churn-v2", replicas=2), weight=0)
    copy = make_deployment("churn")
    plan(machine, BASELINE)
    with machine.load() as told:
        assert "beside as fresh a copy of churn" in run(machine, "promote")
        assert users(machine) == {"churn": 600, "churn-v2": 200, "churn-baseline": 200}
        served = machine.said.deployments["churn-baseline"]
        assert (served.bento, len(served.workers)) == (copy.model.bento, 2)
        assert {machine.ask(user=f"u{number}").version for number in range(200)} == set(users(machine))
        assert "rolled back churn-v2" in run(machine, "rollback")
        machine.until(lambda: "churn-baseline" not in machine.said.deployments)
        assert users(machine) == {"churn": 1000}
    assert told["answers"].keys() == {"200"}, told
    assert told["versions"].keys() == {"churn", "churn-v2", "churn-baseline"}
