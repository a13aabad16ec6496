"""Canary: users go to the new version step by step, and every step is proven before the next.

With ``baseline`` a fresh copy of stable begins with the canary and always has as many users: what is compared is then
of the same age, with caches as cold. Stable stays beside both: users who do not fall on all three as the split says
hold, and so does a baseline that is certainly worse than stable, since then it is no fault of the new model's. It ends
with its rollout, whichever way that ends.

Rules, in this order:
    1. a gate that failed with certainty aborts, also while frozen, held up, or in a freeze window;
    2. a version on hold, a frozen endpoint, a freeze window, a hand edit: hold;
    3. a rollout that has not begun: its first step;
    4. a rollout past its expiry ends as the plan declares;
    5. the pause, the bake time and the approval of the step;
    6. a step that asks for an analysis: only Successful gates let it pass. No data is Inconclusive and never promotes;
    7. the next step, or the promotion.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import chain
from typing import Final, Literal

from pydantic import Field

from mlflow_deploy_plugin.errors import ConfigError
from mlflow_deploy_plugin.manifests.diff import percent
from mlflow_deploy_plugin.spec.names import MAX_LABEL, TOTAL_WEIGHT
from pipelines.analysis.gates import AgreementGate, GpuGate
from pipelines.promotion.decision import Abort, Advance, Decision, GateResult, Hold, Promote, Unchanged
from pipelines.promotion.forms import Percent, PlanForm, Span, Strict, weight_of
from pipelines.promotion.judging import judged, share_of_alpha
from pipelines.promotion.observation import Observed
from pipelines.promotion.situation import (
    MANUAL,
    Demand,
    Situation,
    approval_wanted,
    obstacles,
    told,
    waits,
    why_nobody,
)
from pipelines.promotion.state import Candidate, State
from pipelines.promotion.terms import Terms

BASELINE: Final = "-baseline"
"""End of the name of the deployment that is compared with a canary."""

HOLDBACK: Final = 1.0
"""Per cent that the old version keeps by default: without a control nobody can say later who is at fault."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One weight of the canary, and what must be before it is left."""

    weight: int
    """Of 1000."""
    pause: timedelta = timedelta(0)
    """Least time at this weight."""
    needs_approval: bool = False
    """A person must approve before the next step."""
    needs_analysis: bool = True
    """The gates must be Successful before the next step; a Failed gate aborts in any case."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Canary:
    """Weights that grow to everything.

    >>> Canary(steps=(Step(weight=50), Step(weight=1000))).is_promotion(1)
    True
    """

    steps: tuple[Step, ...]
    has_baseline: bool = False
    """Whether the canary is compared with a copy of stable that is as young and as small."""

    def __post_init__(self) -> None:
        weights = [step.weight for step in self.steps]
        if not weights or weights != sorted(set(weights)) or weights[0] <= 0:
            raise ConfigError(
                f"steps have weights {weights}; each must be larger than the one before, the first above 0"
            )
        if weights[-1] != TOTAL_WEIGHT:
            raise ConfigError(f"the last step has weight {weights[-1] / 10:g} %; it must be 100, the promotion")
        if self.has_baseline and (large := [weight for weight in weights[:-1] if 2 * weight >= TOTAL_WEIGHT]):
            raise ConfigError(
                f"a step has weight {percent(large[0])}; with a baseline of the same weight each step before the last"
                " must be below 50%, since stable keeps the rest: lower it, or write baseline: false"
            )

    def is_promotion(self, index: int) -> bool:
        """Whether step ``index`` (0 is the first) is the last one: the canary takes over."""
        return index >= len(self.steps) - 1

    def where(self, state: State) -> str:
        """Where a rollout stands, for people."""
        return f"step {state.step + 1 if state.rollout else 0} of {len(self.steps)}"

    def nearest(self, weight: int) -> int:
        """The step whose weight is nearest, short of the promotion."""
        return min(range(max(1, len(self.steps) - 1)), key=lambda index: abs(self.steps[index].weight - weight))


class StepForm(Strict):
    """One weight of the canary."""

    weight: Percent = Field(description="per cent of the users; multiples of 0.1; the last step must be 100")
    pause: Span = Field(default=timedelta(0), description="least time at this weight, such as 30m")
    approval: bool = Field(default=False, description="people must approve before the next step")
    analysis: bool = Field(default=True, description="the gates must be Successful before the next step")


class CanaryForm(PlanForm):
    """``strategy: canary``: by steps."""

    strategy: Literal["canary"] = Field(default="canary", description="by steps, each proven before the next")
    steps: tuple[StepForm, ...] = Field(default=(), description="weights of the canary, growing, the last 100")
    holdback: Percent = Field(
        default=HOLDBACK, description="per cent that the old version keeps afterwards, as a control; 0: none"
    )

    baseline: bool = Field(
        default=False,
        description="compare with a fresh copy of stable that has the canary's share and size for as long as the"
        " rollout runs, so that age, warm-up and caches are equal; each step before the last is then below 50",
    )

    def value(self) -> Canary:
        """What is inside."""
        return canary_of(self.steps, has_baseline=self.baseline)


def canary_of(steps: tuple[StepForm, ...], *, has_baseline: bool = False) -> Canary:
    """The steps that people wrote."""
    return Canary(
        has_baseline=has_baseline,
        steps=tuple(
            Step(
                weight=weight_of(step.weight),
                pause=step.pause,
                needs_approval=step.approval,
                needs_analysis=step.analysis,
            )
            for step in steps
        ),
    )


def judge(terms: Terms, observed: Observed) -> tuple[GateResult, ...]:
    """Every gate on the one canary, and on its baseline where it has one; alpha is split over the gates.

    A baseline has an alpha of its own: it takes nothing back. Agreement is a question for a shadow.
    """
    gates = [gate for gate in terms.gates if not isinstance(gate.gate, AgreementGate)]
    if not observed or not gates:
        return ()
    alpha = share_of_alpha(gates, terms.alpha)
    *controls, seen = observed
    tests = [gate for gate in gates if not isinstance(gate.gate, GpuGate)]
    of_controls = [each for one in controls for each in judged(tests, one, alpha=alpha, arm=one.canary.name)]
    found = judged(gates, seen, alpha=alpha)
    if controls:
        found = tuple(replace(each, reason=f"{each.reason} (here {seen.stable.name} is stable)") for each in found)
    return (*found, *of_controls)


def settle(canary: Canary, situation: Situation) -> Decision:
    """What follows from the verdicts."""
    candidate, found = situation.state.candidate, situation.found
    if candidate is None:
        return Unchanged(reason=why_nobody(situation.state, situation.now))
    if failed := found.failed():
        reason = f"{failed.gate}: {failed.reason}"
        return Abort(deployments=(candidate.deployment,), reason=reason, gates=found.gates)
    if obstacle := next(chain(obstacles(situation, candidate), _unlike(situation)), None):
        return Hold(reason=obstacle, gates=found.gates)
    if _is_manual(canary, situation, candidate):
        return _adopted(canary, situation, candidate)
    if not situation.state.rollout:
        return _first(canary, situation, candidate)
    return _running(canary, situation, candidate)


def _unlike(situation: Situation) -> Iterator[str]:
    """Why the baseline is no control: with stable's model it does certainly worse than stable."""
    baseline = situation.state.baseline
    if baseline is not None and (failed := situation.found.failed(baseline.deployment)) is not None:
        yield (
            f"baseline {baseline.deployment} is worse than stable {situation.state.stable} with the same model"
            f" ({failed.gate}: {failed.reason}), so nothing is said of the new one; look at where they run"
        )


