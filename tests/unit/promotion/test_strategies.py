"""Each strategy as sentences: what it decides, and whole rollouts of days in milliseconds."""

from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from typing import Any, get_args
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlflow_deploy_plugin.errors import ConfigError, ManifestError
from mlflow_deploy_plugin.manifests.model import Hold as HoldMark
from pipelines.analysis.arms import Arm, metric, user_counts
from pipelines.analysis.gates import AgreementGate, ErrorRatioGate, GpuGate, MeanGate
from pipelines.promotion import codec, record
from pipelines.promotion.decide import decide, findings, settle
from pipelines.promotion.decision import (
    Abort,
    Advance,
    Conclude,
    Decision,
    Expire,
    Findings,
    GateResult,
    Hold,
    Promote,
    Retire,
    SetMirror,
    SetWeights,
    Unchanged,
)
from pipelines.promotion.judging import share_of_alpha
from pipelines.promotion.notices import is_of
from pipelines.promotion.observation import Observation
from pipelines.promotion.plan import Plan
from pipelines.promotion.record import PromotionRecord
from pipelines.promotion.schema import read_plan
from pipelines.promotion.simulator import TrafficSimulator
from pipelines.promotion.state import Candidate, State, Word
from pipelines.promotion.strategies.blue_green import BlueGreen
from pipelines.promotion.strategies.canary import Canary, Step
from pipelines.promotion.strategies.experiment import Ab, Success
from pipelines.promotion.strategies.shadow import Shadow
from pipelines.promotion.terms import Approvals, Expiry, FreezeWindow, NamedGate, Terms

NOW = datetime(2026, 1, 7, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
ERRORS = NamedGate(name="errors", gate=ErrorRatioGate(margin=0.02, guardrail=0.1))
AGREEMENT = NamedGate(name="agreement", gate=AgreementGate(bound=0.02))
BY_LABEL = Success(gate=MeanGate(margin=0, metric="label", minimum_users=200), minimum_effect=0.1, deviation=0.5)
STEPS = (Step(weight=100, pause=HOUR), Step(weight=1000))


def test_tests_share_alpha_evenly_with_what_is_besides_and_a_gauge_takes_none() -> None:
    gpu = NamedGate(name="gpu memory", gate=GpuGate(kind="memory", bound=0.9))
    assert share_of_alpha([ERRORS, AGREEMENT, gpu], 0.01) == 0.01 / 2
    assert share_of_alpha([ERRORS, AGREEMENT, gpu], 0.01, besides=1) == 0.01 / 3
    assert share_of_alpha([gpu], 0.01) == 0.01


def candidate(name: str, weight: int = 0, **fields: Any) -> Candidate:
    return Candidate(deployment=name, model_digest=f"sha256:{name}", weight=weight, **fields)


def make_state(*candidates: Candidate, **fields: Any) -> State:
    users = sum(one.weight for one in candidates)
    is_running = users or any(one.mirrored for one in candidates)
    defaults: dict[str, Any] = {
        "endpoint": "churn",
        "stage": "production",
        "stable": "v3",
        "stable_weight": 1000 - users,
        "candidates": candidates,
        "rollout": "r1" if is_running else "",
        "phase": "progressing" if is_running else "",
        "since": NOW - 2 * DAY if is_running else None,
        "began": NOW - 2 * DAY if users else None,
    }
    return State(**{**defaults, **fields})


def make_ab(arms: dict[str, int] | None = None, *, terms: Terms | None = None, **fields: Any) -> Plan:
    defaults: dict[str, Any] = {"experiment": "e1", "arms": arms or {"v4": 200, "v5": 200}, "success": BY_LABEL}
    ends = Expiry(after=14 * DAY)
    return Plan(strategy=Ab(**{**defaults, **fields}), terms=terms or Terms(gates=(ERRORS,), expiry=ends))


def in_ab(plan: Plan, **weights: int) -> State:
    assert isinstance(plan.strategy, Ab)
    arms = [candidate(name, weight) for name, weight in weights.items()]
    state = make_state(*arms)
    return replace(state, salt=plan.strategy.salt(state))


def seen(name: str, *, users: int = 4000, failed: int = 40, mean: float = 0.3, share: float = 0.2) -> Observation:
    """An arm beside stable, of whose users 1 % fail and 30 % have the label."""

    def values(rate: float) -> list[float]:
        sorted_ = [1.0] * round(users * rate) + [0.0] * (users - round(users * rate))
        return [float(value) for value in np.random.default_rng(1).permutation(sorted_)]

    rest = 0.6 if share == 0.2 else 1 - share
    others = round(users * rest / share)
    control = Arm(
        name="v3",
        errors=user_counts(others, others // 100, shares=rest),
        metrics={"label": metric(values(0.3))},
    )
    arm = Arm(name=name, errors=user_counts(users, failed, shares=share), metrics={"label": metric(values(mean))})
    return Observation(stable=control, canary=arm)


# -- A/B/n -------------------------------------------------------------------------------------------------------------


def test_an_experiment_begins_with_all_its_arms_and_a_salt_of_its_own() -> None:
    plan, state = make_ab(), make_state(candidate("v4"), candidate("v5"))
    decision = decide(plan, state, (), NOW)
    assert isinstance(decision, SetWeights)
    assert decision.weights == {"v3": 600, "v4": 200, "v5": 200}
    assert isinstance(plan.strategy, Ab)
    assert decision.salt == plan.strategy.salt(state) != make_ab(experiment="e2").strategy.salt(state)  # type: ignore[union-attr]


def test_an_experiment_waits_for_an_arm_that_is_not_there() -> None:
    decision = decide(make_ab(), make_state(candidate("v4")), (), NOW)
    assert isinstance(decision, Unchanged)
    assert "arm v5 of experiment e1" in decision.reason


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        (
            {"holds": (HoldMark(deployment="v5", model_digest="sha256:v5", reason="was worse"),)},
            "v5 is held: was worse",
        ),
        ({"phase": "frozen"}, "frozen"),
        ({"rollout": "r0", "since": NOW}, "another rollout runs"),
    ],
)
def test_an_experiment_does_not_begin_over_what_holds(fields: dict[str, Any], said: str) -> None:
    decision = decide(make_ab(), make_state(candidate("v4"), candidate("v5"), **fields), (), NOW)
    assert isinstance(decision, Hold)
    assert said in decision.reason


