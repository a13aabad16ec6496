"""Strategies as people meet them: rollout.yaml, ticks, commits."""

import json
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from mlflow_deploy_plugin.manifests.split import assign

World = Any

HEAD = """
apiVersion: modelserve.io/v1alpha1
kind: Rollout
metadata: {name: churn, annotations: {config.kubernetes.io/local-config: "true"}}
spec:
"""
GATES = "  gates: {errors: {margin: 5, guardrail: 20, minimum_users: 50}}\n"
CANARY = "  steps: [{weight: 50}, {weight: 100}]\n" + GATES
SHADOW = """
  strategy: shadow
  percent: 50
  length: 5m
  gates: {agreement: {bound: 5}, errors: {margin: 10}}
  then: canary
  steps: [{weight: 50}, {weight: 100}]
  holdback: 0
"""
AB = """
  strategy: ab
  experiment: colours
  arms: [{deployment: churn-v2, weight: 25}, {deployment: churn-v3, weight: 25}]
  success: {metric: labels, minimum_effect: 10, baseline: 40, minimum_users: 100}
  gates: {errors: {margin: 10}}
  holdback: 0
  keep_warm: 1h
"""


def plan(world: World, text: str) -> None:
    world.change(lambda files: {**files, "stages/production/churn/rollout.yaml": HEAD + text})


def tick(world: World, verb: str = "promote", *arguments: str) -> str:
    world.code = world.run(verb, "--endpoint", "churn", *arguments)
    return str(world.text)


def serve(world: World, users: int, prefix: str, **options: Any) -> None:
    world.traffic(world.people(users), prefix=prefix, **options)
    world.now += timedelta(minutes=10)


def replays(world: World, tmp_path: Path) -> bool:
    commit = world.repository.head()
    path = tmp_path / "evidence.json"
    path.write_text(world.repository.files(commit.sha)[commit.trailers.evidence])
    return bool(world.run("replay", str(path)) == 0)


def test_a_shadow_is_copied_agrees_and_goes_on_as_a_canary(world: World, tmp_path: Path) -> None:
    world.join(weight=0)
    plan(world, SHADOW)
    tick(world)
    assert (world.endpoint.route.mirror.deployment, world.endpoint.route.mirror.share) == ("churn-v2", 500)
    assert world.weights == {"churn": 1000}
    assert world.repository.head().subject.startswith("churn: shadow churn-v2 at 50%, the split stays")
    assert "pause" in tick(world)
    serve(world, 900, "a")
    assert "shadow: churn-v2 is sent copies of 50% of the requests" in tick(world, "status")
    tick(world)
    assert world.endpoint.route.mirror is None
    assert world.weights == {"churn-v2": 500, "churn": 500}
    assert "another prediction for 0.00%" in world.repository.head().trailers.reason
    assert replays(world, tmp_path)
    serve(world, 1500, "b")
    tick(world)
    assert world.weights == {"churn-v2": 1000}


def test_a_shadow_that_disagrees_is_taken_out_and_held(world: World, tmp_path: Path) -> None:
    world.join(weight=0)
    plan(world, SHADOW)
    tick(world)
    world.differing = 0.4
    serve(world, 900, "a")
    tick(world)
    assert world.code == 1
    assert world.endpoint.route.mirror is None
    assert world.endpoint.route.hold.deployment == "churn-v2"
    assert world.weights == {"churn": 1000}
    assert replays(world, tmp_path)
    head = world.head
    assert "held" in tick(world)
    assert world.head == head


def test_a_person_takes_a_shadow_out_too(world: World) -> None:
    world.join(weight=0)
    plan(world, SHADOW)
    tick(world)
    assert "rolled back churn-v2" in tick(world, "rollback")
    assert world.endpoint.route.mirror is None
    assert world.endpoint.route.hold.deployment == "churn-v2"


def test_an_experiment_finds_its_winner_and_the_losers_leave(world: World, tmp_path: Path) -> None:
    world.join(weight=0)
    world.join(weight=0, name="churn-v3", version=3)
    plan(world, AB)
    told = tick(world, "plan", "--users-per-day", "2000")
    assert "forecast: success (labels): to find 10 pp, about " in told
    assert re.search(r"of each arm; expected after \d\.\d days, late after \d\.\d days", told)
    tick(world)
    backends = [(slot.deployment, slot.weight) for slot in world.endpoint.route.backends]
    assert backends == [("churn-v2", 250), ("churn", 500), ("churn-v3", 250)]
    assert world.repository.head().subject.startswith("churn: experiment begins, churn-v2 0% → 25%")
    serve(world, 1600, "a", wrong={"churn": 0.4, "churn-v2": 0.4, "churn-v3": 0.1})
    tick(world)
    assert world.weights == {"churn-v3": 1000}
    assert world.endpoint.route.stable == "churn-v3"
    assert "success (labels)" in world.repository.head().trailers.reason
    assert replays(world, tmp_path)
    assert "is over" in tick(world)
    world.now += timedelta(hours=2)
    tick(world)
    assert list(world.endpoint.deployments) == ["churn-v3"]
    assert world.repository.head().trailers.action == "retire"
    assert tick(world).startswith("unchanged")