def baseline_of(stable: str) -> str:
    """Name of the baseline of ``stable``.

    >>> baseline_of("churn-v3")
    'churn-v3-baseline'
    """
    return f"{stable[: MAX_LABEL - len(BASELINE)].rstrip('-')}{BASELINE}"


def _is_manual(canary: Canary, situation: Situation, candidate: Candidate) -> bool:
    """Whether somebody set weights that are not those of the step that the annotations name."""
    state = situation.state
    if not state.is_running:
        return False
    if state.baseline is not None and state.baseline.weight != candidate.weight:
        return True
    if not state.rollout:
        return candidate.weight != canary.steps[0].weight  # somebody may take the first step by hand
    return state.step >= len(canary.steps) or candidate.weight != canary.steps[state.step].weight


def _adopted(canary: Canary, situation: Situation, candidate: Candidate) -> Decision:
    """A hand edit holds; who approves it goes on from the nearest step."""
    if not situation.is_approved:
        return Hold(reason=MANUAL, gates=situation.found.gates)
    step = canary.nearest(candidate.weight)
    reason = f"approved: on from the step that is nearest to {percent(candidate.weight)}"
    return _advance(canary, situation, step, reason)


def _advance(canary: Canary, situation: Situation, step: int, reason: str) -> Advance:
    """A step; the baseline, where there is one, takes it too, or leaves where the plan wants it no more."""
    baseline, weight = situation.state.baseline, canary.steps[step].weight
    name = baseline.deployment if baseline and canary.has_baseline else ""
    return Advance(step=step, weight=weight, reason=reason, baseline=name, gates=situation.found.gates)


def _first(canary: Canary, situation: Situation, candidate: Candidate) -> Decision:
    name, weight = candidate.deployment, canary.steps[0].weight
    if not canary.is_promotion(0) and canary.has_baseline:
        stable = situation.state.stable
        reason = f"{name} begins at {percent(weight)}, beside as fresh a copy of {stable}"
        return Advance(step=0, weight=weight, reason=reason, baseline=baseline_of(stable))
    if not canary.is_promotion(0):
        return Advance(step=0, weight=weight, reason=f"{name} begins at {percent(weight)}")
    if not situation.is_approved:
        return Hold(reason=f"{name} would take over at once: {approval_wanted(situation)}")
    return Promote(deployment=name, reason=f"approved: {name} takes over at once")


def _running(canary: Canary, situation: Situation, candidate: Candidate) -> Decision:
    state, gates = situation.state, situation.found.gates
    if situation.is_expired:
        return situation.expire(candidate.deployment)
    step, following = canary.steps[state.step], state.step + 1
    demand = Demand(
        pause=step.pause,
        where=f"at {percent(step.weight)}",
        needs_approval=step.needs_approval,
        needs_analysis=step.needs_analysis,
        is_promotion_next=canary.is_promotion(following),
    )
    if wait := next(waits(situation, demand), None):
        return Hold(reason=wait, gates=gates)
    if canary.is_promotion(following):
        return Promote(deployment=candidate.deployment, reason=told(situation), gates=gates)
    return _advance(canary, situation, following, told(situation))
