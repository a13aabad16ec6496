"""A drift decision with all that it was made from: the file that a revert commits and that replays for ever."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from mlflow_deploy_plugin.version import VERSION
from pipelines.promotion import codec
from pipelines.promotion.drift.decide import decide_drift
from pipelines.promotion.drift.decision import DriftDecision
from pipelines.promotion.drift.evidence import DriftEvidence, FeatureShift
from pipelines.promotion.drift.policy import DriftPolicy

REPORT_BYTES: Final = 1000
"""Room that is kept for the digests of the report."""
KEEPS: Final = (24, 12, 6, 3, 1)
"""Columns of each comparison, and checks, that are tried until the record is small enough."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftRecord:
    """Evidence, policy and what followed from them."""

    evidence: DriftEvidence
    policy: DriftPolicy
    decision: DriftDecision
    report: Mapping[str, str] = field(default_factory=dict)
    """Digest of each file of the drawn report, by name: the report itself is too large for a repository."""
    code: str = VERSION
    kind: str = "modelserve.io/drift-decision.v1"


def record(evidence: DriftEvidence, policy: DriftPolicy) -> DriftRecord:
    """Decide, and keep what was decided on.

    The evidence goes through its own text first, and is cut to what a commit may hold before anything is decided, so
    that what decides now is what a replay will read.
    """
    made = _made(evidence, policy)
    for keep in KEEPS:
        if len(codec.encode(made).encode()) <= codec.MAX_BYTES - REPORT_BYTES:
            break
        made = _made(_cut(evidence, keep), policy)
    return made


def replay(text: str) -> tuple[DriftRecord, bool]:
    """The record that today's code makes of a recorded one's evidence, and whether it is the same byte for byte.

    Raises:
        ConfigError: the text is no such record.
    """
    before = codec.decode(DriftRecord, text)
    now = replace(before, decision=decide_drift(before.evidence, before.policy))
    return now, codec.encode(now) == text


def _made(evidence: DriftEvidence, policy: DriftPolicy) -> DriftRecord:
    canonical = codec.decode(DriftEvidence, codec.encode(evidence))
    return DriftRecord(evidence=canonical, policy=policy, decision=decide_drift(canonical, policy))


def _cut(evidence: DriftEvidence, keep: int) -> DriftEvidence:
    """The strongest of everything that can be many; checks come with the blocking ones first."""
    return replace(
        evidence,
        shifts=_strongest(evidence.shifts, keep),
        predictions=_strongest(evidence.predictions, keep),
        checks=evidence.checks[:keep],
    )


def _strongest(shifts: Sequence[FeatureShift], keep: int) -> tuple[FeatureShift, ...]:
    """The ``keep`` greatest effects of each comparison."""
    kept: dict[tuple[str, str], list[FeatureShift]] = {}
    for shift in sorted(shifts, key=lambda s: (-s.effect, s.feature)):
        kept.setdefault((shift.arm, shift.against), []).append(shift)
    return tuple(shift for group in kept.values() for shift in group[:keep])
