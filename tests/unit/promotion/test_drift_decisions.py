"""The decision table of a drift report, a sentence a row."""

from collections.abc import Callable
from dataclasses import asdict
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlflow_deploy_plugin.errors import ConfigError
from pipelines.promotion import codec
from pipelines.promotion.drift import verdicts
from pipelines.promotion.drift.decide import decide_drift
from pipelines.promotion.drift.decision import (
    AlertOnly,
    DriftDecision,
    Healthy,
    HoldRouting,
    Inconclusive,
    Revert,
    WorldMoved,
)
from pipelines.promotion.drift.evidence import (
    Arm,
    Automation,
    Check,
    DomainTest,
    DriftEvidence,
    FeatureShift,
    Performance,
    Reference,
    UserSums,
    UserTally,
    Window,
)
from pipelines.promotion.drift.policy import DriftPolicy
from pipelines.promotion.drift.record import DriftRecord, read, record, replay

Make = Callable[..., DriftEvidence]


def decide(evidence: DriftEvidence) -> DriftDecision:
    return decide_drift(evidence, DriftPolicy())


def tally(users: int, events: int, share: float) -> UserTally:
    return UserTally(exposed=(users,), events=(events,), shares=(share,))


def arm(name: str, users: int, share: float, *, wrong: int = 0, failed: int = 0) -> Arm:
    return Arm(
        deployment=name,
        model_digest=f"sha256:{name}",
        weight=round(share * 1000),
        rows=users,
        users=users,
        failures=tally(users, failed, share),
        performance=Performance(wrong=tally(users, wrong, share), coverage=1.0),
    )


def shift(feature: str, who: str, against: str = "reference", effect: float = 0.3) -> FeatureShift:
    return FeatureShift(feature=feature, arm=who, against=against, method="ks", effect=effect, q=1e-9)  # type: ignore[arg-type]


def both(feature: str = "age") -> tuple[FeatureShift, ...]:
    return shift(feature, "churn"), shift(feature, "churn-v2")


def test_equal_arms_on_familiar_inputs_are_healthy(make_evidence: Make) -> None:
    assert isinstance(decide(make_evidence()), Healthy)


def test_a_shift_in_both_arms_alike_means_that_the_world_moved(make_evidence: Make) -> None:
    decision = decide(make_evidence(shifts=both()))
    assert isinstance(decision, WorldMoved)
    assert decision.features == ("age",)
    assert "in every arm alike" in decision.reasons[0].text


def test_a_worse_canary_is_reverted_also_where_the_world_moved(make_evidence: Make) -> None:
    decision = decide(make_evidence(shifts=both(), canaries=(arm("churn-v2", 800, 0.4, wrong=300),)))
    assert isinstance(decision, Revert)
    assert decision.deployments == ("churn-v2",)
    assert [reason.gate for reason in decision.reasons] == ["performance", "world"]


def test_a_canary_that_is_worse_within_the_margin_is_kept(make_evidence: Make) -> None:
    canary = arm("churn-v2", 8000, 0.4, wrong=840)
    stable = arm("churn", 12000, 0.6, wrong=1200)
    assert isinstance(decide(make_evidence(stable=stable, canaries=(canary,))), Healthy)


def test_a_worse_stable_reverts_nothing(make_evidence: Make) -> None:
    assert isinstance(decide(make_evidence(stable=arm("churn", 1200, 0.6, wrong=600))), Healthy)


def test_only_the_arm_at_fault_is_named(make_evidence: Make) -> None:
    stable = arm("churn", 1600, 0.5, wrong=160)
    canaries = (arm("churn-v2", 800, 0.25, wrong=320), arm("churn-v3", 800, 0.25, wrong=80))
    decision = decide(make_evidence(stable=stable, canaries=canaries))
    assert isinstance(decision, Revert)
    assert decision.deployments == ("churn-v2",)


def test_inputs_that_differ_between_the_arms_hold_and_never_revert(make_evidence: Make) -> None:
    decision = decide(make_evidence(shifts=(*both(), shift("age", "churn-v2", "stable"))))
    assert isinstance(decision, HoldRouting)
    assert decision.deployments == ("churn-v2",)


def test_a_small_effect_is_no_shift_however_significant(make_evidence: Make) -> None:
    assert isinstance(decide(make_evidence(shifts=(shift("age", "churn", effect=0.05),))), Healthy)


def test_a_classifier_that_tells_the_arms_apart_holds(make_evidence: Make) -> None:
    test = DomainTest(arm="churn-v2", against="stable", auc=0.7, p=1e-9, rows=2000)
    assert isinstance(decide(make_evidence(domain_tests=(test,))), HoldRouting)


def test_a_classifier_that_tells_today_from_the_training_sample_means_that_the_world_moved(make_evidence: Make) -> None:
    test = DomainTest(arm="churn", against="reference", auc=0.7, p=1e-9, rows=2000)
    assert isinstance(decide(make_evidence(domain_tests=(test,))), WorldMoved)


