"""A/B/n: several versions at once, each against stable, until one is certainly better or the time is over.

Rules, in this order:
    1. an experiment that is over begins no more: its name is the salt that users are dealt by, and says so;
    2. one that has not begun: every arm gets its weight, unless an arm is on hold or an edit, a freeze or a window
       is in the way;
    3. an arm whose gate failed with certainty, or that is certainly worse than stable in what the experiment is about,
       is taken out and held, also while frozen; the last one ends it all;
    4. an arm whose weight the plan has raised grows; other edits of the weights hold;
    5. the best arm that is better than stable with certainty, and within every gate, has won: after the bake time, and
       an approval where one is asked for, it takes over, or is only declared;
    6. at the maximum length the experiment ends as declared;
    7. arms without users leave when they have been kept warm long enough, whether somebody won or not; where a rollback
       took the last arm out, all stay for people to look at.

Chances: alpha is split over the gates and the success metric; a gate's part evenly over the arms (Bonferroni), the
success metric's by Holm's steps. All of it holds at every look. That the best of several winners beats the second best
is not claimed.
"""

from collections.abc import Iterator, Mapping

from mlflow_deploy_plugin.spec.names import TOTAL_WEIGHT
from pipelines.analysis.gates import AgreementGate, MeanGate
from pipelines.analysis.multiple import step_down
from pipelines.analysis.verdict import Successful, Verdict
from pipelines.promotion.decision import (
    Abort,
    Conclude,
    Decision,
    GateResult,
    Hold,
    Promote,
    SetWeights,
    Unchanged,
)
from pipelines.promotion.judging import judged, result, share_of_alpha, verdict
from pipelines.promotion.observation import Observation, Observed
from pipelines.promotion.situation import MANUAL, Demand, Situation, obstacles, waits
from pipelines.promotion.state import Candidate, State
from pipelines.promotion.strategies.experiment import Ab
from pipelines.promotion.terms import Terms


def judge(ab: Ab, terms: Terms, observed: Observed) -> tuple[GateResult, ...]:
    """Every gate on every arm that was observed, and who is better than stable."""
    seen = {each.canary.name: each for each in observed if each.canary.name in ab.arms}
    gates = [gate for gate in terms.gates if not isinstance(gate.gate, AgreementGate)]
    share = share_of_alpha(gates, terms.alpha, besides=1)  # the success metric
    guards = [judged(gates, each, alpha=share / len(ab.arms), arm=arm) for arm, each in seen.items()]
    return (*(result for found in guards for result in found), *_successes(ab, seen, alpha=share))


def _successes(ab: Ab, seen: Mapping[str, Observation], *, alpha: float) -> tuple[GateResult, ...]:
    found: dict[str, Verdict] = {}

    def is_better(arm: str, level: float) -> bool:
        if arm in seen:
            found[arm] = verdict(ab.success.gate, seen[arm], alpha=level)
        return isinstance(found.get(arm), Successful)

    step_down(is_better, tuple(ab.arms), alpha=alpha)
    return tuple(result(ab.success.name, each, arm=arm, effect=_effect(ab, each)) for arm, each in found.items())


def _effect(ab: Ab, found: Verdict) -> float:
    """How much better than stable, as far as it was seen; the verdict alone says how certain that is."""
    difference = float(found.numbers.get("difference", 0.0))
    is_more_good = isinstance(ab.success.gate, MeanGate) and ab.success.gate.better == "higher"
    return difference if is_more_good else -difference


def settle(ab: Ab, situation: Situation) -> Decision:
    """What follows from the verdicts."""
    state, salt = situation.state, ab.salt(situation.state)
    if state.salt == salt and not state.rollout:
        return Unchanged(reason=f"experiment {ab.experiment} is over; give the next one another name")
    if not state.rollout:
        return _begun(ab, situation, salt)
    if state.salt != salt:
        return Hold(reason=f"another rollout runs since {state.since}; experiment {ab.experiment} waits for its end")
    return _dropped(ab, situation) or _running(ab, situation)


def _begun(ab: Ab, situation: Situation, salt: str) -> Decision:
    state = situation.state
    if absent := [name for name in ab.arms if state.find(name) is None and name != state.stable]:
        return Unchanged(
            reason=f"arm {absent[0]} of experiment {ab.experiment} stands not beside stable {state.stable}"
        )
    if state.stable in ab.arms:
        return Unchanged(reason=f"arm {state.stable} of experiment {ab.experiment} is stable already")
    arms = [one for one in state.candidates if one.deployment in ab.arms]
    if obstacle := next(obstacles(situation, *arms), None):
        return Hold(reason=obstacle)
    if any(one.weight or one.mirrored for one in state.candidates) and not situation.is_approved:
        return Hold(reason=MANUAL)
    shares = ", ".join(f"{name} {weight / 10:g}%" for name, weight in ab.arms.items())
    return SetWeights(
        weights=_weights(ab.arms, state), salt=salt, reason=f"experiment {ab.experiment} begins with {shares}"
    )


