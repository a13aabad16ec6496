import math
from dataclasses import replace

import pytest

from mlflow_deploy_plugin.errors import ConfigError
from pipelines.analysis.arms import Arm, UserCounts, metric, user_counts
from pipelines.analysis.compare import compare
from pipelines.analysis.counts import compare_counts
from pipelines.analysis.error_ratio import compare_error_ratio
from pipelines.analysis.gates import AgreementGate, CountGate, ErrorRatioGate, MeanGate, PairedGate, QuantileGate
from pipelines.analysis.paired import Pairs, compare_paired, judge_agreement
from pipelines.analysis.verdict import Failed, Inconclusive, Successful, Verdict

HALF_A_POINT = ErrorRatioGate(margin=0.005)


def judged(
    stable: tuple[int, int], canary: tuple[int, int], gate: ErrorRatioGate, *, is_final: bool = False
) -> Verdict:
    arms = (user_counts(*seen, shares=share, is_final=is_final) for seen, share in ((stable, 0.9), (canary, 0.1)))
    return compare_error_ratio(*arms, gate, alpha=0.01)


@pytest.mark.parametrize("gate", [ErrorRatioGate(), HALF_A_POINT, ErrorRatioGate(relative_margin=0.5)])
@pytest.mark.parametrize("is_final", [True, False])
def test_a_clearly_worse_canary_fails(gate: ErrorRatioGate, is_final: bool) -> None:  # noqa: FBT001
    assert isinstance(judged((9000, 90), (1000, 60), gate, is_final=is_final), Failed)


@pytest.mark.parametrize("gate", [HALF_A_POINT, ErrorRatioGate(relative_margin=0.6)])
def test_an_equal_canary_succeeds_within_a_margin(gate: ErrorRatioGate) -> None:
    assert isinstance(judged((90_000, 900), (10_000, 100), gate), Successful)


def test_an_equal_canary_is_not_proven_better() -> None:
    assert isinstance(judged((90_000, 900), (10_000, 100), ErrorRatioGate()), Inconclusive)


def test_no_error_on_either_arm_succeeds_by_number_of_users_alone() -> None:
    assert isinstance(judged((900, 0), (100, 0), HALF_A_POINT), Inconclusive)
    assert isinstance(judged((27_000, 0), (3000, 0), HALF_A_POINT), Successful)


def test_one_error_among_twenty_users_proves_nothing() -> None:
    assert isinstance(judged((180, 0), (20, 1), ErrorRatioGate(guardrail=0.05)), Inconclusive)


def test_a_stable_that_is_bad_too_does_not_fail_the_canary() -> None:
    assert isinstance(judged((9000, 540), (1000, 60), ErrorRatioGate()), Inconclusive)


def test_the_guardrail_fails_a_canary_that_is_no_worse_than_stable() -> None:
    verdict = judged((9000, 2700), (1000, 300), ErrorRatioGate(guardrail=0.05))
    assert isinstance(verdict, Failed)
    assert "above the guardrail 5.00%" in verdict.reason


def test_the_guardrail_needs_no_control() -> None:
    arms = user_counts(0, 0), user_counts(1000, 300)
    assert isinstance(compare_error_ratio(*arms, ErrorRatioGate(guardrail=0.05), alpha=0.01), Failed)


def test_a_split_that_was_not_kept_is_inconclusive_even_for_a_worse_canary() -> None:
    verdict = judged((7000, 70), (3000, 300), ErrorRatioGate())
    assert isinstance(verdict, Inconclusive)
    assert "sample ratio mismatch: 7000/3000 users where 9000/1000 were due" in verdict.reason


@pytest.mark.parametrize(("stable", "canary", "who"), [((0, 0), (10, 1), "stable"), ((10, 1), (0, 0), "the canary")])
def test_an_arm_without_users_is_inconclusive(stable: tuple[int, int], canary: tuple[int, int], who: str) -> None:
    verdict = judged(stable, canary, ErrorRatioGate())
    assert isinstance(verdict, Inconclusive)
    assert verdict.reason == f"no users of {who} were seen"


def test_success_waits_for_the_minimum_of_users() -> None:
    verdict = judged((27_000, 0), (3000, 0), replace(HALF_A_POINT, minimum_users=5000))
    assert isinstance(verdict, Inconclusive)
    assert "3000 canary users are fewer than the 5000" in verdict.reason


def test_an_outage_of_both_arms_cancels() -> None:
    calm, outage = (0.001, 0.4)
    stable = user_counts([90_000, 9000], [int(90_000 * calm), int(9000 * outage)], shares=[0.9, 0.9])
    canary = user_counts([10_000, 1000], [int(10_000 * calm), int(1000 * outage)], shares=[0.1, 0.1])
    assert isinstance(compare_error_ratio(stable, canary, ErrorRatioGate(), alpha=0.01), Inconclusive)


def test_an_outage_while_the_canary_was_small_is_not_held_against_it() -> None:
    """Pooled over both periods stable looks worse, or the canary does: Simpson's paradox. By period neither is."""
    stable = user_counts([9900, 5000], [990, 5], shares=[0.99, 0.5])
    canary = user_counts([100, 5000], [10, 5], shares=[0.01, 0.5])
    assert isinstance(compare_error_ratio(stable, canary, ErrorRatioGate(), alpha=0.01), Inconclusive)


