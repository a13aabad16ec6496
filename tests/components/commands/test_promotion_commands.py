import json
import re
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from pipelines.cli import main
from pipelines.monitoring.counter_source import selectors
from pipelines.monitoring.gpu_source import TOTAL, USED
from pipelines.monitoring.prometheus import CannedPrometheus

World = Any

PLAN = """
apiVersion: modelserve.io/v1alpha1
kind: Rollout
metadata: {name: churn, annotations: {config.kubernetes.io/local-config: "true"}}
spec:
  steps:
    - {weight: 10, pause: 5m}
    - {weight: 50, pause: 5m, approval: true}
    - weight: 100
  gates:
    errors: {margin: 5, guardrail: 20}
  holdback: 0
"""


@pytest.fixture
def planned(world: World) -> World:
    """The plan is in the tree, and version 2 stands beside stable without users."""
    world.join(weight=0)
    world.change(lambda files: {**files, "stages/production/churn/rollout.yaml": PLAN})
    return world


def tick(world: World, verb: str = "promote", *arguments: str) -> int:
    return int(world.run(verb, "--endpoint", "churn", *arguments))


def serve(world: World, users: int, prefix: str, **options: Any) -> None:
    """Users at the present split, and then ten minutes later."""
    world.traffic(world.people(users), prefix=prefix, **options)
    world.now += timedelta(minutes=10)


def test_without_a_plan_nothing_is_promoted(world: World) -> None:
    world.join(weight=0)
    assert tick(world) == 0
    assert "rollout.yaml has no plan" in world.text


def test_a_good_canary_goes_from_nothing_to_everything_by_ticks_and_one_approval(planned: World) -> None:
    world = planned
    assert tick(world) == 0
    assert world.weights == {"churn": 900, "churn-v2": 100}
    assert world.endpoint.route.phase == "progressing"
    head = world.head
    assert tick(world) == 0
    assert world.text.startswith("unchanged: pause")
    assert world.head == head
    serve(world, 2500, "a")
    assert tick(world) == 0
    assert world.weights == {"churn": 500, "churn-v2": 500}
    serve(world, 800, "b")
    assert tick(world) == 0
    assert "needs an approval" in world.text
    assert tick(world, "approve", "--reason", "looks fine") == 0
    assert tick(world) == 0
    assert world.weights == {"churn-v2": 1000}
    assert world.endpoint.route.stable == "churn-v2"
    assert world.endpoint.route.phase == "successful"
    commit = world.repository.head()
    assert (commit.trailers.action, commit.trailers.to) == ("promote", "churn-v2=100")
    assert tick(world) == 0
    assert world.text.startswith("unchanged")


def test_a_failing_canary_is_aborted_held_and_not_begun_again(planned: World) -> None:
    world = planned
    tick(world)
    serve(world, 1500, "a", failing={"churn-v2": 0.6})
    assert tick(world) == 1
    assert world.weights == {"churn": 1000}
    assert world.endpoint.route.hold.deployment == "churn-v2"
    head = world.head
    assert tick(world) == 0
    assert "unchanged: churn-v2 is held" in world.text
    assert world.head == head


def test_the_evidence_of_a_step_replays(planned: World, tmp_path: Any) -> None:
    world = planned
    tick(world)
    commit = world.repository.head()
    path = tmp_path / "evidence.json"
    path.write_text(world.repository.files(commit.sha)[commit.trailers.evidence])
    assert world.run("replay", str(path)) == 0
    assert json.loads(world.text)["decision"]["kind"] == "Advance"


def test_plan_shows_the_diff_and_who_would_move_and_writes_nothing(planned: World) -> None:
    world = planned
    head = world.head
    assert tick(world, "plan") == 0
    assert "commit: churn: canary churn-v2 0% → 10%, churn 100% → 90%" in world.text
    assert "+          weight: 100" in world.text
    assert re.search(r"of 100,000 sampled users (9,[6-9]|10,[0-4])\d\d move", world.text)
    assert world.head == head


