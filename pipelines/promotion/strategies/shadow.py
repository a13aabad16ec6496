"""Shadow: the new version is sent copies of requests, nobody waits for it, and its answers are compared offline.

Rules, in this order:
    1. a gate that failed with certainty aborts;
    2. a version on hold, a frozen endpoint, a freeze window, a hand edit: hold;
    3. a version that is not in the shadow yet: copies begin;
    4. past its expiry it ends as the plan declares;
    5. its least time, an approval, and Successful gates: agreement, errors, latency;
    6. then it goes on as a canary, or the shadow ends and a person decides.

A request that both versions predicted is one pair, and a user counts once: by the first of their pairs.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from pydantic import Field, model_validator

from mlflow_deploy_plugin.manifests.diff import percent
from mlflow_deploy_plugin.spec.names import TOTAL_WEIGHT
from pipelines.analysis.gates import AgreementGate, GpuGate, MeanGate
from pipelines.promotion.decision import (
    Abort,
    Advance,
    Conclude,
    Decision,
    Expire,
    GateResult,
    Hold,
    Promote,
    SetMirror,
    Unchanged,
)
from pipelines.promotion.forms import AgreementForm, GatesForm, Percent, PlanForm, Span, weight_of
from pipelines.promotion.judging import judged, share_of_alpha
from pipelines.promotion.observation import Observed
from pipelines.promotion.situation import MANUAL, Demand, Situation, obstacles, told, waits, why_nobody
from pipelines.promotion.state import Candidate, State
from pipelines.promotion.strategies import canary as canaries
from pipelines.promotion.strategies.canary import HOLDBACK, Canary, StepForm, canary_of
from pipelines.promotion.terms import NamedGate, Terms


@dataclass(frozen=True, slots=True, kw_only=True)
class Shadow:
    """Copies of requests, and what comes after them."""

    share: int
    """Of 1000 requests."""
    length: timedelta
    """Least time in the shadow."""
    needs_approval: bool = False
    tolerance: float = 0.0
    """Difference of two numbers that is still agreement, in the prediction's unit."""
    then: Canary | None = None
    """How it goes on; ``None``: it does not, a person decides."""

    def where(self, state: State) -> str:
        """Where a rollout stands, for people."""
        if self.then is not None and state.stable_weight < TOTAL_WEIGHT:
            return self.then.where(state)
        return "in the shadow" if any(one.mirrored for one in state.candidates) else "not in the shadow"


class ShadowGatesForm(GatesForm):
    """What is asked in the shadow, and but for the agreement of the canary afterwards."""

    agreement: AgreementForm | None = Field(
        default_factory=AgreementForm, description="other predictions than stable's; null: not asked"
    )

    def values(self) -> tuple[NamedGate, ...]:
        """The gates inside."""
        asked = (NamedGate(name="agreement", gate=self.agreement.gate()),) if self.agreement else ()
        return (*asked, *GatesForm.values(self))


class ShadowForm(PlanForm):
    """``strategy: shadow``: copies first."""

    strategy: Literal["shadow"] = Field(description="copies of requests first, compared offline; users never wait")
    percent: Percent = Field(default=10, gt=0, description="per cent of the requests that are copied")
    length: Span = Field(default=timedelta(days=1), description="least time in the shadow: a daily cycle, say")
    approval: bool = Field(default=False, description="people must approve before what comes after the shadow")
    gates: ShadowGatesForm = Field(default_factory=ShadowGatesForm, description="what is asked of the new version")
    then: Literal["canary", "stop"] = Field(
        default="stop", description="canary: go on by steps; stop: a person decides"
    )
    steps: tuple[StepForm, ...] = Field(default=(), description="weights of the canary afterwards, the last 100")
    holdback: Percent = Field(
        default=HOLDBACK, description="per cent that the old version keeps afterwards, as a control; 0: none"
    )

    @model_validator(mode="after")
    def _steps_belong_to_a_canary(self) -> "ShadowForm":
        if bool(self.steps) != (self.then == "canary"):
            raise ValueError(
                f"then is {self.then!r} with {len(self.steps)} steps; steps belong to 'canary', and it needs them"
            )
        return self

    def value(self) -> Shadow:
        """What is inside."""
        return Shadow(
            share=weight_of(self.percent),
            length=self.length,
            needs_approval=self.approval,
            tolerance=self.gates.agreement.tolerance if self.gates.agreement else 0.0,
            then=canary_of(self.steps) if self.then == "canary" else None,
        )


