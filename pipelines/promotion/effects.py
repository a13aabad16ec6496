"""What a decision means for the tree: weights, shadow, annotations, who leaves, and how the commit reads. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final, assert_never

from mlflow_deploy_plugin import manifests
from mlflow_deploy_plugin.manifests.model import Hold, Mirror, Route
from mlflow_deploy_plugin.spec import annotations
from mlflow_deploy_plugin.spec.names import TOTAL_WEIGHT
from pipelines.promotion import marks
from pipelines.promotion.decision import Advance, Conclude, Promote, Retire, SetMirror, SetWeights
from pipelines.promotion.marks import MAX_REASON
from pipelines.promotion.state import State

Move = Advance | SetWeights | SetMirror | Promote | Conclude | Retire
"""Decisions that go forward; those that take a version back are a :class:`~.rollback.Rollback`."""


SALT_DIGITS: Final = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """How a route is to be."""

    weights: Mapping[str, int]
    notes: marks.Marks
    action: str
    """As the trailer says it."""
    news: str
    """First word of the subject."""
    mirror: Mirror | None = None
    removed: tuple[str, ...] = ()
    scaled: tuple[str, ...] = ()
    """Deployments of which one process is left."""
    copied: str = ""
    """Deployment that is made as a copy of stable, in as many processes as the canary has; empty: none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What an effect depends on beside the decision."""

    state: State
    route: Route
    operation: str
    holdback: int
    now: datetime


def effect_of(move: Move, context: Context) -> Effect:
    """What ``move`` does to the route."""
    match move:
        case Advance():
            return _advance(move, context)
        case SetWeights():
            return _set_weights(move, context)
        case SetMirror():
            return _set_mirror(move, context)
        case Promote():
            return _promote(move, context)
        case Conclude():
            return _conclude(move, context)
        case Retire():
            return _retire(move, context)
        case _:
            assert_never(move)


def _stepped(context: Context, step: int) -> marks.Marks:
    return marks.stepped(rollout=context.state.rollout or context.operation, step=step, now=context.now)


def _lifted(context: Context) -> marks.Marks:
    """Who overrides a hold lifts it: the version is in a rollout again."""
    state = context.state
    held = [one.model_digest for one in state.candidates if state.hold_on(one, context.now)]
    return marks.lifted(held, context.route.holds) if state.word.override and held else {}


def _advance(move: Advance, context: Context) -> Effect:
    state = context.state
    (one,) = state.candidates
    weights = {state.stable: TOTAL_WEIGHT - move.weight, one.deployment: move.weight}
    notes = _stepped(context, move.step) | _lifted(context)
    if move.baseline:
        weights = {**weights, state.stable: TOTAL_WEIGHT - 2 * move.weight, move.baseline: move.weight}
        notes[annotations.BASELINE] = move.baseline
    if not one.weight:  # nobody has it yet, so nobody moves: other users than the last rollout's meet it first
        notes[annotations.SALT] = context.operation[:SALT_DIGITS]
    copied = "" if state.baseline else move.baseline
    removed: tuple[str, ...] = ()
    if state.baseline and not move.baseline:
        notes[annotations.BASELINE], removed = None, (state.baseline.deployment,)
    return Effect(weights=weights, notes=notes, action="step", news="canary", copied=copied, removed=removed)


def _set_weights(move: SetWeights, context: Context) -> Effect:
    notes = _stepped(context, 0) | _lifted(context)
    if move.salt:
        notes[annotations.SALT] = move.salt
    if (dropped := context.state.find(move.dropped)) is not None:
        hold = Hold(deployment=dropped.deployment, model_digest=dropped.model_digest, reason=move.reason[:MAX_REASON])
        notes |= marks.held([hold], context.route.holds)
    news = "experiment begins," if move.salt else "experiment"
    return Effect(weights=move.weights, notes=notes, action="step", news=news)


def _set_mirror(move: SetMirror, context: Context) -> Effect:
    notes = _stepped(context, 0) | _lifted(context)
    mirror = Mirror(deployment=move.deployment, share=move.share)
    news = f"shadow {move.deployment} at {manifests.diff.percent(move.share)},"
    return Effect(weights=context.route.weights, mirror=mirror, notes=notes, action="shadow", news=news)


def _promote(move: Promote, context: Context) -> Effect:
    state, kept = context.state, context.holdback
    weights = {state.stable: kept, move.deployment: TOTAL_WEIGHT - kept}
    notes = marks.promoted(move.deployment, now=context.now) | _lifted(context)
    removed = (state.baseline.deployment,) if state.baseline else ()
    return Effect(weights=weights, notes=notes, action="promote", news="promoted", removed=removed)


def _conclude(move: Conclude, context: Context) -> Effect:
    state, route = context.state, context.route
    notes = marks.concluded(is_won=bool(move.winner), now=context.now)
    if route.mirror is not None and (winner := state.find(move.winner)) is not None:
        reason = f"the shadow is over ({move.reason}); a person decides"[:MAX_REASON]
        hold = Hold(deployment=winner.deployment, model_digest=winner.model_digest, reason=reason)
        notes |= marks.held([hold], route.holds)
    weights = {state.stable: TOTAL_WEIGHT} if move.ends_split else route.weights
    news = f"{move.winner} has proven itself," if move.winner else "experiment ends,"
    return Effect(weights=weights, notes=notes, action="conclude", news=news)


def _retire(move: Retire, context: Context) -> Effect:
    names = move.deployments
    is_removal = move.leftover == "remove"
    return Effect(
        weights=context.route.weights,
        mirror=context.route.mirror,
        notes={},
        action="retire",
        news=f"{'removed' if is_removal else 'scaled down'} {', '.join(names)},",
        removed=names if is_removal else (),
        scaled=() if is_removal else names,
    )
