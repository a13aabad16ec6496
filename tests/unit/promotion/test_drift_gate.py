"""The gate's memory and patience: k of n parts, two levels, a time to cool down, and limits; the control at 100 %."""

from collections.abc import Callable, Iterable
from dataclasses import replace

import pytest

from mlflow_deploy_plugin.errors import ConfigError
from pipelines.promotion.drift.decide import decide_drift
from pipelines.promotion.drift.decision import (
    AlertOnly,
    DriftDecision,
    Halted,
    Healthy,
    HoldRouting,
    Inconclusive,
    Revert,
    WorldMoved,
)
from pipelines.promotion.drift.evidence import (
    Against,
    Arm,
    Automation,
    DomainTest,
    DriftEvidence,
    FeatureShift,
    Performance,
    Shadow,
    UserSums,
    UserTally,
)
from pipelines.promotion.drift.policy import DriftPolicy

Make = Callable[..., DriftEvidence]


def decide(evidence: DriftEvidence) -> DriftDecision:
    return decide_drift(evidence, DriftPolicy())


def moved(**fields: object) -> FeatureShift:
    base = FeatureShift(feature="age", arm="churn", against="reference", method="ks", effect=0.3, q=1e-9)
    return replace(base, **fields)  # type: ignore[arg-type]


def canary(*, wrong: float = 0.1, failing: float = 0.0) -> Arm:
    return Arm(
        deployment="churn-v2",
        model_digest="sha256:2",
        weight=400,
        rows=800,
        users=800,
        failures=UserTally(exposed=(800,), events=(round(800 * failing),), shares=(0.4,)),
        performance=Performance(wrong=UserTally(exposed=(800,), events=(round(800 * wrong),), shares=(0.4,))),
    )


def worse(make: Make, **automation: object) -> DriftEvidence:
    return make(canaries=(canary(wrong=0.4),), automation=Automation(**automation))  # type: ignore[arg-type]


# -- k of n ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("hits", "kind"), [(4, WorldMoved), (3, WorldMoved), (2, Healthy), (0, Healthy)])
def test_a_shift_counts_when_three_of_four_parts_of_the_window_show_it(
    make_evidence: Make, hits: int, kind: type
) -> None:
    assert isinstance(decide(make_evidence(shifts=(moved(hits=hits, parts=4),))), kind)


def test_a_passing_difference_between_the_arms_holds_nothing(make_evidence: Make) -> None:
    brief = moved(arm="churn-v2", against="stable", hits=1, parts=4)
    assert isinstance(decide(make_evidence(shifts=(brief,))), Healthy)
    assert isinstance(decide(make_evidence(shifts=(replace(brief, hits=3),))), HoldRouting)


def test_more_parts_that_must_agree_than_there_are_is_refused() -> None:
    with pytest.raises(ConfigError, match="windows_needed"):
        DriftPolicy(windows=2, windows_needed=3)


# -- enter and exit ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("effect", "is_frozen", "kind"),
    [(0.09, False, Healthy), (0.09, True, WorldMoved), (0.07, True, Healthy), (0.11, False, WorldMoved)],
)
def test_a_freeze_ends_at_a_lower_level_than_it_began(
    make_evidence: Make, effect: float, kind: type, *, is_frozen: bool
) -> None:
    evidence = make_evidence(shifts=(moved(effect=effect),), automation=Automation(is_frozen=is_frozen))
    assert isinstance(decide(evidence), kind)


def test_a_freeze_stands_until_the_shift_is_no_longer_sure_at_a_lower_level_either(make_evidence: Make) -> None:
    frozen = Automation(is_frozen=True)
    said = [decide(make_evidence(shifts=(moved(q=q),), automation=frozen)) for q in (0.04, 0.06)]
    assert [type(each) for each in said] == [WorldMoved, Healthy]
    assert isinstance(decide(make_evidence(shifts=(moved(q=0.004),))), Healthy)  # not sure enough to begin one


def told(auc: float, p: float = 1e-9, *, arm: str = "churn", against: Against = "reference") -> DomainTest:
    return DomainTest(arm=arm, against=against, auc=auc, p=p, rows=2000)


def frozen_after(make: Make, looks: Iterable[tuple[float, float]]) -> list[bool]:
    """Whether promotion stands still after each look of the classifier, as AUC and p-value."""
    found, is_frozen = [], False
    for auc, p in looks:
        evidence = make(domain_tests=(told(auc, p),), automation=Automation(is_frozen=is_frozen))
        is_frozen = isinstance(decide(evidence), WorldMoved)
        found.append(is_frozen)
    return found


def test_a_classifier_around_its_enter_level_does_not_flap(make_evidence: Make) -> None:
    looks = [(0.59, 1e-9), (0.61, 1e-9), (0.59, 1e-9), (0.61, 1e-9), (0.575, 0.01), (0.565, 1e-9), (0.59, 1e-9)]
    assert frozen_after(make_evidence, looks) == [False, True, True, True, True, False, False]