def test_without_a_second_version_drift_alerts_only(make_evidence: Make) -> None:
    alone = arm("churn", 1000, 1.0)
    assert isinstance(decide(make_evidence(stable=alone, canaries=(), shifts=(shift("age", "churn"),))), AlertOnly)


def test_without_a_training_sample_nothing_is_said_of_the_world(make_evidence: Make) -> None:
    assert isinstance(decide(make_evidence(reference=None)), Inconclusive)


def test_without_a_training_sample_a_worse_canary_is_still_reverted(make_evidence: Make) -> None:
    assert isinstance(decide(make_evidence(reference=None, canaries=(arm("churn-v2", 800, 0.4, wrong=300),))), Revert)


def test_users_that_did_not_fall_as_the_split_says_make_all_comparisons_worthless(make_evidence: Make) -> None:
    decision = decide(make_evidence(canaries=(arm("churn-v2", 300, 0.4, wrong=200),)))
    assert isinstance(decision, Inconclusive)
    assert "sample ratio mismatch" in decision.reasons[0].text


def test_a_canary_whose_users_certainly_fail_is_reverted_even_with_a_broken_split(make_evidence: Make) -> None:
    decision = decide(make_evidence(canaries=(arm("churn-v2", 300, 0.4, failed=150),)))
    assert isinstance(decision, Revert)
    assert "above the guardrail" in decision.reasons[0].text


def test_a_broken_schema_makes_inputs_inconclusive(make_evidence: Make) -> None:
    check = Check(name="schema", subject="churn-v2", is_ok=False, scope="inputs", detail="age is text")
    assert isinstance(decide(make_evidence(checks=(check,), shifts=both())), Inconclusive)


def test_a_broken_schema_does_not_save_a_worse_canary(make_evidence: Make) -> None:
    check = Check(name="schema", subject="churn-v2", is_ok=False, scope="inputs", detail="age is text")
    canary = arm("churn-v2", 800, 0.4, wrong=300)
    assert isinstance(decide(make_evidence(checks=(check,), canaries=(canary,))), Revert)


def test_a_check_that_is_only_told_changes_no_decision(make_evidence: Make) -> None:
    check = Check(name="range", subject="churn", is_ok=False, detail="3 % of age lie outside")
    assert isinstance(decide(make_evidence(checks=(check,))), Healthy)


def test_labels_that_are_not_valid_decide_nothing(make_evidence: Make) -> None:
    check = Check(name="labels", subject="churn-v2", is_ok=False, scope="labels", detail="late")
    canary = arm("churn-v2", 800, 0.4, wrong=300)
    assert isinstance(decide(make_evidence(checks=(check,), canaries=(canary,))), Healthy)


def test_few_labels_are_said_to_be_few(make_evidence: Make) -> None:
    canary = arm("churn-v2", 20, 0.4, wrong=20)
    stable = arm("churn", 30, 0.6, wrong=3)
    decision = decide(make_evidence(stable=stable, canaries=(canary,)))
    assert isinstance(decision, Healthy)
    assert "50 of each are needed" in decision.reasons[-1].text


def test_a_regression_that_is_certainly_worse_is_reverted(make_evidence: Make) -> None:
    def errs(users: int, mean: float) -> Performance:
        return Performance(error=UserSums(users=users, total=users * mean, squares=users * (mean**2 + 1)), coverage=1.0)

    stable = Arm(deployment="churn", model_digest="a", weight=600, rows=1200, users=1200, performance=errs(1200, 2.0))
    better = Arm(deployment="churn-v2", model_digest="b", weight=400, rows=800, users=800, performance=errs(800, 2.0))
    worse = Arm(deployment="churn-v2", model_digest="b", weight=400, rows=800, users=800, performance=errs(800, 3.0))
    assert isinstance(decide(make_evidence(stable=stable, canaries=(better,))), Healthy)
    decision = decide(make_evidence(stable=stable, canaries=(worse,)))
    assert isinstance(decision, Revert)
    assert "absolute error 3 against 2 per user" in decision.reasons[0].text


def test_every_decision_has_a_headline(make_evidence: Make) -> None:
    kinds = {type(decide(evidence)) for evidence in (
        make_evidence(),
        make_evidence(shifts=both()),
        make_evidence(reference=None),
        make_evidence(canaries=(arm("churn-v2", 800, 0.4, wrong=300),)),
        make_evidence(shifts=(shift("age", "churn-v2", "stable"),)),
        make_evidence(canaries=(), shifts=(shift("age", "churn"),)),
        make_evidence(canaries=(arm("churn-v2", 800, 0.4, wrong=300),), automation=Automation(reverts_today=3)),
    )}  # fmt: skip
    assert kinds == set(get_args(DriftDecision))
    assert verdicts.headline(decide(make_evidence(shifts=both()))) == "the world moved: freeze promotion, no revert"


