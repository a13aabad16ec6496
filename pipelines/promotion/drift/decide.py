"""One pure call: evidence and policy in, decision out.

Rules, in this order:
    1. a version whose users certainly fail beyond the guardrail is reverted, whatever else is wrong;
    2. evidence that is not valid decides nothing;
    3. a canary that is worse than concurrent stable, beyond the margin, by an always-valid bound: revert. Where all
       users have one version, the version before is the control, scored on the same logged inputs;
    4. a canary that sees other inputs than stable: hold, since random routing gives both the same;
    5. stable's inputs left the training sample and no arm differs: the world moved, which no revert can mend;
    6. nothing of all that: healthy. It is no licence to promote; the promotion engine asks for more.

A column's shift counts where the whole window shows it and k of its n parts do; the classifier looks at the whole
window alone, at a stricter level. Once promotion is frozen, either counts until the whole window is below its lower
exit level. A revert has limits (:mod:`.limits`): one a version, some a day, and a time to cool down.
"""

from collections.abc import Iterator

from pipelines.promotion.drift import faults, limits, words
from pipelines.promotion.drift.decision import (
    AlertOnly,
    DriftDecision,
    Healthy,
    HoldRouting,
    Inconclusive,
    Reason,
    Revert,
    WorldMoved,
)
from pipelines.promotion.drift.evidence import Against, DomainTest, DriftEvidence, FeatureShift, Scope
from pipelines.promotion.drift.policy import DriftPolicy


def decide_drift(evidence: DriftEvidence, policy: DriftPolicy) -> DriftDecision:
    """What follows from this evidence under this policy. Total: every evidence has an answer.

    >>> from pipelines.promotion.drift.evidence import Arm, Window
    >>> stable = Arm(deployment="churn", model_digest="sha256:1", weight=1000, rows=0, users=0)
    >>> evidence = DriftEvidence(endpoint="churn", stage="production", commit="0" * 40, rollout="",
    ...                          window=Window(since="", until=""), stable=stable)
    >>> decide_drift(evidence, DriftPolicy()).verdict
    'Inconclusive'
    """
    if crashed := tuple(faults.beyond_guardrail(evidence, policy)):
        return limits.within(_revert(crashed), evidence, policy, is_urgent=True)
    if invalid := _failed(evidence, "traffic") + faults.mismatch(evidence):
        return Inconclusive(reasons=invalid)
    worse, rest = faults.compared(evidence, policy)
    if worse:
        return limits.within(_revert(worse + tuple(_world(evidence, policy))), evidence, policy, is_urgent=False)
    return _inputs(evidence, policy, told=_failed(evidence, "labels") + rest)


def _inputs(evidence: DriftEvidence, policy: DriftPolicy, *, told: tuple[Reason, ...]) -> DriftDecision:
    """Nobody is at fault: what do the inputs say? ``told`` is what the comparisons said besides."""
    if unusable := _failed(evidence, "inputs"):
        return Inconclusive(reasons=unusable)
    if apart := tuple(_apart(evidence, policy)):
        return HoldRouting(
            deployments=_unique(reason.subject for reason in apart),
            features=_unique(s.feature for s in _shifted(evidence, policy, "stable")),
            reasons=apart,
        )
    if evidence.reference is None or _failed(evidence, "world"):
        return Inconclusive(reasons=_failed(evidence, "world") + told)
    if not (moved := tuple(_world(evidence, policy))):
        return Healthy(reasons=(_calm(evidence), *told))
    features = _unique(s.feature for s in _shifted(evidence, policy, "reference", arm=evidence.stable.deployment))
    if evidence.canaries:
        return WorldMoved(features=features, reasons=moved + told)
    return AlertOnly(features=features, reasons=(*moved, *told, *_no_control(evidence)))


def _revert(reasons: tuple[Reason, ...]) -> Revert:
    return Revert(deployments=_unique(r.subject for r in reasons if r.gate in faults.GATES), reasons=reasons)


def _failed(evidence: DriftEvidence, scope: Scope) -> tuple[Reason, ...]:
    failed = [check for check in evidence.checks if not check.is_ok and check.scope == scope]
    if scope == "traffic" and evidence.stable.rows == 0:
        text = f"no prediction of stable {evidence.stable.deployment} is in the window"
        return (
            Reason(gate="validity", subject=evidence.stable.deployment, text=text, numbers={"rows": 0}),
            *(_invalid(check.name, check.subject, check.detail) for check in failed),
        )
    if scope == "world" and evidence.reference is None and not failed:
        return (_invalid("reference", evidence.stable.deployment, "no training sample to compare with"),)
    return tuple(_invalid(check.name, check.subject, check.detail) for check in failed)