def test_status_says_what_the_next_tick_would_do(planned: World) -> None:
    assert tick(planned, "status") == 0
    assert "next: advance: churn-v2 begins at 10%" in planned.text
    assert tick(planned, "status", "--json") == 0
    assert json.loads(planned.text)["decision"]["weight"] == 100


def test_a_posterior_is_told_with_its_warning_and_decides_nothing(planned: World) -> None:
    world = planned
    tick(world)
    serve(world, 1500, "a", failing={"churn-v2": 0.3})
    assert tick(world, "status") == 0
    plain = world.text
    assert "posterior" not in plain
    assert tick(world, "status", "--bayes") == 0
    (told,) = [line for line in world.text.splitlines() if line.startswith("posterior errors: ")]
    assert "better with probability 0.000, expected loss 2" in told or "expected loss 3" in told
    assert told.endswith("(not safe under peeking)")
    assert world.text.startswith(plain)


def test_a_rival_who_moves_the_split_first_is_not_overwritten(planned: World) -> None:
    world = planned
    world.repository.rivals.append(lambda _: world.split(churn=700, churn_v2=300))
    assert tick(world) == 2
    assert "superseded" in world.warned[0]
    assert world.weights == {"churn": 700, "churn-v2": 300}
    assert tick(world) == 0
    assert "paused (manual)" in world.text


def test_a_frozen_endpoint_waits_until_it_is_approved(world: World) -> None:
    world.join(weight=100)
    world.change(lambda files: {**files, "stages/production/churn/rollout.yaml": PLAN})
    world.traffic(world.people(1500, age=60.0))
    world.drift("--revert")
    assert world.endpoint.route.phase == "frozen"
    assert tick(world) == 0
    assert "promotion is frozen" in world.text
    tick(world, "approve")
    assert tick(world) == 0
    assert world.endpoint.route.phase == "progressing"


def test_a_wrong_plan_is_refused_with_its_field(planned: World) -> None:
    planned.change(lambda files: {**files, "stages/production/churn/rollout.yaml": PLAN.replace("pause", "wait", 1)})
    assert tick(planned) == 2
    assert "rollout.yaml: spec.steps.0.wait" in planned.warned[0]


def test_schema_prints_every_field_with_its_reason(world: World) -> None:
    assert world.run("schema") == 0
    assert "least time at this weight" in world.text


def scraped(world: World, prometheus: CannedPrometheus, *, failing: int) -> None:
    """Ten minutes of counters since now; of 100 requests a minute ``failing`` fail on the canary, 1 on stable."""
    for minute in range(11):
        for arm, failures in (("churn", 1), ("churn-v2", failing)):
            chosen = selectors("model", arm)
            at = world.now + timedelta(minutes=minute)
            prometheus.record(chosen.alive, at, 1, instance="a")
            prometheus.record(chosen.requests, at, 100 * minute, instance="a")
            prometheus.record(chosen.failures, at, failures * minute, instance="a")
    world.now += timedelta(minutes=10)


@pytest.mark.parametrize(("failing", "code", "said"), [(1, 0, "does not promote"), (60, 1, "assumes independence")])
def test_prometheus_holds_or_aborts_and_never_promotes(planned: World, failing: int, code: int, said: str) -> None:
    world, prometheus = planned, CannedPrometheus()
    world.now = world.repository.head().time
    tick(world)
    world.now = world.repository.head().time
    scraped(world, prometheus, failing=failing)
    doors = replace(world.doors, open_prometheus=lambda _: prometheus.client())
    arguments = ["promote", "--endpoint", "churn", "--source", "prometheus=http://prometheus.invalid"]
    world.said.clear()
    assert main(arguments, doors=doors) == code, world.warned
    assert said in world.text
    assert world.weights == ({"churn": 1000} if code else {"churn": 900, "churn-v2": 100})