def _weights(arms: Mapping[str, int], state: State) -> dict[str, int]:
    return {state.stable: TOTAL_WEIGHT - sum(arms.values()), **arms}


def _dropped(ab: Ab, situation: Situation) -> Decision | None:
    """Without the first arm that failed; the end, where it was the only one."""
    state, found = situation.state, situation.found
    active = ab.active(state)
    for one in active:
        if (failed := found.failed(one.deployment)) is None:
            continue
        reason = f"{failed.gate}: {failed.reason}"
        rest = {other.deployment: other.weight for other in active if other != one}
        if not rest:
            return Abort(deployments=(one.deployment,), reason=reason, gates=found.gates)
        return SetWeights(
            weights=_weights(rest, state),
            dropped=one.deployment,
            reason=f"{one.deployment} is out: {reason}",
            gates=found.gates,
        )
    return None


def _running(ab: Ab, situation: Situation) -> Decision:
    state, gates = situation.state, situation.found.gates
    active = ab.active(state)
    if obstacle := next(obstacles(situation, *active), None):
        return Hold(reason=obstacle, gates=gates)
    if manual := _edited(ab, situation, active):
        return manual
    best = max(_winners(ab, situation), key=lambda won: (won.effect or 0.0, won.arm), default=None)
    wait = next(_waits(ab, situation, best.arm), None) if best else _nobody(situation)
    if best and wait is None:
        return _won(ab, situation, best)
    if situation.is_expired:
        return _ended(ab, situation, active)
    return Hold(reason=wait or "", gates=gates)


def _edited(ab: Ab, situation: Situation, active: tuple[Candidate, ...]) -> Decision | None:
    """Arms that the plan lets grow do; whatever else differs from the plan is somebody's edit."""
    state = situation.state
    planned = {one.deployment: ab.arms[one.deployment] for one in active}
    strangers = [one for one in state.candidates if one.weight and one.deployment not in ab.arms]
    if not active or strangers:
        return Hold(reason=MANUAL, gates=situation.found.gates)
    if all(one.weight == planned[one.deployment] for one in active):
        return None
    grows = all(one.weight <= planned[one.deployment] for one in active)
    if not grows and not situation.is_approved:
        return Hold(reason=MANUAL, gates=situation.found.gates)
    grown = ", ".join(f"{name} {weight / 10:g}%" for name, weight in planned.items())
    return SetWeights(
        weights=_weights(planned, state), reason=f"as the plan says now: {grown}", gates=situation.found.gates
    )


def _winners(ab: Ab, situation: Situation) -> list[GateResult]:
    active = {one.deployment for one in ab.active(situation.state)}
    return [
        each
        for each in situation.found.gates
        if each.effect is not None and each.verdict == "successful" and each.arm in active
    ]


def _waits(ab: Ab, situation: Situation, arm: str) -> Iterator[str]:
    demand = Demand(needs_approval=ab.needs_approval and ab.does_promote, is_promotion_next=True, arm=arm)
    return waits(situation, demand)


def _nobody(situation: Situation) -> str:
    """Why nobody has won yet."""
    reasons = [*situation.found.obstacles]
    reasons += [f"{each.arm}: {each.reason}" for each in situation.found.gates if each.effect is not None]
    return next(iter(reasons), "no user of any arm has been seen yet")


def _won(ab: Ab, situation: Situation, best: GateResult) -> Decision:
    reason, gates = f"{best.gate}: {best.reason}", situation.found.gates
    if ab.does_promote:
        return Promote(deployment=best.arm, reason=reason, gates=gates)
    return Conclude(winner=best.arm, ends_split=False, reason=reason, gates=gates)


def _ended(ab: Ab, situation: Situation, active: tuple[Candidate, ...]) -> Decision:
    """The declared end of an experiment that nobody has won."""
    found, action = situation.found, situation.terms.expiry.action
    reason = f"nobody has won experiment {ab.experiment} within {situation.terms.expiry.after}"
    if action == "hold":
        return situation.expire(active[0].deployment)
    names = {one.deployment for one in active}
    seen = [each for each in found.gates if each.effect is not None and each.arm in names]
    best = max(seen, key=lambda each: (each.effect or 0.0, each.arm), default=None)
    if action == "promote" and best is not None and (best.effect or 0.0) > 0:
        return Promote(deployment=best.arm, reason=f"{reason}; the best as far as seen takes over", gates=found.gates)
    return Conclude(winner="", ends_split=True, reason=f"{reason}; {_leave(situation, ab)}", gates=found.gates)


def _leave(situation: Situation, ab: Ab) -> str:
    """What becomes of the arms, in words."""
    names, kept = ", ".join(ab.arms), situation.terms.keep_warm
    if kept is None:
        return f"{names} stay without users until somebody removes them"
    end = "are removed" if situation.terms.leftover == "remove" else "are scaled down"
    return f"{names} stay without users for {kept} and then {end}"