def test_a_classifier_begins_a_freeze_only_where_it_is_surer_than_one_look_asks(make_evidence: Make) -> None:
    looks = [(0.65, 1e-4), (0.65, 1e-6), (0.65, 1e-4), (0.65, 0.06), (0.65, 1e-4)]
    assert frozen_after(make_evidence, looks) == [False, True, True, False, False]


def test_a_classifier_that_compares_two_arms_has_no_exit_level(make_evidence: Make) -> None:
    frozen = Automation(is_frozen=True)
    for auc, p, kind in ((0.59, 1e-9, Healthy), (0.65, 1e-4, Healthy), (0.65, 1e-6, HoldRouting)):
        test = told(auc, p, arm="churn-v2", against="stable")
        assert isinstance(decide(make_evidence(domain_tests=(test,), automation=frozen)), kind)


@pytest.mark.parametrize(
    ("levels", "message"),
    [
        ({"exit_auc": 0.61}, "exit_auc ≤ enter_auc"),
        ({"auc_p": 0.06}, "auc_p ≤ window_p"),
        ({"auc_p": 0.0}, "auc_p=0.0 .* is not positive"),
        ({"exit_auc": -0.5}, "exit_auc=-0.5 .* is not positive"),
    ],
)
def test_levels_of_the_classifier_that_would_flap_or_never_end_are_refused(
    levels: dict[str, float], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        DriftPolicy(**levels)  # type: ignore[arg-type]


# -- limits ------------------------------------------------------------------------------------------------------


def test_a_revert_waits_while_the_last_one_cools_down(make_evidence: Make) -> None:
    decision = decide(worse(make_evidence, last_revert="2026-01-01T11:30:00+00:00", hours_since=0.5, reverts_today=1))
    assert isinstance(decision, Inconclusive)
    assert decision.reasons[0].gate == "cooldown"
    assert "is worse than stable" in decision.reasons[1].text


def test_a_version_that_fails_its_users_does_not_wait(make_evidence: Make) -> None:
    failing = make_evidence(
        canaries=(canary(failing=0.5),),
        automation=Automation(last_revert="2026-01-01T11:30:00+00:00", hours_since=0.5, reverts_today=1),
    )
    assert isinstance(decide(failing), Revert)


def test_a_revert_follows_when_things_have_cooled_down(make_evidence: Make) -> None:
    assert isinstance(decide(worse(make_evidence, last_revert="x", hours_since=1.5, reverts_today=1)), Revert)


def test_one_revert_more_than_a_day_allows_freezes_instead(make_evidence: Make) -> None:
    decision = decide(worse(make_evidence, reverts_today=3, last_revert="x", hours_since=5.0))
    assert isinstance(decision, Halted)
    assert decision.action == "freeze"
    assert "has reverted 3 times within a day" in decision.reasons[0].text


def test_a_version_that_a_person_put_back_is_not_reverted_again(make_evidence: Make) -> None:
    decision = decide(worse(make_evidence, put_back=("churn-v2",)))
    assert isinstance(decision, Halted)
    assert "a person put it back" in decision.reasons[0].text


# -- one version alone -------------------------------------------------------------------------------------------


def alone(make: Make, shadow: Shadow | None) -> DriftDecision:
    return decide(make(canaries=(), shifts=(moved(),), shadow=shadow))


def test_a_present_version_that_is_worse_than_the_one_before_on_the_same_inputs_is_reverted(
    make_evidence: Make,
) -> None:
    shadow = Shadow(deployment="churn-v0", model_digest="d0", only_new_wrong=80, only_old_wrong=10, same=910)
    decision = alone(make_evidence, shadow)
    assert isinstance(decision, Revert)
    assert decision.deployments == ("churn",)
    assert (
        "churn is worse than churn-v0 on the same logged inputs: alone wrong for 80 of 1000" in decision.reasons[0].text
    )


def test_a_present_version_that_suffers_like_the_one_before_is_kept(make_evidence: Make) -> None:
    shadow = Shadow(deployment="churn-v0", model_digest="d0", only_new_wrong=40, only_old_wrong=42, same=918)
    decision = alone(make_evidence, shadow)
    assert isinstance(decision, AlertOnly)
    assert "is not certainly worse than churn-v0" in decision.reasons[-1].text


def test_without_a_shadow_it_is_told_that_there_is_no_control(make_evidence: Make) -> None:
    decision = alone(make_evidence, None)
    assert isinstance(decision, AlertOnly)
    assert decision.reasons[-1].gate == "control"


def test_too_few_labelled_inputs_decide_nothing(make_evidence: Make) -> None:
    few = Shadow(deployment="churn-v0", model_digest="d0", only_new_wrong=20, same=10)
    assert isinstance(alone(make_evidence, few), AlertOnly)


def test_numbers_are_compared_by_the_difference_of_their_errors(make_evidence: Make) -> None:
    sums = UserSums(users=1000, total=500.0, squares=500.0)
    worse_by_half = Shadow(deployment="churn-v0", model_digest="d0", differences=sums, old_error=2.0)
    assert isinstance(alone(make_evidence, worse_by_half), Revert)
    assert isinstance(alone(make_evidence, replace(worse_by_half, old_error=20.0)), AlertOnly)