def test_an_experiment_that_is_over_does_not_begin_again() -> None:
    plan = make_ab()
    over = replace(in_ab(plan, v4=200, v5=200), rollout="", phase="successful")
    assert isinstance(decide(plan, over, (), NOW), Unchanged)


def test_the_arm_that_is_better_with_certainty_takes_over() -> None:
    plan = make_ab()
    observed = (seen("v4", mean=0.32), seen("v5", mean=0.5))
    decision = decide(plan, in_ab(plan, v4=200, v5=200), observed, NOW)
    assert isinstance(decision, Promote)
    assert decision.deployment == "v5"
    assert decision.reason.startswith("success (label)")


def test_a_winner_is_only_declared_where_the_plan_says_so() -> None:
    plan = make_ab(does_promote=False)
    decision = decide(plan, in_ab(plan, v4=200, v5=200), (seen("v4"), seen("v5", mean=0.5)), NOW)
    assert isinstance(decision, Conclude)
    assert (decision.winner, decision.ends_split) == ("v5", False)


def test_of_two_winners_the_one_that_seems_better_takes_over() -> None:
    plan = make_ab()
    decision = decide(plan, in_ab(plan, v4=200, v5=200), (seen("v4", mean=0.6), seen("v5", mean=0.5)), NOW)
    assert isinstance(decision, Promote)
    assert decision.deployment == "v4"


def test_a_winner_waits_for_bake_time_approval_and_its_gates() -> None:
    observed = (seen("v4"), seen("v5", mean=0.5))
    baking = make_ab(terms=Terms(gates=(ERRORS,), bake=3 * DAY, expiry=Expiry(after=14 * DAY)))
    assert "bake time" in decide(baking, in_ab(baking, v4=200, v5=200), observed, NOW).reason
    asking = make_ab(needs_approval=True)
    state = in_ab(asking, v4=200, v5=200)
    assert "approval" in decide(asking, state, observed, NOW).reason
    assert isinstance(decide(asking, replace(state, phase="approved"), observed, NOW), Promote)
    unproven = (seen("v4", users=300, failed=3), seen("v5", mean=0.9, users=300, failed=8))
    held = decide(make_ab(), state, unproven, NOW)
    assert isinstance(held, Hold)
    assert held.reason.startswith("errors:")


