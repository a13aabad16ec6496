"""A canary beside a baseline as people meet it: rollout.yaml, ticks, commits, and both ends."""

from argparse import Namespace
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from mlflow_deploy_plugin.packaging.machine import FakeMachine, Free
from pipelines.cli import main
from pipelines.commands import room, ticks
from pipelines.monitoring.prometheus import Vector
from pipelines.promotion.replaying import replay
from pipelines.registry.following import wanted

World = Any
MIB = 1024 * 1024

PLAN = """
apiVersion: modelserve.io/v1alpha1
kind: Rollout
metadata: {name: churn, annotations: {config.kubernetes.io/local-config: "true"}}
spec:
  baseline: true
  steps: [{weight: 20}, {weight: 40}, {weight: 100}]
  holdback: 0
  gates: {errors: {margin: 5, guardrail: 20, minimum_users: 50}}
"""
FILE = "stages/production/churn/churn-baseline.yaml"


@pytest.fixture
def begun(world: World) -> World:
    """The first step of a canary beside its baseline."""
    world.join(weight=0)
    world.change(lambda files: {**files, "stages/production/churn/rollout.yaml": PLAN})
    assert world.run("promote", "--endpoint", "churn") == 0
    return world


def tick(world: World, verb: str = "promote", *arguments: str) -> str:
    world.code = world.run(verb, "--endpoint", "churn", *arguments)
    return str(world.text)


def serve(world: World, users: int, prefix: str, **failing: float) -> None:
    world.traffic(
        world.people(users), prefix=prefix, failing={key.replace("_", "-"): rate for key, rate in failing.items()}
    )
    world.now += timedelta(minutes=10)


def test_plan_shows_the_baseline_and_writes_nothing(world: World) -> None:
    world.join(weight=0)
    world.change(lambda files: {**files, "stages/production/churn/rollout.yaml": PLAN})
    head = world.head
    said = tick(world, "plan")
    assert "churn-v2 begins at 20%, beside as fresh a copy of churn" in said
    assert "churn-baseline 0% → 20%" in said
    assert f"+++ {FILE}" in said
    assert "from churn to churn-baseline" in said
    assert world.head == head


def test_one_commit_makes_the_baseline_and_gives_it_the_share_of_the_canary(begun: World) -> None:
    route = begun.endpoint.route
    assert [(slot.deployment, slot.weight) for slot in route.backends] == [
        ("churn-v2", 200),
        ("churn", 600),
        ("churn-baseline", 200),
    ]
    assert route.baseline == "churn-baseline"
    copy, stable = begun.endpoint.deployments["churn-baseline"], begun.endpoint.deployments["churn"]
    assert (copy.model, copy.image) == (stable.model, stable.image)
    commit = begun.repository.head()
    assert commit.trailers.to == "churn=60,churn-v2=20,churn-baseline=20"
    decided, is_same = replay(begun.repository.files(commit.sha)[commit.trailers.evidence])
    assert is_same
    assert decided.decision.baseline == "churn-baseline"


def test_a_proven_canary_grows_with_its_baseline_and_takes_over_without_it(begun: World) -> None:
    serve(begun, 1500, "a")
    tick(begun)
    assert begun.weights == {"churn-v2": 400, "churn": 200, "churn-baseline": 400}
    said = tick(begun, "status")
    assert "baseline: churn-baseline, 40%, a copy of churn" in said
    assert "gate churn-baseline errors: successful" in said
    serve(begun, 1500, "b")
    tick(begun)
    assert begun.weights == {"churn-v2": 1000}
    assert set(begun.endpoint.deployments) == {"churn", "churn-v2"}
    assert begun.endpoint.route.baseline == ""
    assert FILE not in begun.repository.files(begun.head)


def test_a_plan_that_wants_it_no_more_removes_the_baseline_with_the_next_step(begun: World) -> None:
    plan = PLAN.replace("  baseline: true\n", "").replace("{weight: 40}", "{weight: 70}")
    begun.change(lambda files: {**files, "stages/production/churn/rollout.yaml": plan})
    serve(begun, 1500, "a")
    tick(begun)
    assert begun.weights == {"churn-v2": 700, "churn": 300}
    assert (set(begun.endpoint.deployments), begun.endpoint.route.baseline) == ({"churn", "churn-v2"}, "")


def test_users_move_from_stable_alone_while_both_grow(begun: World) -> None:
    serve(begun, 1500, "a")
    said = tick(begun, "plan")
    assert "from churn to churn-v2" in said
    assert "from churn to churn-baseline" in said
    assert "from churn-v2" not in said
    assert "from churn-baseline" not in begun.text


