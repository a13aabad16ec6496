"""A canary beside a fresh copy of stable: what is decided, on numbers and over days."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from mlflow_deploy_plugin.errors import ConfigError, ManifestError
from pipelines.analysis.arms import Arm, user_counts
from pipelines.analysis.gates import ErrorRatioGate
from pipelines.promotion.decide import decide
from pipelines.promotion.decision import Abort, Advance, Decision, Hold, Promote
from pipelines.promotion.forecast import Traffic, forecast
from pipelines.promotion.observation import Observation, Observed
from pipelines.promotion.plan import Plan
from pipelines.promotion.schema import read_plan
from pipelines.promotion.simulator import TrafficSimulator
from pipelines.promotion.state import Candidate, State, comparisons
from pipelines.promotion.strategies.canary import Canary, Step, baseline_of
from pipelines.promotion.terms import NamedGate, Terms

NOW = datetime(2026, 1, 7, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
GATE = NamedGate(name="errors", gate=ErrorRatioGate(margin=0.04, guardrail=0.3))
STEPS = (Step(weight=100, pause=HOUR), Step(weight=300, pause=HOUR), Step(weight=1000))
PLAN = Plan(strategy=Canary(steps=STEPS, has_baseline=True), terms=Terms(gates=(GATE,)))


def candidate(name: str, weight: int) -> Candidate:
    return Candidate(deployment=name, model_digest=f"sha256:{name}", weight=weight)


def make_state(weight: int = 100, **fields: Any) -> State:
    defaults: dict[str, Any] = {
        "endpoint": "churn",
        "stage": "production",
        "stable": "v3",
        "stable_weight": 1000 - 2 * weight,
        "candidates": (candidate("v4", weight),),
        "baseline": candidate("v3-baseline", weight) if weight else None,
        "rollout": "r1" if weight else "",
        "phase": "progressing" if weight else "",
        "since": NOW - 2 * HOUR if weight else None,
        "began": NOW - 2 * HOUR if weight else None,
    }
    return State(**{**defaults, **fields})


def seen(*, stable: float = 0.01, baseline: float = 0.01, canary: float = 0.01, lost: int = 0) -> Observed:
    """Ten thousand users at 80, 10 and 10 %, of whom these shares fail; ``lost`` users of the baseline are missing."""

    def arm(name: str, users: int, rate: float, share: float) -> Arm:
        return Arm(name=name, errors=user_counts(users, round(users * rate), shares=share))

    control, copy = arm("v3", 8000, stable, 0.8), arm("v3-baseline", 1000 - lost, baseline, 0.1)
    return (
        Observation(stable=control, canary=copy),
        Observation(stable=copy, canary=arm("v4", 1000, canary, 0.1)),
    )


def decided(observed: Observed, state: State | None = None) -> Decision:
    return decide(PLAN, state or make_state(), observed, NOW)


def test_a_canary_begins_beside_a_copy_of_stable_with_the_same_share() -> None:
    decision = decided((), make_state(weight=0))
    assert isinstance(decision, Advance)
    assert (decision.weight, decision.baseline) == (100, "v3-baseline")
    assert "beside as fresh a copy of v3" in decision.reason


def test_the_canary_is_compared_with_its_baseline_and_that_with_stable() -> None:
    assert [(each.stable, each.canary) for each in comparisons(make_state())] == [
        ("v3", "v3-baseline"),
        ("v3-baseline", "v4"),
    ]


def test_what_only_age_and_cold_caches_cost_is_not_held_against_the_canary() -> None:
    """Both young ones fail twice as often as stable."""
    decision = decided(seen(stable=0.02, baseline=0.04, canary=0.04))
    assert isinstance(decision, Advance)
    assert decision.weight == 300
    assert decision.baseline == "v3-baseline"


def test_a_canary_worse_than_its_baseline_goes_back_alone() -> None:
    decision = decided(seen(canary=0.15))
    assert isinstance(decision, Abort)
    assert decision.deployments == ("v4",)


def test_a_baseline_worse_than_stable_holds_whatever_the_canary_does() -> None:
    decision = decided(seen(baseline=0.2, canary=0.2))
    assert isinstance(decision, Hold)
    assert "baseline v3-baseline is worse than stable v3 with the same model" in decision.reason
    assert {gate.arm for gate in decision.gates} == {"", "v3-baseline"}


def test_an_absolute_guardrail_needs_no_control() -> None:
    assert isinstance(decided(seen(baseline=0.5, canary=0.5)), Abort)


def test_users_missing_from_one_of_the_three_hold() -> None:
    decision = decided(seen(lost=300))
    assert isinstance(decision, Hold)
    assert "sample ratio mismatch: 8000/700/1000 users" in decision.reason


def test_a_baseline_that_somebody_gave_another_weight_is_a_hand_edit() -> None:
    decision = decided(seen(), replace(make_state(), baseline=candidate("v3-baseline", 50)))
    assert isinstance(decision, Hold)
    assert "paused (manual)" in decision.reason


def test_a_plan_that_gets_a_baseline_while_a_canary_runs_goes_on_without() -> None:
    without = make_state(baseline=None, stable_weight=900)
    (_, beside) = seen()
    decision = decided((replace(beside, stable=Arm(name="v3", errors=user_counts(9000, 90, shares=0.9))),), without)
    assert isinstance(decision, Advance)
    assert decision.baseline == ""


def test_a_plan_that_wants_no_baseline_any_more_lets_it_leave_with_the_next_step() -> None:
    steps = (Step(weight=100, pause=HOUR), Step(weight=700, pause=HOUR), Step(weight=1000))
    decision = decide(replace(PLAN, strategy=Canary(steps=steps)), make_state(), seen(), NOW)
    assert isinstance(decision, Advance)
    assert (decision.weight, decision.baseline) == (700, "")


def test_the_reason_names_whom_the_canary_was_compared_with() -> None:
    (gate, *_) = decided(seen()).gates
    assert gate.reason.endswith("(here v3-baseline is stable)")


def test_a_step_that_leaves_stable_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="must be below 50%, since stable keeps the rest"):
        Canary(steps=(Step(weight=500), Step(weight=1000)), has_baseline=True)


def test_the_file_says_baseline() -> None:
    text = (
        "apiVersion: modelserve.io/v1alpha1\nkind: Rollout\n"
        "spec: {baseline: true, steps: [{weight: %s}, {weight: 100}]}\n"
    )
    plan = read_plan(text % 10, path="rollout.yaml")
    assert plan is not None
    assert isinstance(plan.strategy, Canary)
    assert plan.strategy.has_baseline
    with pytest.raises(ManifestError, match="below 50%"):
        read_plan(text % 50, path="rollout.yaml")


def test_a_baseline_of_a_long_name_has_a_name_that_can_be() -> None:
    assert len(baseline_of("a" * 50)) == 50


def test_the_forecast_counts_on_two_arms_of_equal_size() -> None:
    alone = forecast(replace(PLAN, strategy=Canary(steps=STEPS)), Traffic(users_per_day=1000))
    beside = forecast(PLAN, Traffic(users_per_day=1000))
    assert alone != beside
    assert "of the canary" in beside[0]


@pytest.mark.parametrize(("canary", "end"), [(0.01, Promote), (0.08, Abort)])
def test_days_beside_a_baseline_in_milliseconds(canary: float, end: type) -> None:
    sim = TrafficSimulator(seed=3, users_per_hour=2000)
    sim.error_rate(stable=0.01, canary=canary)
    assert isinstance(sim.run_until_settled(PLAN), end)