def test_a_worse_arm_is_taken_out_and_held_and_the_others_go_on() -> None:
    plan = make_ab()
    decision = decide(plan, in_ab(plan, v4=200, v5=200), (seen("v4", failed=1200), seen("v5")), NOW)
    assert isinstance(decision, SetWeights)
    assert decision.weights == {"v3": 800, "v5": 200}
    assert decision.dropped == "v4"
    left = (seen("v5", mean=0.31),)
    assert isinstance(decide(plan, in_ab(plan, v5=200), left, NOW), Hold)


def test_an_arm_that_is_certainly_worse_in_what_it_is_about_is_taken_out() -> None:
    plan = make_ab()
    decision = decide(plan, in_ab(plan, v4=200, v5=200), (seen("v4", mean=0.1), seen("v5")), NOW)
    assert isinstance(decision, SetWeights)
    assert decision.dropped == "v4"


def test_the_last_arm_that_fails_ends_the_experiment() -> None:
    plan = make_ab()
    decision = decide(plan, in_ab(plan, v5=200), (seen("v5", failed=1200),), NOW)
    assert isinstance(decision, Abort)
    assert decision.deployments == ("v5",)


def test_users_who_do_not_fall_on_the_arms_as_dealt_hold_everything() -> None:
    plan = make_ab()
    observed = (seen("v4", users=4000), replace(seen("v5", mean=0.5), canary=seen("v5", users=1500, mean=0.5).canary))
    decision = decide(plan, in_ab(plan, v4=200, v5=200), observed, NOW)
    assert isinstance(decision, Hold)
    assert "sample ratio mismatch" in decision.reason


def test_an_arm_grows_by_the_plan_and_another_edit_holds() -> None:
    plan = make_ab()
    observed = (seen("v4"), seen("v5"))
    grown = decide(plan, in_ab(plan, v4=100, v5=200), observed, NOW)
    assert isinstance(grown, SetWeights)
    assert grown.weights == {"v3": 600, "v4": 200, "v5": 200}
    edited = decide(plan, in_ab(plan, v4=300, v5=200), observed, NOW)
    assert isinstance(edited, Hold)
    assert "manual" in edited.reason


@pytest.mark.parametrize(
    ("end", "kind"), [("abort", Conclude), ("hold", Expire), ("promote", Promote)], ids=["abort", "hold", "promote"]
)
def test_an_experiment_without_a_winner_ends_as_declared(end: Any, kind: type) -> None:
    plan = make_ab(terms=Terms(gates=(ERRORS,), expiry=Expiry(after=DAY, action=end)))
    decision = decide(plan, in_ab(plan, v4=200, v5=200), (seen("v4", mean=0.305), seen("v5")), NOW)
    assert isinstance(decision, kind)
    if isinstance(decision, Conclude):
        assert decision.ends_split
    if isinstance(decision, Promote):
        assert decision.deployment == "v4"


def test_the_arms_of_an_experiment_without_a_winner_leave_when_they_were_warm_long_enough() -> None:
    terms = Terms(gates=(ERRORS,), expiry=Expiry(after=DAY), keep_warm=HOUR)
    plan = make_ab(terms=terms)
    ended = decide(plan, in_ab(plan, v4=200, v5=200), (seen("v4"), seen("v5")), NOW)
    assert isinstance(ended, Conclude)
    assert ended.reason.endswith("v4, v5 stay without users for 1:00:00 and then are removed")
    assert isinstance(plan.strategy, Ab)
    over = make_state(candidate("v5"), rollout="", phase="inconclusive", waiting=(candidate("v4"),), since=NOW)
    over = replace(over, salt=plan.strategy.salt(over))
    assert isinstance(decide(plan, over, (), NOW + HOUR / 2), Unchanged)
    left = decide(plan, over, (), NOW + HOUR)
    assert isinstance(left, Retire)
    assert left.deployments == ("v5", "v4")
    assert left.reason == "without users for 1:00:00 since the experiment"
    assert isinstance(decide(plan, replace(over, phase="aborted"), (), NOW + HOUR), Unchanged)
    for_ever = make_ab(terms=replace(terms, keep_warm=None))
    told = decide(for_ever, in_ab(for_ever, v4=200, v5=200), (seen("v4"), seen("v5")), NOW)
    assert told.reason.endswith("stay without users until somebody removes them")


