"""Is a new version at fault? Each canary against concurrent stable: users who fail, and matured ground truth.

Does not look at inputs. Every comparison is :mod:`pipelines.analysis`'s and holds at every look (always-valid), with
the rollout's alpha split over gates and arms, so a job may run as often as it likes.
"""

from collections.abc import Iterator
from typing import Final

import numpy as np

from pipelines.analysis import rates
from pipelines.analysis.arms import UserCounts, user_counts
from pipelines.analysis.error_ratio import compare_error_ratio
from pipelines.analysis.gates import ErrorRatioGate
from pipelines.analysis.means import asymptotic_half_width
from pipelines.analysis.multiple import split_alpha
from pipelines.analysis.srm import judge_split
from pipelines.analysis.verdict import Failed, Inconclusive, Verdict
from pipelines.promotion.drift import paired, words
from pipelines.promotion.drift.decision import Reason
from pipelines.promotion.drift.evidence import Arm, DriftEvidence, Performance, UserSums, UserTally
from pipelines.promotion.drift.policy import DriftPolicy

GATES: Final = ("errors", "performance")
SRM_ALPHA: Final = 0.001
"""Chance of a false alarm on the split over all looks; the field's custom."""


def beyond_guardrail(evidence: DriftEvidence, policy: DriftPolicy) -> Iterator[Reason]:
    """Canaries whose users fail beyond the absolute bound with certainty; needs no control and no valid split."""
    alpha = _alpha(evidence, policy, "errors")
    for arm in evidence.canaries:
        if arm.failures is None or not arm.failures.users:
            continue
        failed, users = sum(arm.failures.events), arm.failures.users
        low = float(rates.bounds(failed, users, alpha=alpha)[0])
        if low > policy.failure_guardrail:
            yield Reason(
                gate="errors",
                subject=arm.deployment,
                text=f"{arm.deployment} fails for {words.percent(arm.failures.ratio)} of {users} users, certainly for"
                f" at least {words.percent(low)}: above the guardrail of {words.percent(policy.failure_guardrail)}",
                numbers={"failed": failed, "users": users, "low": low, "alpha": alpha},
            )


def mismatch(evidence: DriftEvidence) -> tuple[Reason, ...]:
    """Users who did not fall on the arms as the split says; everything that compares arms is worthless then."""
    tallies = [arm.failures for arm in (evidence.stable, *evidence.canaries)]
    known = [tally for tally in tallies if tally is not None and tally.shares]
    if not evidence.canaries or len(known) < len(tallies):
        return ()
    observed = np.array([tally.exposed for tally in known]).T
    shares = np.array([tally.shares for tally in known]).T
    verdict = judge_split(observed, shares / shares.sum(axis=1, keepdims=True), alpha=SRM_ALPHA)
    if isinstance(verdict, Inconclusive):
        return (Reason(gate="srm", subject=evidence.endpoint, text=verdict.reason, numbers=dict(verdict.numbers)),)
    return ()


def compared(evidence: DriftEvidence, policy: DriftPolicy) -> tuple[tuple[Reason, ...], tuple[Reason, ...]]:
    """Each canary beside stable: those that are worse beyond the margin with certainty, and what the rest said."""
    found = tuple(_comparisons(evidence, policy))
    worse = tuple(reason for reason, is_worse in found if is_worse)
    return worse, tuple(reason for reason, is_worse in found if not is_worse)


def _alpha(evidence: DriftEvidence, policy: DriftPolicy, gate: str) -> float:
    return split_alpha(policy.alpha, GATES, arms=max(1, len(evidence.canaries)))[gate]


def _comparisons(evidence: DriftEvidence, policy: DriftPolicy) -> Iterator[tuple[Reason, bool]]:
    are_labels_valid = not any(c.scope == "labels" and not c.is_ok for c in evidence.checks)
    for arm in evidence.canaries:
        yield from _errors(arm, evidence.stable, policy, alpha=_alpha(evidence, policy, "errors"))
        if are_labels_valid:
            yield _performance(arm, evidence.stable, policy, alpha=_alpha(evidence, policy, "performance"))
    if evidence.shadow is not None and not evidence.canaries:
        yield paired.judged(evidence.stable, evidence.shadow, policy)


def _errors(arm: Arm, stable: Arm, policy: DriftPolicy, *, alpha: float) -> Iterator[tuple[Reason, bool]]:
    ours, theirs = arm.failures, stable.failures
    if ours is None or theirs is None or not ours.users or not theirs.users:
        return
    gate = ErrorRatioGate(margin=policy.failure_margin, event="failure")
    verdict = compare_error_ratio(_counts(theirs), _counts(ours), gate, alpha=alpha)
    head = f"failed for {words.percent(ours.ratio)} against {words.percent(theirs.ratio)} of users"
    yield _shares_reason("errors", (arm, stable), verdict, head=head, policy=policy), isinstance(verdict, Failed)