def test_an_experiment_takes_out_what_the_users_own_past_explains(world: World) -> None:
    world.join(weight=0)
    world.join(weight=0, name="churn-v3", version=3)
    people, past = world.people(1200), dict.fromkeys(["churn", "churn-v2", "churn-v3"], 0.0)
    plan(world, AB.replace("metric: labels, minimum_effect: 10, baseline: 40", "metric: label, minimum_effect: 1"))
    world._numbers = -600  # minutes before the experiment
    world.traffic(people, prefix="a", wrong=past)
    world._numbers = 0
    world.now = world.repository.head().time
    tick(world)
    world.traffic(people, prefix="a", wrong=past)
    world.now += timedelta(hours=1)
    plain = tick(world, "status")
    asked = AB.replace(
        "metric: labels, minimum_effect: 10, baseline: 40", "metric: label, minimum_effect: 1, before: 90d"
    )
    plan(world, asked)
    adjusted = tick(world, "status")
    assert "gate churn-v2 success (label)" in plain
    assert "adjusted by their past" not in plain
    assert "adjusted by their past" in adjusted


def test_the_arms_of_an_experiment_that_nobody_won_leave_by_a_commit(world: World) -> None:
    world.join(weight=0)
    world.join(weight=0, name="churn-v3", version=3)
    plan(world, AB + "  maximum_length: 1h\n")
    world.now = world.repository.head().time
    tick(world)
    world.now += timedelta(hours=2)
    assert "churn-v2, churn-v3 stay without users for 1:00:00 and then are removed" in tick(world)
    assert (world.weights, world.endpoint.route.phase) == ({"churn": 1000}, "inconclusive")
    assert "is over" in tick(world)
    world.now += timedelta(hours=2)
    assert "without users for 1:00:00 since the experiment" in tick(world)
    assert list(world.endpoint.deployments) == ["churn"]
    assert tick(world).startswith("unchanged")


def test_an_arm_that_fails_is_taken_out_as_the_tick_of_a_guard(world: World) -> None:
    world.join(weight=0)
    world.join(weight=0, name="churn-v3", version=3)
    plan(world, AB)
    tick(world)
    serve(world, 900, "a", failing={"churn-v2": 0.6})
    tick(world, "promote", "--only-aborts")
    assert world.weights == {"churn": 750, "churn-v3": 250}
    assert world.endpoint.route.hold.deployment == "churn-v2"


def test_blue_green_switches_goes_back_at_once_and_later_the_old_one_leaves(world: World) -> None:
    world.join(weight=0)
    plan(world, "  strategy: blue-green\n  keep_warm: 30m\n")
    assert "approve" in tick(world)
    tick(world, "approve")
    tick(world)
    assert world.weights == {"churn-v2": 1000}
    assert "rolled back churn-v2 to churn=100" in tick(world, "rollback", "--reason", "pager")
    assert world.weights == {"churn": 1000}
    world.now += timedelta(hours=1)
    assert tick(world).startswith("unchanged")
    assert set(world.endpoint.deployments) == {"churn", "churn-v2"}


def test_the_old_version_is_removed_after_its_time_and_a_rollback_brings_it_back_whole(world: World) -> None:
    world.join(weight=0)
    plan(world, "  strategy: blue-green\n  approval: false\n  keep_warm: 30m\n")
    tick(world)
    assert tick(world).startswith("unchanged")
    world.now += timedelta(hours=1)
    tick(world)
    assert list(world.endpoint.deployments) == ["churn-v2"]
    tick(world, "rollback")
    assert world.weights == {"churn": 1000}
    assert world.endpoint.deployments["churn"].model.version == "1"


def test_a_scaled_down_version_keeps_one_process(world: World) -> None:
    world.join(weight=0)
    plan(world, "  strategy: blue-green\n  approval: false\n  keep_warm: 30m\n  leftover: scale-down\n")
    file = "stages/production/churn/churn.yaml"
    world.change(lambda files: {**files, file: files[file].replace("replicas: 1", "replicas: 4")})
    tick(world)
    world.now += timedelta(hours=1)
    tick(world)
    assert world.endpoint.deployments["churn"].replicas == 1
    assert tick(world).startswith("unchanged")


