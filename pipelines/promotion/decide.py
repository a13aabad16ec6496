"""``decide(plan, state, observation, now) -> Decision``: pure and total; every combination has one answer.

Rules, in this order:
    1. nothing to promote, or not clear what: unchanged;
    2. a gate that failed with certainty aborts, also while frozen, held up, or in a freeze window;
    3. a version on hold, a frozen endpoint, a hand edit, a freeze window: hold;
    4. a rollout that has not begun: its first step;
    5. a rollout past its expiry ends as the plan declares;
    6. the pause, the bake time and the approval of the step;
    7. a step that asks for an analysis: only Successful gates let it pass. No data is Inconclusive and never promotes;
    8. the next step, or the promotion.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import assert_never

from mlflow_deploy_plugin.manifests.diff import percent
from pipelines.analysis.compare import compare
from pipelines.analysis.multiple import split_alpha
from pipelines.analysis.verdict import Error, Failed, Inconclusive, Successful, Verdict
from pipelines.promotion import marks
from pipelines.promotion.decision import (
    Abort,
    Advance,
    Decision,
    Expire,
    Findings,
    GateResult,
    Hold,
    Promote,
    Unchanged,
    Word,
)
from pipelines.promotion.observation import Observation
from pipelines.promotion.plan import Plan
from pipelines.promotion.state import Candidate, State


def decide(plan: Plan, state: State, observation: Observation, now: datetime) -> Decision:
    """What this tick should do.

    >>> from datetime import UTC
    >>> from pipelines.promotion.observation import nothing
    >>> from pipelines.promotion.plan import Step
    >>> state = State(endpoint="churn", stage="production", stable="v3", stable_weight=1000, candidate=None)
    >>> decide(Plan(steps=(Step(weight=1000),)), state, nothing("v3", ""), datetime(2026, 1, 1, tzinfo=UTC)).reason
    'no version stands beside stable v3'
    """
    return settle(plan, state, findings(plan, state, observation), now)


def findings(plan: Plan, state: State, observation: Observation) -> Findings:
    """The verdicts of every gate on what was observed; none of a rollout that has not begun."""
    return Findings(
        gates=judge(plan, observation) if state.is_running else (),
        obstacles=tuple(missing.reason for missing in observation.missing),
        can_promote=observation.can_promote,
    )


def settle(plan: Plan, state: State, found: Findings, now: datetime) -> Decision:
    """What follows from the verdicts: the part of :func:`decide` that a recorded decision replays."""
    if state.candidate is None:
        return Unchanged(reason=_why_nobody(state))
    if failed := [gate for gate in found.gates if gate.verdict == "failed"]:
        return Abort(reason=f"{failed[0].gate}: {failed[0].reason}", gates=found.gates)
    if obstacle := next(_obstacles(plan, state, state.candidate, now), None):
        return Hold(reason=obstacle, gates=found.gates)
    if not state.rollout:
        return _first(plan, state, state.candidate)
    return _running(plan, state, found, now)


def _first(plan: Plan, state: State, candidate: Candidate) -> Decision:
    weight = plan.steps[0].weight
    if not plan.is_promotion(0):
        return Advance(step=0, weight=weight, reason=f"{candidate.deployment} begins at {percent(weight)}")
    if state.phase != marks.APPROVED:
        return Hold(
            reason=f"{candidate.deployment} would take over at once: approve it by `python -m pipelines approve`"
        )
    return Promote(reason=f"approved: {candidate.deployment} takes over at once")


def _running(plan: Plan, state: State, found: Findings, now: datetime) -> Decision:
    if _is_expired(plan, state, now):
        reason = f"not settled within {plan.expiry.after} since it began"
        return Expire(action=plan.expiry.action, reason=reason, gates=found.gates)
    if wait := next(_waits(plan, state, found, now), None):
        return Hold(reason=wait, gates=found.gates)
    return _next(plan, state, found.gates)


def judge(plan: Plan, observation: Observation) -> tuple[GateResult, ...]:
    """Every gate of the plan on what was observed; alpha is split over the gates."""
    alphas = split_alpha(plan.alpha, [gate.name for gate in plan.gates])
    found = (
        (g.name, compare(observation.stable, observation.canary, g.gate, alpha=alphas[g.name])) for g in plan.gates
    )
    return tuple(
        GateResult(gate=name, verdict=_word(verdict), reason=verdict.reason, numbers=dict(verdict.numbers))
        for name, verdict in found
    )


def _next(plan: Plan, state: State, gates: tuple[GateResult, ...]) -> Decision:
    told = "; ".join(f"{gate.gate}: {gate.reason}" for gate in gates if gate.verdict == "successful")
    reason = told or "the step asks for no analysis"
    following = state.step + 1
    if plan.is_promotion(following):
        return Promote(reason=reason, gates=gates)
    return Advance(step=following, weight=plan.steps[following].weight, reason=reason, gates=gates)


def _why_nobody(state: State) -> str:
    if state.others:
        return f"{len(state.others)} versions stand beside stable {state.stable}: {', '.join(state.others)}; remove one"
    return f"no version stands beside stable {state.stable}"


def _obstacles(plan: Plan, state: State, candidate: Candidate, now: datetime) -> Iterator[str]:
    """What keeps automation away until a person acts or the clock does."""
    if state.is_held(now) and state.hold is not None:
        yield f"{candidate.deployment} is held: {state.hold.reason}"
    if state.phase == marks.FROZEN:
        yield "promotion is frozen, since the world moved; `python -m pipelines approve` lifts it"
    if state.is_manual(plan):
        yield "paused (manual): somebody set other weights than the step says; `approve` goes on from the nearest step"
    if window := next(plan.frozen(now), None):
        yield f"freeze window{': ' + window.reason if window.reason else ''}"


def _waits(plan: Plan, state: State, found: Findings, now: datetime) -> Iterator[str]:
    """What the step, or the promotion behind it, still asks for."""
    step = plan.steps[state.step]
    is_promotion_next = plan.is_promotion(state.step + 1)
    if left := _left(state.since, step.pause, now):
        yield f"pause: {left} left at {percent(step.weight)}"
    if is_promotion_next and (left := _left(state.began or state.since, plan.bake, now)):
        yield f"bake time: {left} left"
    if step.needs_approval and state.phase != marks.APPROVED:
        yield f"step {state.step + 1} needs an approval; `python -m pipelines approve` gives it"
    yield from found.obstacles
    if not step.needs_analysis:
        return
    if not found.can_promote:
        yield "the source of the observation cannot see users, so it does not promote"
    yield from (f"{gate.gate}: {gate.reason}" for gate in found.gates if gate.verdict != "successful")


def _left(since: datetime | None, span: timedelta, now: datetime) -> timedelta | None:
    """Time that is left of ``span``; ``None`` where it is over. A clock that runs backwards waits longer."""
    if since is None or span <= timedelta(0):
        return None
    left = span - (now - since)
    return left if left > timedelta(0) else None


def _is_expired(plan: Plan, state: State, now: datetime) -> bool:
    began = state.began or state.since
    return began is not None and now - began > plan.expiry.after


def _word(verdict: Verdict) -> Word:
    match verdict:
        case Successful():
            return "successful"
        case Failed():
            return "failed"
        case Inconclusive():
            return "inconclusive"
        case Error():
            return "error"
        case _:
            assert_never(verdict)