def _invalid(name: str, subject: str, detail: str) -> Reason:
    return Reason(gate="validity", subject=subject, text=f"{name}: {detail}")


def _shifted(
    evidence: DriftEvidence, policy: DriftPolicy, against: Against, *, arm: str | None = None
) -> list[FeatureShift]:
    is_known = _is_known(evidence, against)
    return [
        s
        for s in evidence.shifts
        if s.against == against and arm in (None, s.arm) and _counts(s, policy, is_known=is_known)
    ]


def _is_known(evidence: DriftEvidence, against: Against) -> bool:
    """Whether promotion is frozen already, so that the exit levels count: those of the world, never of two arms."""
    return against == "reference" and evidence.automation.is_frozen


def _counts(shift: FeatureShift, policy: DriftPolicy, *, is_known: bool) -> bool:
    """Whether a shift is sure, large and lasting enough; one that is known already needs less to stay so."""
    if is_known:
        return shift.q <= policy.window_p and shift.effect >= policy.exit_effect
    is_lasting = shift.hits >= policy.needed_of(shift.parts)
    return shift.q <= policy.fdr and shift.effect >= policy.enter_effect and is_lasting


def _told_apart(evidence: DriftEvidence, policy: DriftPolicy, against: Against, *, arm: str) -> DomainTest | None:
    tests = (t for t in evidence.domain_tests if t.against == against and t.arm == arm)
    return next((t for t in tests if _separates(t, policy, is_known=_is_known(evidence, against))), None)


def _separates(test: DomainTest, policy: DriftPolicy, *, is_known: bool) -> bool:
    """Whether the classifier is sure enough and tells enough; once promotion is frozen, less will do."""
    if is_known:
        return test.p <= policy.window_p and test.auc >= policy.exit_auc
    return test.p <= policy.auc_p and test.auc >= policy.enter_auc


def _apart(evidence: DriftEvidence, policy: DriftPolicy) -> Iterator[Reason]:
    stable = evidence.stable.deployment
    for arm in evidence.canaries:
        shifted = _shifted(evidence, policy, "stable", arm=arm.deployment)
        if shifted:
            yield Reason(
                gate="inputs",
                subject=arm.deployment,
                text=f"{arm.deployment} sees other inputs than {stable} although routing is random:"
                f" {words.shifts(shifted)}; suspect routing or the feature pipeline",
                numbers={s.feature: s.effect for s in shifted},
            )
        elif test := _told_apart(evidence, policy, "stable", arm=arm.deployment):
            yield Reason(
                gate="inputs",
                subject=arm.deployment,
                text=f"a classifier tells the inputs of {arm.deployment} from those of {stable}"
                f" (AUC {test.auc:.2f}); suspect routing or the feature pipeline",
                numbers={"auc": test.auc, "p": test.p},
            )


def _world(evidence: DriftEvidence, policy: DriftPolicy) -> Iterator[Reason]:
    stable = evidence.stable.deployment
    is_alike = evidence.canaries and all(c.is_ok for c in evidence.checks if c.name == "sample-size")
    alike = " in every arm alike" if is_alike else ""
    if shifted := _shifted(evidence, policy, "reference", arm=stable):
        verb = "left the training sample" + alike
        yield Reason(
            gate="world",
            subject=evidence.endpoint,
            text=f"{words.shifts(shifted)} {verb}",
            numbers={s.feature: s.effect for s in shifted},
        )
    elif test := _told_apart(evidence, policy, "reference", arm=stable):
        yield Reason(
            gate="world",
            subject=evidence.endpoint,
            text=f"a classifier tells today's inputs from the training sample (AUC {test.auc:.2f}){alike},"
            " though no single column moved enough",
            numbers={"auc": test.auc, "p": test.p},
        )


def _calm(evidence: DriftEvidence) -> Reason:
    strongest = max((s.effect for s in evidence.shifts if s.against == "reference"), default=0.0)
    return Reason(
        gate="world",
        subject=evidence.endpoint,
        text=f"none of {evidence.features_tested} columns left the training sample (greatest effect {strongest:.2f})",
        numbers={"effect": strongest, "columns": float(evidence.features_tested)},
    )


def _no_control(evidence: DriftEvidence) -> Iterator[Reason]:
    if evidence.shadow is not None:
        return  # it has spoken among the comparisons
    text = f"{evidence.stable.deployment} answers all users: no concurrent version can say whether it is at fault"
    yield Reason(gate="control", subject=evidence.stable.deployment, text=text)


def _unique(names: Iterator[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))