def judge(terms: Terms, observed: Observed, *, is_in_shadow: bool) -> tuple[GateResult, ...]:
    """In the shadow every gate that needs no users of its own; afterwards those of a canary."""
    if not is_in_shadow:
        return canaries.judge(terms, observed)
    gates = [gate for gate in terms.gates if _speaks_of_shadows(gate)]
    if not observed or not gates:
        return ()
    alpha = share_of_alpha(gates, terms.alpha)
    return judged(gates, observed[0], alpha=alpha)


def _speaks_of_shadows(gate: NamedGate) -> bool:
    """Whether pairs of predictions can answer it: metrics and labels are of users who saw the answer."""
    if isinstance(gate.gate, AgreementGate | GpuGate):
        return True
    return not isinstance(gate.gate, MeanGate) and getattr(gate.gate, "source", "errors") == "errors"


def settle(shadow: Shadow, situation: Situation) -> Decision:
    """What follows from the verdicts."""
    state, found = situation.state, situation.found
    candidate = state.candidate
    if candidate is None:
        return Unchanged(reason=why_nobody(state, situation.now))
    if candidate.weight:
        return canaries.settle(shadow.then, situation) if shadow.then else Hold(reason=MANUAL, gates=found.gates)
    if failed := found.failed():
        reason = f"{failed.gate}: {failed.reason}"
        return Abort(deployments=(candidate.deployment,), reason=reason, gates=found.gates)
    if obstacle := next(obstacles(situation, candidate), None):
        return Hold(reason=obstacle, gates=found.gates)
    return _in_shadow(shadow, situation, candidate)


def _in_shadow(shadow: Shadow, situation: Situation, candidate: Candidate) -> Decision:
    if candidate.mirrored != shadow.share:
        return _mirrored(shadow, situation, candidate)
    if situation.is_expired:
        return _expired(situation, candidate)
    if wait := next(waits(situation, _demand(shadow)), None):
        return Hold(reason=wait, gates=situation.found.gates)
    return _next(shadow, situation, candidate)


def _mirrored(shadow: Shadow, situation: Situation, candidate: Candidate) -> Decision:
    """Copies begin, or go on at the share of the plan once a hand edit is approved."""
    if candidate.mirrored and not situation.is_approved:
        return Hold(reason=MANUAL, gates=situation.found.gates)
    reason = f"{candidate.deployment} is sent copies of {percent(shadow.share)} of the requests"
    return SetMirror(deployment=candidate.deployment, share=shadow.share, reason=reason)


def _expired(situation: Situation, candidate: Candidate) -> Decision:
    """An end that would promote would give all users to a version that has not proven itself on one."""
    declared = situation.expire(candidate.deployment)
    if declared.action != "promote":
        return declared
    return Expire(action="hold", deployment=candidate.deployment, reason=declared.reason, gates=declared.gates)


def _demand(shadow: Shadow) -> Demand:
    return Demand(pause=shadow.length, where="in the shadow", needs_approval=shadow.needs_approval)


def _next(shadow: Shadow, situation: Situation, candidate: Candidate) -> Decision:
    reason, gates, name = told(situation), situation.found.gates, candidate.deployment
    if shadow.then is None:
        return Conclude(winner=name, ends_split=False, reason=reason, gates=gates)
    if shadow.then.is_promotion(0):
        return Promote(deployment=name, reason=reason, gates=gates)
    return Advance(step=0, weight=shadow.then.steps[0].weight, reason=reason, gates=gates)
