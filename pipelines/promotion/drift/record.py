"""A drift decision with all that it was made from: the file that a revert commits and that replays for ever."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from mlflow_deploy_plugin.version import VERSION
from pipelines.promotion import codec
from pipelines.promotion.drift.decide import decide_drift
from pipelines.promotion.drift.decision import DriftDecision
from pipelines.promotion.drift.evidence import DriftEvidence, FeatureShift
from pipelines.promotion.drift.policy import DriftPolicy

KIND: Final = "modelserve.io/drift-decision.v2"
BEFORE: Final = "modelserve.io/drift-decision.v1"
"""Records of the time in which the classifier had the level of the columns, and no exit level of its own."""
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
    kind: str = KIND


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

    One of the kind before is compared with the levels written in that it was decided by.

    Raises:
        ConfigError: the text is no such record.
    """
    text = _with_levels(text)
    before = codec.decode(DriftRecord, text)
    now = replace(before, decision=decide_drift(before.evidence, before.policy))
    return now, codec.encode(now) == text


def read(text: str) -> DriftRecord:
    """The record that was written, also one of the kind before.

    Raises:
        ConfigError: the text is no such record.
    """
    return codec.decode(DriftRecord, _with_levels(text))


def _with_levels(text: str) -> str:
    """A record of the kind before, with the classifier's levels of that time; anything else as it is."""
    try:
        written = json.loads(text)
        is_before = written["kind"] == BEFORE and codec.canonical(written) == text
        policy = written["policy"]
    except (ValueError, TypeError, LookupError):  # the decoder says what is wrong with it
        return text
    if not is_before or not isinstance(policy, dict) or not {"fdr", "enter_auc"} <= policy.keys():
        return text
    levels = {"auc_p": policy["fdr"], "exit_auc": policy["enter_auc"]}
    return codec.canonical(written | {"policy": levels | policy})


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