def _performance(arm: Arm, stable: Arm, policy: DriftPolicy, *, alpha: float) -> tuple[Reason, bool]:
    ours, theirs = arm.performance, stable.performance
    if ours is None or theirs is None or min(ours.users, theirs.users) < policy.min_labelled_users:
        return _too_few(arm, ours, theirs, policy), False
    if ours.wrong is not None and theirs.wrong is not None:
        gate = ErrorRatioGate(margin=policy.wrong_margin, event="wrong", source="labels")
        stable_counts, counts = _counts(theirs.wrong, is_final=True), _counts(ours.wrong, is_final=True)
        verdict = compare_error_ratio(stable_counts, counts, gate, alpha=alpha)
        head = f"wrong for {words.percent(ours.wrong.ratio)} against {words.percent(theirs.wrong.ratio)} of users"
        reason = _shares_reason("performance", (arm, stable), verdict, head=head, policy=policy)
        return reason, isinstance(verdict, Failed)
    if ours.error is not None and theirs.error is not None:
        return _errors_of_numbers(arm, stable, (ours.error, theirs.error), policy=policy, alpha=alpha)
    text = f"labels of {arm.deployment} and of stable are of two kinds, numbers and classes"
    return Reason(gate="performance", subject=arm.deployment, text=text), False


def _errors_of_numbers(
    arm: Arm, stable: Arm, sums: tuple[UserSums, UserSums], *, policy: DriftPolicy, alpha: float
) -> tuple[Reason, bool]:
    ours, theirs = sums
    difference = ours.mean - theirs.mean
    variance, users = ours.squared_error + theirs.squared_error, ours.users + theirs.users
    half = float(asymptotic_half_width(variance, users, alpha=alpha))
    low, high = difference - half, difference + half
    is_worse = low > policy.error_margin * theirs.mean
    bounds = f"at least {low:+.4g}" if is_worse else f"{low:+.4g} to {high:+.4g}"
    tail = f"difference {difference:+.4g}, {_sure(policy)} of {bounds}"
    head = f"absolute error {ours.mean:.4g} against {theirs.mean:.4g} per user"
    numbers = {"canary": ours.mean, "canary_users": ours.users, "stable": theirs.mean, "stable_users": theirs.users}
    numbers |= {"difference": difference, "low": low, "high": high, "alpha": alpha}
    text = _sentence(arm, stable, f"{head} ({tail})", is_worse=is_worse)
    return Reason(gate="performance", subject=arm.deployment, text=text, numbers=numbers), is_worse


def _too_few(arm: Arm, ours: Performance | None, theirs: Performance | None, policy: DriftPolicy) -> Reason:
    counts = tuple(p.users if p else 0 for p in (ours, theirs))
    text = (
        f"labels have arrived for {counts[0]} users of {arm.deployment} and {counts[1]} of stable;"
        f" {policy.min_labelled_users} of each are needed to judge performance"
    )
    numbers = {"canary_users": counts[0], "stable_users": counts[1]}
    return Reason(gate="performance", subject=arm.deployment, text=text, numbers=numbers)


def _shares_reason(gate: str, arms: tuple[Arm, Arm], verdict: Verdict, *, head: str, policy: DriftPolicy) -> Reason:
    """The verdict on two shares of users, in words that need no statistics."""
    arm, stable = arms
    numbers = dict(verdict.numbers)
    if "low" not in numbers:
        return Reason(gate=gate, subject=arm.deployment, text=f"{arm.deployment}: {verdict.reason}", numbers=numbers)
    low, high = words.points(numbers["low"]), words.points(numbers["high"])
    is_worse = isinstance(verdict, Failed)
    bounds = f"{_sure(policy)} of at least {low}" if is_worse else f"{_sure(policy)} that it lies in {low} to {high}"
    found = f"{head} (difference {words.points(numbers['difference'])}, {bounds})"
    return Reason(
        gate=gate, subject=arm.deployment, text=_sentence(arm, stable, found, is_worse=is_worse), numbers=numbers
    )


def _sentence(arm: Arm, stable: Arm, found: str, *, is_worse: bool) -> str:
    verdict = "is worse than stable" if is_worse else "is not certainly worse than stable"
    return f"{arm.deployment} {verdict} {stable.deployment} on the same traffic: {found}"


def _sure(policy: DriftPolicy) -> str:
    return f"{(1 - policy.alpha) * 100:g} % sure"


def _counts(tally: UserTally, *, is_final: bool = False) -> UserCounts:
    return user_counts(tally.exposed, tally.events, shares=tally.shares or None, is_final=is_final)