def test_a_metric_with_bounds_is_compared_exactly_and_a_value_outside_holds() -> None:
    bounded = Success(gate=MeanGate(margin=0, metric="label", bounds=(0, 1), minimum_users=2), minimum_effect=0.1)
    plan = make_ab(success=bounded)
    assert isinstance(decide(plan, in_ab(plan, v4=200, v5=200), (seen("v4", mean=0.6), seen("v5")), NOW), Promote)
    small = make_ab(success=replace(bounded, gate=replace(bounded.gate, bounds=(0, 0.5))))
    decision = decide(small, in_ab(small, v4=200, v5=200), (seen("v4", mean=0.6), seen("v5")), NOW)
    assert isinstance(decision, Hold)
    assert "label of a user is 1, outside its bounds 0 to 0.5" in decision.reason


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("{metric: label, minimum_effect: 1, bounds: [1, 0]}", "the smaller first"),
        ("{metric: label, minimum_effect: 1, bounds: [0, 1], before: 7d}", "leave out bounds, or before"),
        ("{metric: errors, minimum_effect: 1, before: 7d}", "errors is a ratio, and exact as it is"),
    ],
)
def test_what_a_metric_cannot_be_is_refused(written: str, said: str) -> None:
    text = f"""
apiVersion: modelserve.io/v1alpha1
kind: Rollout
spec: {{strategy: ab, experiment: e1, arms: [{{deployment: v4, weight: 10}}], success: {written}}}
"""
    with pytest.raises(ManifestError, match=said):
        read_plan(text, path="rollout.yaml")