def test_a_bad_canary_goes_back_and_the_baseline_with_it(begun: World) -> None:
    serve(begun, 1500, "a", churn_v2=0.5)
    tick(begun)
    assert begun.code == 1
    assert begun.weights == {"churn": 1000}
    assert set(begun.endpoint.deployments) == {"churn", "churn-v2"}
    assert [hold.deployment for hold in begun.endpoint.route.holds] == ["churn-v2"]
    assert begun.endpoint.route.baseline == ""


def test_what_both_young_ones_suffer_holds(begun: World) -> None:
    serve(begun, 1500, "a", churn_v2=0.15, churn_baseline=0.15)
    head = begun.head
    assert "baseline churn-baseline is worse than stable churn with the same model" in tick(begun)
    assert begun.head == head


def test_a_person_takes_the_canary_back_and_cannot_hold_stable_by_its_copy(begun: World) -> None:
    tick(begun, "rollback", "--deployment", "churn-baseline")
    assert begun.code == 2
    assert "is the baseline of a rollout" in begun.warned[0]
    assert "rolled back churn-v2" in tick(begun, "rollback")
    assert set(begun.endpoint.deployments) == {"churn", "churn-v2"}


@pytest.mark.parametrize("verb", ["plan", "promote"])
def test_a_baseline_that_does_not_fit_is_refused_before_the_canary_starts(world: World, verb: str) -> None:
    world.join(weight=0)
    world.change(lambda files: {**files, "stages/production/churn/rollout.yaml": PLAN})
    world.machine = FakeMachine(free=Free(100 * MIB, "the test"), models={"churn:0000000000000001": 300 * MIB})
    head = world.head
    tick(world, verb)
    assert world.code == 2
    assert "churn-baseline 300 MiB by the size of its model need at least 300 MiB together" in world.warned[0]
    assert "this machine has 100 MiB left (the test)" in world.warned[0]
    assert "promote --override" in world.warned[0]
    assert world.head == head
    assert world.run("promote", "--endpoint", "churn", "--override", "the night is quiet") == 0
    assert "override (the night is quiet)" in world.repository.head().trailers.reason


def test_nobody_is_asked_about_the_gpus_of_a_baseline(begun: World) -> None:
    path, asked = "stages/production/churn/rollout.yaml", list[str]()

    class Asked:
        def query(self, expression: str, at: datetime) -> Vector:  # noqa: ARG002
            asked.append(expression)
            return {}

    gpu = PLAN.replace("gates: {", "gates: {gpu: [{guardrail: 90}], ")
    begun.change(lambda files: {**files, path: gpu})
    serve(begun, 300, "a")
    doors = replace(begun.doors, open_prometheus=lambda _: Asked())
    assert main(["promote", "--endpoint", "churn", "--prometheus", "http://p.invalid"], doors=doors) == 0
    assert asked
    assert not [each for each in asked if "churn-baseline" in each]


def test_a_tree_is_not_read_for_a_machine_that_nobody_knows(world: World) -> None:
    world.join(weight=0)
    world.change(lambda files: {**files, "stages/production/churn/rollout.yaml": PLAN})
    found = ticks.look(Namespace(target="modelserve", endpoint="churn", source="events", events=None), world.doors)

    class Elsewhere:
        def machine(self) -> None:
            return None

    room.require(Elsewhere(), found.wish(), lambda: pytest.fail("it was read"), now=world.now)


def test_plan_says_what_starts_and_where_nobody_knows_what_is_left(world: World) -> None:
    world.join(weight=0)
    world.change(lambda files: {**files, "stages/production/churn/rollout.yaml": PLAN})
    assert "starts: churn-baseline (1 x undeclared memory); where it runs is not this machine" in tick(world, "plan")
    world.machine = FakeMachine(free=Free(900 * MIB, "the test"))
    assert "; 900 MiB are left (the test)" in tick(world, "plan")


def test_drift_counts_the_users_of_a_baseline_for_neither_arm(begun: World) -> None:
    serve(begun, 1500, "a")
    assert begun.drift() == 0
    assert "users were first seen under a split without a control" not in begun.text


def test_the_registry_knows_one_challenger(begun: World) -> None:
    assert wanted("production", [(begun.endpoint, begun.head)]).aliases == {
        "churn": {"champion": "1", "challenger": "2"}
    }