def test_without_a_known_split_each_arm_speaks_for_itself() -> None:
    stable, canary = user_counts(9000, 90), user_counts(1000, 60)
    assert isinstance(compare_error_ratio(stable, canary, ErrorRatioGate(), alpha=0.01), Failed)
    assert isinstance(compare_error_ratio(stable, user_counts(1000, 10), ErrorRatioGate(), alpha=0.01), Inconclusive)
    many = user_counts(100_000, 1000), user_counts(100_000, 1000)
    assert isinstance(compare_error_ratio(*many, HALF_A_POINT, alpha=0.01), Successful)


def test_the_interval_holds_the_difference_and_narrows() -> None:
    widths = []
    for size in (1, 10, 100):
        numbers = judged((900 * size, 9 * size), (100 * size, 3 * size), ErrorRatioGate()).numbers
        assert numbers["low"] < numbers["difference"] < numbers["high"]
        widths.append(numbers["high"] - numbers["low"])
    assert widths == sorted(widths, reverse=True)


def test_the_same_counts_give_the_same_numbers() -> None:
    assert judged((9000, 90), (1000, 20), HALF_A_POINT) == judged((9000, 90), (1000, 20), HALF_A_POINT)


def test_smaller_alpha_asks_for_more_evidence() -> None:
    arms = user_counts(9000, 90, shares=0.9), user_counts(1000, 30, shares=0.1)
    assert isinstance(compare_error_ratio(*arms, ErrorRatioGate(), alpha=0.01), Failed)
    assert isinstance(compare_error_ratio(*arms, ErrorRatioGate(), alpha=1e-6), Inconclusive)


@pytest.mark.parametrize(
    "canary",
    [user_counts([10, 10], [1, 1], shares=[0.1, 0.1]), user_counts(10, 1), user_counts(10, 1, shares=0.2)],
)
def test_arms_that_do_not_belong_together_are_refused(canary: UserCounts) -> None:
    with pytest.raises(ConfigError):
        compare_error_ratio(user_counts(10, 1, shares=0.9), canary, ErrorRatioGate(), alpha=0.01)


@pytest.mark.parametrize("alpha", [0.0, 1.0, math.nan, -0.1])
def test_an_alpha_that_is_no_probability_is_refused(alpha: float) -> None:
    with pytest.raises(ConfigError, match="alpha"):
        compare_error_ratio(user_counts(10, 1), user_counts(10, 1), ErrorRatioGate(), alpha=alpha)


GATES = [ErrorRatioGate(), ErrorRatioGate(source="labels"), QuantileGate(), MeanGate(margin=0.1)]


@pytest.mark.parametrize("gate", GATES)
def test_what_was_not_observed_is_inconclusive_at_every_gate(gate: ErrorRatioGate | QuantileGate | MeanGate) -> None:
    verdict = compare(Arm(name="v3"), Arm(name="v4"), gate, alpha=0.01)
    assert isinstance(verdict, Inconclusive)
    assert verdict.reason.startswith("v3: ")


def test_wrong_predictions_are_judged_like_errors() -> None:
    stable = Arm(name="v3", labels=user_counts(9000, 720, shares=0.9, is_final=True))
    canary = Arm(name="v4", labels=user_counts(1000, 150, shares=0.1, is_final=True))
    gate = ErrorRatioGate(source="labels", event="wrong prediction", margin=0.01)
    verdict = compare(stable, canary, gate, alpha=0.01)
    assert isinstance(verdict, Failed)
    assert verdict.reason.startswith("wrong prediction ratio 15.00% against 8.00% of stable")


def test_a_metric_that_one_arm_lacks_is_inconclusive() -> None:
    stable = Arm(name="v3", metrics={"revenue": metric([1.0, 2.0])})
    verdict = compare(stable, Arm(name="v4"), MeanGate(margin=0.1, metric="revenue"), alpha=0.01)
    assert verdict == Inconclusive(reason="v4: metric 'revenue' was not observed")


def test_counts_without_users_never_promote() -> None:
    equal = compare_counts(900_000, 100_000, CountGate(relative_margin=0.5), share=0.1, alpha=0.01)
    assert isinstance(equal, Inconclusive)
    assert isinstance(compare_counts(900, 300, CountGate(), share=0.1, alpha=0.01), Failed)


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [((300, 100, 9600), Failed), ((100, 100, 9800), Successful), ((3, 1, 96), Inconclusive), ((0, 0, 0), Inconclusive)],
)
def test_shadow_outcomes_are_judged_in_pairs(pairs: tuple[int, int, int], expected: type) -> None:
    new, old, same = pairs
    seen = Pairs(only_new_wrong=new, only_old_wrong=old, same=same)
    assert isinstance(compare_paired(seen, PairedGate(margin=0.01), alpha=0.01), expected)


@pytest.mark.parametrize(("different", "expected"), [(20, Successful), (110, Inconclusive), (200, Failed)])
def test_agreement_is_judged_against_its_bound(different: int, expected: type) -> None:
    assert isinstance(judge_agreement(user_counts(5000, different), AgreementGate(bound=0.02), alpha=0.01), expected)
