"""How often automation may revert: once a version, some times a day, and not while things cool down.

All of it is read from the log of commits (:class:`.evidence.Automation`), so a tick that is run again, or on another
machine, finds the same limits.
"""

from pipelines.promotion.drift import words
from pipelines.promotion.drift.decision import Halted, Inconclusive, Reason, Revert
from pipelines.promotion.drift.evidence import DriftEvidence
from pipelines.promotion.drift.policy import DriftPolicy


def within(
    revert: Revert, evidence: DriftEvidence, policy: DriftPolicy, *, is_urgent: bool
) -> Revert | Halted | Inconclusive:
    """``revert`` where it keeps the limits, else what takes its place. An urgent one need not cool down."""
    past = evidence.automation
    if again := tuple(name for name in revert.deployments if name in past.put_back):
        text = f"{words.listed(again)} was taken out by automation before, and a person put it back: not again"
        return _halted(revert, "once a version", text, subject=again[0], number=len(again))
    if past.reverts_today >= policy.max_reverts_a_day:
        text = f"automation has reverted {past.reverts_today} times within a day, of {policy.max_reverts_a_day} allowed"
        return _halted(revert, "a day", text, subject=evidence.endpoint, number=past.reverts_today)
    if not is_urgent and past.last_revert and past.hours_since < policy.cooldown_h:
        text = (
            f"automation reverted {past.hours_since:.1f} hours ago, at {past.last_revert}; the next revert may follow"
            f" after {policy.cooldown_h:g} hours"
        )
        reason = Reason(gate="cooldown", subject=evidence.endpoint, text=text, numbers={"hours": past.hours_since})
        return Inconclusive(reasons=(reason, *revert.reasons))
    return revert


def _halted(revert: Revert, limit: str, text: str, *, subject: str, number: int) -> Halted:
    reason = Reason(
        gate="limit", subject=subject, text=f"limit of reverts ({limit}): {text}", numbers={"reverts": number}
    )
    return Halted(deployments=revert.deployments, reasons=(reason, *revert.reasons))
