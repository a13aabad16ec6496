"""What people are told of a decision, and by which name they know that they were told. Pure.

A notice is worth somebody's attention: a version was taken back, a rollout ended by its time, promotion was frozen, or
something moved and nobody can say whose fault it is. Successes are in the log of commits. Its fingerprint is that of
(stage, endpoint, deployments, rule, window); the window is the rollout, or the day where none runs. Whoever remembers
fingerprints tells each of them once.
"""

import hashlib
import json
from dataclasses import dataclass
from typing import Final, assert_never

from pipelines.promotion.decision import Abort, Expire, SetWeights
from pipelines.promotion.drift.decision import AlertOnly, Halted, Healthy, HoldRouting, Inconclusive, Revert, WorldMoved
from pipelines.promotion.drift.record import DriftRecord
from pipelines.promotion.record import PromotionRecord

FINGERPRINT_DIGITS: Final = 16
_DAY: Final = 10
"""Characters of a time that say its day."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One thing to tell."""

    stage: str
    endpoint: str
    deployments: tuple[str, ...]
    rule: str
    """Gate or verdict that asked for it."""
    window: str
    reason: str

    @property
    def fingerprint(self) -> str:
        """The same however often the same thing is found.

        >>> one = Notice(stage="s", endpoint="e", deployments=("d",), rule="errors", window="r1", reason="bad")
        >>> len(one.fingerprint)
        16
        """
        said = "\n".join([self.stage, self.endpoint, *sorted(self.deployments), self.rule, self.window])
        return hashlib.sha256(said.encode()).hexdigest()[:FINGERPRINT_DIGITS]

    @property
    def title(self) -> str:
        """One line."""
        return f"{self.endpoint} ({self.stage}): {', '.join(self.deployments)}: {self.rule}"


def notice_of(record: PromotionRecord | DriftRecord) -> Notice | None:
    """What to tell of a decision; ``None``: nothing."""
    match record:
        case PromotionRecord():
            return _of_promotion(record)
        case DriftRecord():
            return _of_drift(record)
        case _:
            assert_never(record)


def fingerprint_of(record: PromotionRecord | DriftRecord) -> str:
    """The fingerprint of what people are told of a decision; empty: nothing."""
    notice = notice_of(record)
    return notice.fingerprint if notice else ""


def is_of(record: str, evidence: str) -> bool:
    """Whether committed evidence is of the decision in ``record``; the evidence may have lost what is too much."""
    return _decided(record) == _decided(evidence)


def _of_promotion(record: PromotionRecord) -> Notice | None:
    state, decision = record.state, record.decision
    match decision:
        case Abort(deployments=names):
            rule = decision.reason.partition(": ")[0] if not state.is_watching else "after the promotion"
        case Expire(deployment=name, action=action):
            names, rule = (name,), f"not settled in time, {action}"
        case SetWeights(dropped=dropped) if dropped:
            names, rule = (dropped,), "out of the experiment"
        case _:
            return None
    window = state.rollout or (state.since.isoformat() if state.since else "")
    return Notice(
        stage=state.stage,
        endpoint=state.endpoint,
        deployments=names,
        rule=rule,
        window=window,
        reason=decision.reason,
    )


def _of_drift(record: DriftRecord) -> Notice | None:
    seen, decision = record.evidence, record.decision
    match decision:
        case Healthy() | Inconclusive():
            return None
        case Revert(deployments=names) | HoldRouting(deployments=names) | Halted(deployments=names):
            pass
        case WorldMoved() | AlertOnly():
            names = (seen.stable.deployment, *(arm.deployment for arm in seen.canaries))
        case _:
            assert_never(decision)
    return Notice(
        stage=seen.stage,
        endpoint=seen.endpoint,
        deployments=names,
        rule=decision.verdict,
        window=seen.rollout or seen.window.until[:_DAY],
        reason="; ".join(reason.text for reason in decision.reasons[:3]),
    )


def _decided(text: str) -> object:
    try:
        read = json.loads(text)
    except ValueError:
        return None
    kept = {key: value for key, value in read.items() if key not in {"findings", "are_numbers_whole"}}
    for hold in kept.get("state", {}).get("holds", ()):
        hold.pop("reason", None)
    return kept