def test_a_full_gpu_takes_a_canary_back_and_the_evidence_says_what_was_read(planned: World) -> None:
    world, prometheus = planned, CannedPrometheus()
    path = "stages/production/churn/rollout.yaml"
    gpu = "    gpu: [{guardrail: 90}]\n"
    world.change(lambda files: {**files, path: files[path].replace("  gates:\n", f"  gates:\n{gpu}")})
    tick(world)
    for second in range(0, 300, 15):
        for gauge, size in ((USED, 79e9), (TOTAL, 80e9)):
            at = world.now - timedelta(seconds=second)
            prometheus.record(f'{gauge}{{model_version="churn-v2"}}', at, size, gpu="GPU-0")
    doors = replace(world.doors, open_prometheus=lambda _: prometheus.client())
    assert main(["promote", "--endpoint", "churn", "--prometheus", "http://p.invalid"], doors=doors) == 1
    assert world.weights == {"churn": 1000}
    commit = world.repository.head()
    evidence = json.loads(world.repository.files(commit.sha)[commit.trailers.evidence])
    (gate,) = [gate for gate in evidence["findings"]["gates"] if gate["gate"] == "gpu memory"]
    assert gate["numbers"] == {"lowest": 0.9875, "highest": 0.9875, "threshold": 0.9, "readings": 20}
    assert '[model_gpu_memory_used_bytes{model_version="churn-v2"}]' in gate["reason"]


@pytest.mark.parametrize("verb", ["status", "plan", "promote"])
def test_a_tick_looks_at_the_repository_once(planned: World, verb: str) -> None:
    tick(planned)
    serve(planned, 300, "a")
    prometheus = CannedPrometheus()
    doors = replace(planned.doors, open_prometheus=lambda _: prometheus.client())
    for source in ("events", "prometheus=http://p.invalid"):
        planned.repository.fetches = 0
        assert main([verb, "--endpoint", "churn", "--source", source], doors=doors) == 0
        assert planned.repository.fetches == 1


def test_a_prometheus_that_is_away_changes_nothing_and_is_tried_later(planned: World) -> None:
    world, prometheus = planned, CannedPrometheus(is_away=True)
    tick(world)
    head = world.head
    doors = replace(world.doors, open_prometheus=lambda _: prometheus.client())
    assert main(["promote", "--endpoint", "churn", "--source", "prometheus=http://p.invalid"], doors=doors) == 75
    assert world.head == head


@pytest.mark.parametrize("source", ["prometheus", "prometheus=", "graphite=http://x", "events=here"])
def test_a_source_that_is_none_is_refused(planned: World, source: str) -> None:
    tick(planned)
    assert tick(planned, "promote", "--source", source) == 2
    assert "is not known; write events, or prometheus=" in planned.warned[0]


def test_the_evidence_has_every_gate_with_its_users_and_the_plan_with_its_thresholds(planned: World) -> None:
    world = planned
    path = "stages/production/churn/rollout.yaml"
    more = (
        "    latency: [{quantile: 0.99, relative_margin: 20}]\n    labels: {margin: 5}\n"
        "    metrics: [{metric: label, margin: 0.5}]\n"
    )
    world.change(lambda files: {**files, path: files[path].replace("  gates:\n", f"  gates:\n{more}")})
    tick(world)
    serve(world, 1500, "a", failing={"churn-v2": 0.6}, wrong={"churn": 0.1, "churn-v2": 0.1})
    assert tick(world) == 1
    commit = world.repository.head()
    evidence = json.loads(world.repository.files(commit.sha)[commit.trailers.evidence])
    gates = {gate["gate"]: gate["numbers"] for gate in evidence["findings"]["gates"]}
    assert gates.keys() == {"errors", "p99", "labels", "label"}
    assert all({"stable_users", "canary_users", "alpha"} <= numbers.keys() for numbers in gates.values())
    assert gates["errors"]["canary_low"] > gates["errors"]["guardrail"] == 0.2
    assert gates["labels"]["low"] < gates["labels"]["difference"] < gates["labels"]["high"]
    assert (gates["p99"]["quantile"], gates["p99"]["canary_ms"]) == (0.99, 5.0)
    assert json.loads(evidence["plan"])["spec"]["gates"]["labels"] == {"margin": 5}
