"""The rollout as sentences: a decision for every state, and whole canaries in milliseconds."""

from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from typing import Any, get_args
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlflow_deploy_plugin.errors import ManifestError
from mlflow_deploy_plugin.manifests.model import Hold as HoldMark
from pipelines.analysis.arms import Arm, Missing, user_counts
from pipelines.analysis.gates import ErrorRatioGate
from pipelines.promotion import decide as engine
from pipelines.promotion.decision import Abort, Advance, Decision, Expire, Hold, Promote, Unchanged
from pipelines.promotion.observation import Observation, nothing
from pipelines.promotion.plan import Plan
from pipelines.promotion.schema import read_plan
from pipelines.promotion.simulator import TrafficSimulator
from pipelines.promotion.state import Candidate, State
from pipelines.promotion.strategies.blue_green import BlueGreen
from pipelines.promotion.strategies.canary import Canary, Step
from pipelines.promotion.terms import Expiry, FreezeWindow, NamedGate, Terms

NOW = datetime(2026, 1, 7, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


STEPS = (Step(weight=50, pause=HOUR), Step(weight=250, pause=HOUR), Step(weight=1000))


def make_plan(*, steps: tuple[Step, ...] = STEPS, strategy: Any = None, **fields: Any) -> Plan:
    defaults: dict[str, Any] = {"gates": (NamedGate(name="errors", gate=ErrorRatioGate(margin=0.01, guardrail=0.1)),)}
    return Plan(strategy=strategy or Canary(steps=steps), terms=Terms(**{**defaults, **fields}))


def make_state(*, weight: int = 50, **fields: Any) -> State:
    defaults: dict[str, Any] = {
        "endpoint": "churn",
        "stage": "production",
        "stable": "v3",
        "stable_weight": 1000 - weight,
        "candidates": (Candidate(deployment="v4", model_digest="sha256:4", weight=weight),),
        "rollout": "r1" if weight else "",
        "phase": "progressing" if weight else "",
        "since": NOW - 2 * HOUR if weight else None,
        "began": NOW - 2 * HOUR if weight else None,
    }
    return State(**{**defaults, **fields})


def candidate(name: str, weight: int = 0, **fields: Any) -> Candidate:
    return Candidate(deployment=name, model_digest=f"sha256:{name}", weight=weight, **fields)


def decide(plan: Plan, state: State, observation: Observation, now: datetime) -> Decision:
    return engine.decide(plan, state, (observation,), now)


def seen(*, canary: int = 0, stable: int = 0, users: int = 20000, share: float = 0.05, **fields: Any) -> Observation:
    ours = round(users * share)
    return Observation(
        stable=Arm(name="v3", errors=user_counts(users - ours, stable, shares=1 - share)),
        canary=Arm(name="v4", errors=user_counts(ours, canary, shares=share)),
        **fields,
    )


def test_without_a_second_version_nothing_changes() -> None:
    assert isinstance(decide(make_plan(), make_state(candidates=()), seen(), NOW), Unchanged)


def test_two_new_versions_are_named_and_nothing_changes() -> None:
    decision = decide(make_plan(), make_state(candidates=(candidate("v4"), candidate("v5"))), seen(), NOW)
    assert isinstance(decision, Unchanged)
    assert "v4, v5" in decision.reason
    held = HoldMark(deployment="v4", model_digest="sha256:v4", reason="was worse")
    state = make_state(candidates=(candidate("v4"), candidate("v5")), holds=(held,))
    assert "v4 (held), v5; remove one" in decide(make_plan(), state, seen(), NOW).reason


def test_a_new_version_begins_at_the_first_step() -> None:
    decision = decide(make_plan(), make_state(weight=0), nothing("v3", "v4"), NOW)
    assert isinstance(decision, Advance)
    assert (decision.step, decision.weight) == (0, 50)


def test_a_first_step_taken_by_hand_is_adopted() -> None:
    decision = decide(make_plan(), make_state(rollout=""), seen(users=100), NOW)
    assert isinstance(decision, Advance)
    assert (decision.step, decision.weight) == (0, 50)


def test_a_proven_canary_advances_after_its_pause() -> None:
    decision = decide(make_plan(), make_state(), seen(), NOW)
    assert isinstance(decision, Advance)
    assert (decision.step, decision.weight) == (1, 250)


def test_a_proven_canary_waits_for_its_pause() -> None:
    decision = decide(make_plan(), make_state(since=NOW - HOUR / 2), seen(), NOW)
    assert isinstance(decision, Hold)
    assert "0:30:00 left" in decision.reason


def test_a_clock_that_runs_backwards_only_waits_longer() -> None:
    assert isinstance(decide(make_plan(), make_state(since=NOW + HOUR), seen(), NOW), Hold)


def test_the_last_step_promotes() -> None:
    state = make_state(weight=250, step=1)
    assert isinstance(decide(make_plan(), state, seen(share=0.25), NOW), Promote)


def test_bake_time_holds_the_promotion_and_no_step_before_it() -> None:
    plan = make_plan(bake=timedelta(days=1))
    assert isinstance(decide(plan, make_state(), seen(), NOW), Advance)
    decision = decide(plan, make_state(weight=250, step=1), seen(share=0.25), NOW)
    assert isinstance(decision, Hold)
    assert "bake time" in decision.reason


def test_no_data_never_promotes() -> None:
    for observation in (nothing("v3", "v4"), seen(users=0), seen(users=100)):
        assert isinstance(decide(make_plan(), make_state(), observation, NOW), Hold)


def test_a_reset_counter_holds() -> None:
    observation = seen(missing=(Missing(reason="the canary's counter was reset"),))
    decision = decide(make_plan(), make_state(), observation, NOW)
    assert isinstance(decision, Hold)
    assert "reset" in decision.reason


def test_a_source_that_cannot_see_users_holds_what_it_could_promote_and_still_aborts() -> None:
    assert isinstance(decide(make_plan(), make_state(), seen(can_promote=False), NOW), Hold)
    assert isinstance(decide(make_plan(), make_state(), seen(canary=400, can_promote=False), NOW), Abort)


@pytest.mark.parametrize(
    "fields", [{}, {"phase": "frozen"}, {"since": NOW}, {"weight": 77}], ids=["running", "frozen", "paused", "by hand"]
)
def test_a_failed_gate_aborts_whatever_else_holds(fields: dict[str, Any]) -> None:
    window = FreezeWindow(zone=ZoneInfo("UTC"))
    assert isinstance(decide(make_plan(freezes=(window,)), make_state(**fields), seen(canary=400), NOW), Abort)


def test_a_frozen_endpoint_holds() -> None:
    decision = decide(make_plan(), make_state(phase="frozen"), seen(), NOW)
    assert isinstance(decision, Hold)
    assert "the world moved" in decision.reason


def test_a_freeze_window_holds_and_says_its_reason() -> None:
    window = FreezeWindow(zone=ZoneInfo("Europe/Berlin"), days=("wed",), begin=time(12), end=time(14), reason="lunch")
    decision = decide(make_plan(freezes=(window,)), make_state(), seen(), NOW)
    assert isinstance(decision, Hold)
    assert decision.reason == "freeze window: lunch"
    assert isinstance(decide(make_plan(freezes=(window,)), make_state(), seen(), NOW + 2 * HOUR), Advance)


def test_a_version_on_hold_is_not_begun_again_until_the_hold_ends() -> None:
    hold = HoldMark(deployment="v4", model_digest="sha256:4", reason="was worse", until=NOW + HOUR)
    state = make_state(weight=0, holds=(hold,))
    assert isinstance(decide(make_plan(), state, nothing("v3", "v4"), NOW), Hold)
    assert isinstance(decide(make_plan(), state, nothing("v3", "v4"), NOW + HOUR), Advance)


def test_a_hold_on_another_model_of_that_name_does_not_count() -> None:
    hold = HoldMark(deployment="v4", model_digest="sha256:old", reason="was worse")
    assert isinstance(decide(make_plan(), make_state(weight=0, holds=(hold,)), nothing("v3", "v4"), NOW), Advance)


@pytest.mark.parametrize("fields", [{"weight": 77}, {"step": 9}])
def test_weights_at_odds_with_the_step_are_paused_as_manual(fields: dict[str, Any]) -> None:
    decision = decide(make_plan(), make_state(**fields), seen(), NOW)
    assert isinstance(decision, Hold)
    assert "manual" in decision.reason


def test_a_step_that_needs_approval_waits_for_it() -> None:
    plan = make_plan(steps=(Step(weight=50, needs_approval=True), Step(weight=1000)))
    assert isinstance(decide(plan, make_state(), seen(), NOW), Hold)
    assert isinstance(decide(plan, make_state(phase="approved"), seen(), NOW), Promote)


def test_a_step_without_analysis_only_waits_its_time() -> None:
    plan = make_plan(steps=(Step(weight=50, needs_analysis=False), Step(weight=1000)))
    assert isinstance(decide(plan, make_state(), nothing("v3", "v4"), NOW), Promote)


@pytest.mark.parametrize("action", ["abort", "hold", "promote"])
def test_an_unsettled_rollout_ends_as_the_plan_declares(action: Any) -> None:
    plan = make_plan(expiry=Expiry(after=HOUR, action=action))
    decision = decide(plan, make_state(), nothing("v3", "v4"), NOW)
    assert isinstance(decision, Expire)
    assert decision.action == action


def test_blue_green_takes_over_at_once_after_an_approval() -> None:
    plan = make_plan(strategy=BlueGreen())
    assert isinstance(decide(plan, make_state(weight=0), nothing("v3", "v4"), NOW), Hold)
    assert isinstance(decide(plan, make_state(weight=0, phase="approved"), nothing("v3", "v4"), NOW), Promote)


def test_a_good_canary_goes_all_the_way_by_its_steps() -> None:
    sim = TrafficSimulator(seed=1, users_per_hour=9000, tick=HOUR)
    made = [decision for decision in sim.decisions(make_plan()) if not isinstance(decision, Hold)]
    assert [type(decision) for decision in made] == [Advance, Advance, Promote]


def test_a_worse_canary_is_aborted() -> None:
    sim = TrafficSimulator(seed=2, users_per_hour=3000)
    sim.error_rate(stable=0.01, canary=0.2)
    assert isinstance(sim.run_until_settled(make_plan()), Abort)


def test_a_canary_without_users_expires() -> None:
    sim = TrafficSimulator(seed=3, users_per_hour=0, tick=timedelta(hours=6))
    assert isinstance(sim.run_until_settled(make_plan()), Expire)


PLANS = st.sampled_from(
    [
        make_plan(),
        make_plan(strategy=BlueGreen()),
        make_plan(freezes=(FreezeWindow(zone=ZoneInfo("UTC")),)),
    ]
)
STATES = st.builds(
    lambda weight, stable, rollout, phase, step, since, has_candidate: replace(
        make_state(weight=weight, rollout=rollout, phase=phase, step=step, since=since, began=since),
        stable_weight=stable,
        **({} if has_candidate else {"candidates": ()}),
    ),
    weight=st.integers(0, 1000),
    stable=st.integers(0, 1000),
    rollout=st.sampled_from(["", "r1"]),
    phase=st.sampled_from(["", "progressing", "approved", "frozen", "aborted", "successful", "nonsense"]),
    step=st.integers(0, 5),
    since=st.none()
    | st.datetimes(min_value=datetime(2025, 1, 1), max_value=datetime(2027, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    has_candidate=st.booleans(),
)
OBSERVATIONS = st.one_of(
    st.just(nothing("v3", "v4")),
    st.builds(lambda n, bad: seen(users=n, canary=min(bad, round(n * 0.05))), st.integers(0, 5000), st.integers(0, 50)),
)


@settings(max_examples=60, deadline=None)
@given(plan=PLANS, state=STATES, observation=OBSERVATIONS)
def test_every_combination_has_a_decision_and_no_data_never_gives_users(
    plan: Plan, state: State, observation: Observation
) -> None:
    decision = decide(plan, state, observation, NOW)
    assert isinstance(decision, get_args(Decision))
    if isinstance(observation.canary.errors, Missing) and state.rollout:
        is_moving = isinstance(decision, Advance | Promote | Abort)
        assert not is_moving or decision.reason.startswith("approved: ")  # a person's word, not the data's


PLAN = """
apiVersion: modelserve.io/v1alpha1
kind: Rollout
metadata: {name: churn}
spec:
  steps:
    - {weight: 0.3, pause: 30m}
    - {weight: 33.3, approval: true}
    - weight: 100
  gates:
    labels: {margin: 2}
    latency: [{quantile: 0.99, relative_margin: 10}]
  freeze:
    - {days: [fri], begin: "18:00", end: "06:00", zone: Europe/Berlin, reason: weekend}
  holdback: 1
"""


def test_a_plan_is_read_with_its_units() -> None:
    plan = read_plan(PLAN, path="rollout.yaml")
    assert plan is not None
    assert isinstance(plan.strategy, Canary)
    assert [step.weight for step in plan.strategy.steps] == [3, 333, 1000]
    assert [gate.name for gate in plan.terms.gates] == ["errors", "labels", "p99"]
    assert (plan.strategy.steps[0].pause, plan.terms.holdback) == (timedelta(minutes=30), 10)


def test_an_empty_plan_is_no_plan() -> None:
    assert read_plan(PLAN[: PLAN.index("spec")] + "spec: {}", path="rollout.yaml") is None


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("weight: 33.3", "weight: 0.1", "each must be larger than the one before"),
        ("- weight: 100", "- weight: 90", "it must be 100, the promotion"),
        ("pause: 30m", "pause: soon", "spec.steps.0.pause: Value error, 'soon' is no span of time"),
        ("weight: 33.3", "weight: 33.33", "spec.steps.1.weight"),
        ("holdback: 1", "holdback: 100", "it must be below 100"),
        ("Europe/Berlin", "Berlin", "time zone 'Berlin' is not known"),
        ("labels:", "lables:", "spec.gates.lables: Extra inputs are not permitted"),
        ("kind: Rollout", "kind: [", "is no YAML"),
    ],
)
def test_a_wrong_plan_is_refused_with_its_file_and_field(before: str, after: str, said: str) -> None:
    with pytest.raises(ManifestError, match=r"rollout\.yaml: ") as caught:
        read_plan(PLAN.replace(before, after), path="rollout.yaml")
    assert said in str(caught.value)


def test_a_plan_that_is_no_mapping_is_refused() -> None:
    with pytest.raises(ManifestError, match=r"rollout\.yaml: "):
        read_plan("- a list", path="rollout.yaml")
