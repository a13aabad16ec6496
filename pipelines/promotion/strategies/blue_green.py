"""Blue-green: the new version stands ready without users, takes all of them at once, and the old one stays warm.

The switch and the way back are one commit each, and while the old version is warm both take effect within a second.
There is no control beside it, so nothing is compared afterwards: what the new version answers is looked at before the
switch, by the header ``x-model-version``.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from pydantic import Field

from pipelines.promotion.decision import Decision, GateResult, Hold, Promote, Unchanged
from pipelines.promotion.forms import Percent, PlanForm, Span
from pipelines.promotion.observation import Observed
from pipelines.promotion.situation import MANUAL, Situation, approval_wanted, obstacles, why_nobody
from pipelines.promotion.state import State
from pipelines.promotion.terms import Terms

KEEP_WARM = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class BlueGreen:
    """All at once."""

    needs_approval: bool = True
    """People must approve before the switch."""

    def where(self, state: State) -> str:
        """Where a rollout stands, for people."""
        return "switched" if state.candidate is None else f"{state.candidate.deployment} stands ready"


class BlueGreenForm(PlanForm):
    """``strategy: blue-green``: all at once."""

    strategy: Literal["blue-green"] = Field(description="all at once, after approval; the old version stays warm")
    approval: bool = Field(default=True, description="people must approve before the switch")
    holdback: Percent = Field(default=0, description="per cent that the old version keeps afterwards, as a control")
    keep_warm: Span | None = Field(
        default=KEEP_WARM, description="time that the old version stays ready for the way back; null: for ever"
    )

    def value(self) -> BlueGreen:
        """What is inside."""
        return BlueGreen(needs_approval=self.approval)


def judge(terms: Terms, observed: Observed) -> tuple[GateResult, ...]:  # noqa: ARG001  nobody has seen it yet
    """Nothing: the new version has no users before the switch."""
    return ()


def settle(blue_green: BlueGreen, situation: Situation) -> Decision:
    """What follows."""
    candidate = situation.state.candidate
    if candidate is None:
        return Unchanged(reason=why_nobody(situation.state, situation.now))
    if obstacle := next(obstacles(situation, candidate), None):
        return Hold(reason=obstacle)
    name = candidate.deployment
    if situation.is_approved:
        return Promote(deployment=name, reason=f"approved: {name} takes over at once")
    if not blue_green.needs_approval and not candidate.weight:
        return Promote(deployment=name, reason=f"{name} is ready and takes over at once")
    return Hold(reason=MANUAL if candidate.weight else f"{name} would take over at once: {approval_wanted(situation)}")