def test_a_holdback_is_the_control_of_what_took_over(world: World) -> None:
    world.join(weight=0)
    plan(world, CANARY + "  holdback: 20\n")
    tick(world)
    serve(world, 900, "a")
    tick(world)
    assert world.weights == {"churn-v2": 800, "churn": 200}
    serve(world, 1200, "b")
    assert tick(world).startswith("unchanged")
    serve(world, 1200, "c", failing={"churn-v2": 0.6})
    tick(world)
    assert world.code == 1
    assert world.endpoint.route.stable == "churn"
    assert world.endpoint.route.hold.deployment == "churn-v2"
    assert world.repository.head().trailers.reason.startswith("after its promotion: errors")


def test_every_canary_meets_other_users_first_and_growth_moves_them_only_towards_it(world: World) -> None:
    world.join(weight=0)
    plan(world, "  steps: [{weight: 20}, {weight: 60}, {weight: 100}]\n" + GATES + "  holdback: 0\n")
    users = [f"user-{number}" for number in range(2000)]

    def on(name: str) -> set[str]:
        return {user for user in users if assign(user, world.endpoint.route) == name}

    tick(world)
    first = on("churn-v2")
    serve(world, 900, "a")
    tick(world)
    assert world.weights == {"churn-v2": 600, "churn": 400}
    assert first < on("churn-v2")
    tick(world, "rollback")
    world.join(weight=0, name="churn-v3", version=3)
    tick(world)
    second = on("churn-v3")
    assert 0.1 < len(first & second) / len(first) < 0.3


def test_a_person_s_rollback_with_a_holdback_takes_back_what_took_over(world: World) -> None:
    world.join(weight=0)
    plan(world, CANARY + "  holdback: 20\n")
    tick(world)
    serve(world, 900, "a")
    tick(world)
    assert "rolled back churn-v2" in tick(world, "rollback")
    assert world.endpoint.route.stable == "churn"


@pytest.fixture
def asking(world: World) -> World:
    """A step that asks for two people, not the author, and users who are fine."""
    world.join(weight=0)
    approvals = "  approvals: {count: 2, not_author: true}\n  holdback: 0\n"
    plan(world, CANARY.replace("{weight: 50}", "{weight: 50, approval: true}") + approvals)
    tick(world)
    serve(world, 900, "a")
    return world


def test_two_others_approve_and_the_author_and_a_second_word_do_not_count(asking: World) -> None:
    world = asking
    assert "needs 2 approvals by others than person@localhost, 2 more" in tick(world)
    world.me = "person@localhost"
    tick(world, "approve")
    assert world.code == 2
    assert "lets nobody approve their own" in world.warned[0]
    world.me = "ada@example.org"
    tick(world, "approve")
    assert tick(world, "approve").startswith("unchanged: ada@example.org has approved")
    assert "1 more; given by ada@example.org" in tick(world)
    assert "approved by bob" in tick(world, "approve", "--by", "Bob") or world.repository.head().trailers.by == "bob"
    tick(world)
    assert world.weights == {"churn-v2": 1000}


def test_a_later_change_voids_approvals(asking: World) -> None:
    world = asking
    for who in ("ada", "bob"):
        tick(world, "approve", "--by", who)
    file = "stages/production/churn/churn-v2.yaml"
    world.change(lambda files: {**files, file: files[file] + "# touched\n"})
    assert "2 more; given by nobody" in tick(world)


def test_an_override_passes_a_hold_and_is_recorded(world: World, tmp_path: Path) -> None:
    world.join(weight=500)
    plan(world, CANARY)
    tick(world, "rollback", "--reason", "was worse")
    assert "held: was worse" in tick(world)
    tick(world, "promote", "--override", "the feature is fixed")
    assert world.weights == {"churn-v2": 500, "churn": 500}
    assert world.endpoint.route.hold is None
    reason = world.repository.head().trailers.reason
    assert reason.startswith("override (the feature is fixed): ")
    assert replays(world, tmp_path)
    assert json.loads(world.text)["state"]["word"]["override"] == "the feature is fixed"


def test_an_override_passes_a_freeze_window(world: World) -> None:
    world.join(weight=0)
    plan(world, CANARY + "  freeze: [{reason: sale}]\n")
    assert "freeze window: sale" in tick(world)
    tick(world, "promote", "--override", "the sale needs it")
    assert world.weights == {"churn-v2": 500, "churn": 500}
    assert tick(world, "rollback").startswith("rolled back")


def test_drift_compares_what_took_over_with_its_holdback_and_takes_back_the_new_one(world: World) -> None:
    world.join(weight=0)
    plan(world, CANARY + "  holdback: 40\n")
    tick(world)
    serve(world, 900, "a", wrong={"churn": 0.1, "churn-v2": 0.1})
    tick(world)
    assert world.weights == {"churn-v2": 600, "churn": 400}
    serve(world, 1500, "b", wrong={"churn": 0.1, "churn-v2": 0.5})
    world.drift("--revert")
    assert "churn-v2 at fault" in world.text, world.text
    assert world.endpoint.route.stable == "churn"
    assert world.endpoint.route.hold.deployment == "churn-v2"