def test_a_record_of_a_very_wide_table_still_fits_a_commit_and_keeps_its_verdict(make_evidence: Make) -> None:
    many = tuple(shift(f"a_column_with_a_long_name_{n}", who) for n in range(400) for who in ("churn", "churn-v2"))
    made = record(make_evidence(shifts=many, features_tested=400), DriftPolicy())
    text = codec.encode(made)
    assert len(text.encode()) <= codec.MAX_BYTES
    assert isinstance(made.decision, WorldMoved)
    assert replay(text) == (made, True)


def before_the_classifier_had_levels(made: DriftRecord) -> str:
    """The record as the kind before was written."""
    written = asdict(made) | {"kind": "modelserve.io/drift-decision.v1"}
    written["policy"] = {name: value for name, value in written["policy"].items() if name not in ("auc_p", "exit_auc")}
    return codec.canonical(written)


def test_a_record_of_the_kind_before_replays_by_the_level_that_decided_it(make_evidence: Make) -> None:
    test = DomainTest(arm="churn", against="reference", auc=0.62, p=5e-4, rows=1100)
    made = record(make_evidence(domain_tests=(test,)), DriftPolicy(auc_p=0.001, exit_auc=0.6))
    text = before_the_classifier_had_levels(made)
    again, is_same = replay(text)
    assert is_same
    assert isinstance(again.decision, WorldMoved)
    assert read(text) == again
    assert isinstance(record(made.evidence, DriftPolicy()).decision, Healthy)


def test_a_changed_record_of_the_kind_before_does_not_replay(make_evidence: Make) -> None:
    text = before_the_classifier_had_levels(record(make_evidence(), DriftPolicy(auc_p=0.001, exit_auc=0.6)))
    assert not replay(text + "\n")[1]
    assert not replay(text.replace("none of 9 columns", "none of 8 columns"))[1]


def test_a_file_that_is_no_record_is_refused_with_its_first_field() -> None:
    with pytest.raises(ConfigError, match="replay takes a decision file"):
        replay('{"evidence": 1}')


TALLIES = st.integers(0, 300).flatmap(
    lambda users: st.builds(tally, st.just(users), st.integers(0, users), st.sampled_from([0.1, 0.4]))
)
PERFORMANCES = st.one_of(
    st.none(),
    st.builds(Performance, wrong=TALLIES),
    st.builds(
        Performance,
        error=st.builds(
            UserSums,
            users=st.integers(0, 500),
            total=st.floats(0, 1e6),
            squares=st.floats(0, 1e9),
        ),
    ),
)
NAMES = st.sampled_from(["churn", "v2"])
EVIDENCES = st.builds(
    DriftEvidence,
    endpoint=st.just("churn"),
    stage=st.just("production"),
    commit=st.just("c"),
    rollout=st.just(""),
    window=st.just(Window(since="a", until="b")),
    stable=st.builds(
        Arm,
        deployment=st.just("churn"),
        model_digest=st.just("d"),
        weight=st.just(600),
        rows=st.integers(0, 10),
        users=st.integers(0, 10),
        failures=st.none() | TALLIES,
        performance=PERFORMANCES,
    ),
    canaries=st.lists(
        st.builds(
            Arm,
            deployment=st.just("v2"),
            model_digest=st.just("d"),
            weight=st.just(400),
            rows=st.integers(0, 10),
            users=st.integers(0, 10),
            failures=st.none() | TALLIES,
            performance=PERFORMANCES,
        ),
        max_size=1,
    ).map(tuple),
    reference=st.none() | st.just(Reference(source="x", digest="d", rows=5)),
    checks=st.lists(
        st.builds(
            Check,
            name=st.just("schema"),
            subject=NAMES,
            is_ok=st.booleans(),
            scope=st.sampled_from(["traffic", "inputs", "world", "labels", "none"]),
        ),
        max_size=3,
    ).map(tuple),
    shifts=st.lists(
        st.builds(
            FeatureShift,
            feature=st.text(max_size=5),
            arm=NAMES,
            against=st.sampled_from(["reference", "stable"]),
            method=st.just("ks"),
            effect=st.floats(0, 1),
            q=st.floats(0, 1),
        ),
        max_size=4,
    ).map(tuple),
)


@settings(max_examples=25, deadline=None)
@given(evidence=EVIDENCES)
def test_every_evidence_has_a_decision_that_replays_and_only_a_canary_is_ever_reverted(evidence: DriftEvidence) -> None:
    made = record(evidence, DriftPolicy())
    assert isinstance(made.decision, get_args(DriftDecision))
    assert replay(codec.encode(made))[1]
    if isinstance(made.decision, Revert):
        assert set(made.decision.deployments) == {"v2"}