@pytest.mark.parametrize(
    ("arms", "said"),
    [
        ({"v4": 500, "v5": 500}, "there must be an arm, and a control"),
        ({f"v{n}": 50 for n in range(9)}, "9 arms beside stable"),
        ({"v4": 400, "v5": 100, "v6": 100}, "does not fit its slot of 334"),
        ({"V4": 100}, "is not a DNS label"),
        ({"v4": 0}, "must be above 0"),
    ],
)
def test_a_plan_of_arms_that_cannot_be_is_refused(arms: dict[str, int], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        make_ab(arms)


def test_a_three_day_experiment_finds_the_better_arm_in_milliseconds() -> None:
    sim = TrafficSimulator(seed=5, users_per_hour=800, tick=2 * HOUR, arms=("v4", "v5", "v6"))
    sim.labels({"v3": 0.3, "v4": 0.3, "v5": 0.45, "v6": 0.3})
    plan = make_ab({"v4": 200, "v5": 200, "v6": 200})
    end = sim.run_until_settled(plan)
    assert isinstance(end, Promote)
    assert end.deployment == "v5"
    assert sim.now - datetime(2026, 1, 1, tzinfo=UTC) < 3 * DAY


def test_a_failing_arm_leaves_a_running_experiment_and_equal_ones_end_it_by_its_length() -> None:
    sim = TrafficSimulator(seed=6, users_per_hour=300, tick=12 * HOUR, arms=("v4", "v5"))
    sim.labels({"v3": 0.3, "v4": 0.3, "v5": 0.3})
    sim.error_rates({"v3": 0.01, "v4": 0.3, "v5": 0.01})
    plan = make_ab(terms=Terms(gates=(ERRORS,), expiry=Expiry(after=3 * DAY)))
    made = [one for one in sim.decisions(plan) if not isinstance(one, Hold)]
    assert [type(one) for one in made] == [SetWeights, SetWeights, Conclude]
    assert isinstance(made[1], SetWeights)
    assert made[1].dropped == "v4"


# -- shadow ------------------------------------------------------------------------------------------------------------


def make_shadow(*, then: Canary | None = None, terms: Terms | None = None, **fields: Any) -> Plan:
    strategy = Shadow(**{"share": 100, "length": DAY, "then": then, **fields})
    return Plan(strategy=strategy, terms=terms or Terms(gates=(AGREEMENT, ERRORS)))


def copied(*, users: int = 5000, differing: int = 20, failed: int = 40) -> Observation:
    return Observation(
        stable=Arm(name="v3", errors=user_counts(users, 40 * users // 5000)),
        canary=Arm(name="v4", errors=user_counts(users, failed)),
        disagreeing=user_counts(users, differing),
    )


def test_a_shadow_begins_with_copies_and_no_users() -> None:
    decision = decide(make_shadow(), make_state(candidate("v4")), (), NOW)
    assert isinstance(decision, SetMirror)
    assert (decision.deployment, decision.share) == ("v4", 100)


def test_a_shadow_that_agrees_goes_on_as_a_canary_after_its_time() -> None:
    plan, state = make_shadow(then=Canary(steps=STEPS)), make_state(candidate("v4", mirrored=100))
    decision = decide(plan, state, (copied(),), NOW)
    assert isinstance(decision, Advance)
    assert (decision.step, decision.weight) == (0, 100)
    early = replace(state, since=NOW - HOUR)
    assert "left in the shadow" in decide(plan, early, (copied(),), NOW).reason


def test_a_shadow_that_stops_says_what_it_has_shown() -> None:
    decision = decide(make_shadow(), make_state(candidate("v4", mirrored=100)), (copied(),), NOW)
    assert isinstance(decision, Conclude)
    assert decision.winner == "v4"
    assert "another prediction for 0.40% of 5000 users" in decision.reason


@pytest.mark.parametrize("observation", [copied(differing=400), copied(failed=2000)], ids=["disagrees", "fails"])
def test_a_shadow_that_disagrees_or_fails_is_aborted(observation: Observation) -> None:
    state = make_state(candidate("v4", mirrored=100), since=NOW)
    assert isinstance(decide(make_shadow(), state, (observation,), NOW), Abort)


def test_few_copies_hold() -> None:
    state = make_state(candidate("v4", mirrored=100))
    assert isinstance(decide(make_shadow(), state, (copied(users=50, differing=0, failed=0),), NOW), Hold)


def test_after_the_shadow_the_canary_is_judged_by_its_users_and_not_by_agreement() -> None:
    plan = make_shadow(then=Canary(steps=STEPS))
    state = make_state(candidate("v4", 100))
    found = findings(plan, state, (seen("v4", share=0.1),))
    assert [gate.gate for gate in found.gates] == ["errors"]


def test_another_share_than_the_plan_s_holds_until_somebody_approves() -> None:
    state = make_state(candidate("v4", mirrored=500))
    assert isinstance(decide(make_shadow(), state, (copied(),), NOW), Hold)
    assert isinstance(decide(make_shadow(), replace(state, phase="approved"), (copied(),), NOW), SetMirror)


def test_a_shadow_never_ends_by_giving_users_to_what_is_not_proven() -> None:
    plan = make_shadow(terms=Terms(gates=(AGREEMENT,), expiry=Expiry(after=DAY, action="promote")))
    decision = decide(plan, make_state(candidate("v4", mirrored=100)), (copied(users=50, differing=1),), NOW)
    assert isinstance(decision, Expire)
    assert decision.action == "hold"


def test_a_day_in_the_shadow_and_a_canary_in_milliseconds() -> None:
    sim = TrafficSimulator(seed=7, users_per_hour=2000, tick=HOUR)
    sim.disagreement(0.005)
    made = [one for one in sim.decisions(make_shadow(then=Canary(steps=STEPS), share=500)) if not isinstance(one, Hold)]
    assert [type(one) for one in made] == [SetMirror, Advance, Promote]


def test_a_shadow_that_disagrees_is_found_by_the_simulator_too() -> None:
    sim = TrafficSimulator(seed=8, users_per_hour=2000, tick=HOUR)
    sim.disagreement(0.1)
    assert isinstance(sim.run_until_settled(make_shadow(then=Canary(steps=STEPS), share=500)), Abort)


# -- blue-green, and what follows a promotion --------------------------------------------------------------------------


def test_blue_green_without_approval_switches_by_itself() -> None:
    plan = Plan(strategy=BlueGreen(needs_approval=False))
    assert isinstance(decide(plan, make_state(candidate("v4")), (), NOW), Promote)


def promoted(**fields: Any) -> State:
    """v3 has taken over from v2."""
    return make_state(phase="successful", since=NOW - 2 * HOUR, idle=(candidate("v2", processes=3),), **fields)


@pytest.mark.parametrize(("kept", "is_due"), [(HOUR, True), (3 * HOUR, False), (None, False)])
def test_the_old_version_stays_warm_for_its_time_and_then_leaves(kept: timedelta | None, *, is_due: bool) -> None:
    plan = Plan(strategy=BlueGreen(), terms=Terms(keep_warm=kept))
    decision = decide(plan, promoted(), (), NOW)
    assert isinstance(decision, Retire) == is_due
    if isinstance(decision, Retire):
        assert (decision.deployments, decision.leftover) == (("v2",), "remove")


def test_a_version_that_is_scaled_down_is_scaled_down_once() -> None:
    plan = Plan(strategy=BlueGreen(), terms=Terms(keep_warm=HOUR, leftover="scale-down"))
    assert isinstance(decide(plan, promoted(), (), NOW), Retire)
    done = replace(promoted(), idle=(candidate("v2"),))
    assert isinstance(decide(plan, done, (), NOW), Unchanged)


def test_nothing_leaves_while_a_rollout_runs_or_after_a_rollback() -> None:
    plan = Plan(strategy=Canary(steps=STEPS), terms=Terms(keep_warm=HOUR))
    for fields in ({"rollout": "r2"}, {"phase": "aborted"}):
        assert not isinstance(decide(plan, replace(promoted(), **fields), (), NOW), Retire)


def test_a_promotion_with_a_holdback_is_watched_and_a_later_regression_goes_back() -> None:
    plan = Plan(strategy=Canary(steps=STEPS), terms=Terms(gates=(ERRORS,)))
    watched = make_state(phase="successful", since=NOW - DAY, holdback=candidate("v2", 10))
    good = Observation(
        stable=Arm(name="v2", errors=user_counts(200, 2, shares=0.01)),
        canary=Arm(name="v3", errors=user_counts(19_800, 198, shares=0.99)),
    )
    assert isinstance(decide(plan, watched, (good,), NOW), Unchanged)
    bad = replace(good, canary=Arm(name="v3", errors=user_counts(19_800, 4_000, shares=0.99)))
    decision = decide(plan, watched, (bad,), NOW)
    assert isinstance(decision, Abort)
    assert decision.deployments == ("v3",)
    assert decision.reason.startswith("after its promotion: errors")


# -- approvals, overrides ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "word", "is_enough"),
    [
        (Approvals(), Word(), True),
        (Approvals(count=2), Word(approvers=("ada",)), False),
        (Approvals(count=2), Word(approvers=("ada", "bob")), True),
        (Approvals(is_author_excluded=True), Word(author="ada", approvers=("ada",)), False),
        (Approvals(is_author_excluded=True), Word(author="ada", approvers=("bob",)), True),
        (Approvals(count=2, is_author_excluded=True), Word(author="ada", approvers=("ada", "bob")), False),
    ],
)
def test_a_step_waits_for_as_many_others_as_the_plan_says(asked: Approvals, word: Word, *, is_enough: bool) -> None:
    steps = (Step(weight=100, needs_approval=True), Step(weight=1000))
    plan = Plan(strategy=Canary(steps=steps), terms=Terms(gates=(ERRORS,), approvals=asked))
    state = make_state(candidate("v4", 100), phase="approved", word=word)
    decision = decide(plan, state, (seen("v4", share=0.1),), NOW)
    assert isinstance(decision, Promote) == is_enough
    if not is_enough:
        assert "more; given by" in decision.reason


def test_an_override_passes_a_hold_and_a_freeze_and_no_gate() -> None:
    window = FreezeWindow(zone=ZoneInfo("UTC"), begin=time(0), end=time(0))
    plan = Plan(strategy=Canary(steps=STEPS), terms=Terms(gates=(ERRORS,), freezes=(window,)))
    hold = HoldMark(deployment="v4", model_digest="sha256:v4", reason="was worse")
    state = make_state(candidate("v4"), holds=(hold,))
    assert isinstance(decide(plan, state, (), NOW), Hold)
    forced = replace(state, word=Word(override="fixed the feature"))
    assert isinstance(decide(plan, forced, (), NOW), Advance)
    running = make_state(candidate("v4", 100), word=Word(override="we hurry"))
    assert isinstance(decide(plan, running, (seen("v4", users=50, failed=0, share=0.1),), NOW), Hold)
    assert isinstance(decide(plan, running, (seen("v4", failed=2000, share=0.1),), NOW), Abort)


def test_a_hand_edit_that_is_approved_goes_on_from_the_nearest_step() -> None:
    steps = (Step(weight=50), Step(weight=250), Step(weight=1000))
    plan = Plan(strategy=Canary(steps=steps), terms=Terms(gates=(ERRORS,)))
    state = make_state(candidate("v4", 200))
    assert isinstance(decide(plan, state, (seen("v4"),), NOW), Hold)
    decision = decide(plan, replace(state, phase="approved"), (seen("v4"),), NOW)
    assert isinstance(decision, Advance)
    assert (decision.step, decision.weight) == (1, 250)


# -- laws over all strategies ------------------------------------------------------------------------------------------

PLANS = (
    Plan(strategy=Canary(steps=STEPS), terms=Terms(gates=(ERRORS,), keep_warm=HOUR)),
    Plan(strategy=BlueGreen(), terms=Terms(keep_warm=HOUR)),
    make_shadow(then=Canary(steps=STEPS)),
    make_shadow(),
    make_ab(),
    make_ab(does_promote=False),
)
CANDIDATES = st.lists(
    st.builds(
        candidate,
        st.sampled_from(["v4", "v5", "v6"]),
        st.sampled_from([0, 100, 200, 300]),
        mirrored=st.sampled_from([0, 0, 100]),
    ).filter(lambda one: not (one.weight and one.mirrored)),
    max_size=3,
    unique_by=lambda one: one.deployment,
)
GATES = st.builds(
    GateResult,
    gate=st.sampled_from(["errors", "success (label)"]),
    verdict=st.sampled_from(["successful", "failed", "inconclusive", "error"]),
    reason=st.just("because"),
    arm=st.sampled_from(["", "v4", "v5"]),
    effect=st.none() | st.floats(-1, 1),
)


@settings(max_examples=150, deadline=None)
@given(
    plan=st.sampled_from(PLANS),
    candidates=CANDIDATES,
    gates=st.lists(GATES, max_size=4),
    phase=st.sampled_from(["", "progressing", "approved", "frozen", "aborted", "inconclusive", "successful"]),
    is_salted=st.booleans(),
    has_rollout=st.booleans(),
    has_holdback=st.booleans(),
    can_promote=st.booleans(),
)
def test_every_strategy_answers_every_state_and_its_record_replays(  # noqa: PLR0913  the space of states
    plan: Plan,
    candidates: list[Candidate],
    gates: list[GateResult],
    phase: str,
    *,
    is_salted: bool,
    has_rollout: bool,
    has_holdback: bool,
    can_promote: bool,
) -> None:
    state = make_state(*candidates, phase=phase, rollout="r1" if has_rollout else "", since=NOW - DAY)
    if is_salted and isinstance(plan.strategy, Ab):
        state = replace(state, salt=plan.strategy.salt(state))
    if has_holdback:
        state = replace(state, holdback=candidate("v2", 10))
    found = Findings(gates=tuple(gates), can_promote=can_promote)
    decision = settle(plan, state, found, NOW)
    assert isinstance(decision, get_args(Decision))
    if isinstance(decision, SetWeights):
        assert sum(decision.weights.values()) == 1000
    if not can_promote and has_rollout and phase != "approved":
        assert not isinstance(decision, Promote) or decision.reason.startswith("nobody has won")


TEXTS = {
    "canary": "steps: [{weight: 10, pause: 1h}, {weight: 100}]",
    "blue-green": "keep_warm: 2h\n  leftover: scale-down",
    "shadow": "percent: 20\n  length: 6h\n  then: canary\n  steps: [{weight: 10}, {weight: 100}]",
    "ab": (
        "experiment: colours\n  arms: [{deployment: v4, weight: 10}, {deployment: v5, weight: 10}]\n"
        "  success: {metric: label, minimum_effect: 0.05, deviation: 0.4}"
    ),
}


def text_of(strategy: str, more: str = "") -> str:
    return (
        "# a comment\napiVersion: modelserve.io/v1alpha1\nkind: Rollout\nmetadata: {name: churn}\nspec:\n"
        f"  strategy: {strategy}\n  {TEXTS[strategy]}\n{more}"
    )


@pytest.mark.parametrize("strategy", TEXTS)
def test_every_strategy_is_read_from_its_file_and_its_record_replays_byte_for_byte(strategy: str) -> None:
    text = text_of(strategy)
    plan = read_plan(text, path="rollout.yaml")
    assert plan is not None
    state = make_state(candidate("v4"), candidate("v5")) if strategy == "ab" else make_state(candidate("v4"))
    made = PromotionRecord(
        plan=record.plan_text(text),
        state=state,
        findings=Findings(),
        now=NOW,
        decision=record.without_gates(decide(plan, state, (), NOW)),
    )
    assert "comment" not in made.plan
    assert record.replay(codec.encode(made)) == (made, True)


def test_a_record_of_eight_arms_and_many_gates_fits_a_commit_and_replays() -> None:
    arms = {f"candidate-with-a-long-name-{n}": 50 for n in range(8)}
    plan = make_ab(arms)
    gates = tuple(
        GateResult(
            gate=name, verdict="inconclusive", reason="neither worse nor better " * 4, arm=arm,
            numbers={f"number_{n}": n / 7 for n in range(14)},
        )
        for arm in arms
        for name in ("errors", "p99", "labels")
    )  # fmt: skip
    found = Findings(gates=gates)
    holds = tuple(
        HoldMark(deployment=arm, model_digest=f"sha256:{n:064}", reason="x" * 300) for n, arm in enumerate(arms)
    )
    state = replace(in_ab(plan, **arms), holds=holds)
    text = text_of("ab")
    decision = record.without_gates(settle(plan, state, found, NOW))
    made = PromotionRecord(plan=record.plan_text(text), state=state, findings=found, now=NOW, decision=decision)
    written = record.encode(made)
    assert len(written.encode()) <= codec.MAX_BYTES
    assert '"are_numbers_whole":false' in written
    short = codec.decode(PromotionRecord, written)
    assert is_of(codec.encode(made), written), "what was left out is no other decision"
    assert not is_of(codec.encode(replace(made, now=NOW + DAY)), written)
    assert settle(plan, short.state, short.findings, short.now).kind == made.decision.kind


@pytest.mark.parametrize(
    ("strategy", "before", "after", "said"),
    [
        ("canary", "strategy: canary", "strategy: yolo", "spec.strategy: is 'yolo'; known: canary, blue-green"),
        ("shadow", "then: canary", "then: stop", "then is 'stop' with 2 steps"),
        ("ab", "experiment: colours", "experiment: Colours!", "experiment name 'Colours!' is not a DNS label"),
        ("ab", "deployment: v5", "deployment: v4", "a deployment stands twice"),
        ("ab", "deviation: 0.4", "deviation: 0.4}\n  expiry: {after: 1d", "an experiment ends by maximum_length"),
        ("blue-green", "keep_warm: 2h", "keep_warm: soon", "spec.keep_warm"),
    ],
)
def test_a_wrong_field_is_refused_by_name(strategy: str, before: str, after: str, said: str) -> None:
    with pytest.raises(ManifestError, match=r"rollout\.yaml: ") as caught:
        read_plan(text_of(strategy).replace(before, after), path="rollout.yaml")
    assert said in str(caught.value)


def test_a_rollout_leaves_one_per_cent_as_a_control_by_default_and_a_switch_nothing() -> None:
    kept = {name: read_plan(text_of(name), path="rollout.yaml") for name in TEXTS}
    assert {name: plan.terms.holdback for name, plan in kept.items() if plan} == {
        "canary": 10,
        "blue-green": 0,
        "shadow": 10,
        "ab": 10,
    }
