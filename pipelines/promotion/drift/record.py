"""A drift decision with all that it was made from: the file that a revert commits and that replays for ever."""

from dataclasses import dataclass

from mlflow_deploy_plugin.version import VERSION
from pipelines.promotion import codec
from pipelines.promotion.drift.decide import decide_drift
from pipelines.promotion.drift.decision import DriftDecision
from pipelines.promotion.drift.evidence import DriftEvidence
from pipelines.promotion.drift.policy import DriftPolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftRecord:
    """Evidence, policy and what followed from them."""

    evidence: DriftEvidence
    policy: DriftPolicy
    decision: DriftDecision
    code: str = VERSION
    kind: str = "modelserve.io/drift-decision.v1"


def record(evidence: DriftEvidence, policy: DriftPolicy) -> DriftRecord:
    """Decide, and keep what was decided on.

    The evidence goes through its own text first, so that what decides now is what a replay will read.
    """
    canonical = codec.decode(DriftEvidence, codec.encode(evidence))
    return DriftRecord(evidence=canonical, policy=policy, decision=decide_drift(canonical, policy))


def replay(text: str) -> tuple[DriftRecord, bool]:
    """The record that today's code makes of a recorded one's evidence, and whether it is the same byte for byte."""
    before = codec.decode(DriftRecord, text)
    now = DriftRecord(
        evidence=before.evidence,
        policy=before.policy,
        decision=decide_drift(before.evidence, before.policy),
        code=before.code,
    )
    return now, codec.encode(now) == text
