"""``decide(plan, state, observation, now) -> Decision``: pure and total; every combination has one answer.

What follows a promotion comes first (:mod:`.afterwards`), then the plan's strategy has the word; its module says its
rules, in their order.
"""

from datetime import datetime
from typing import assert_never

from pipelines.promotion import afterwards
from pipelines.promotion.decision import Decision, Findings, GateResult
from pipelines.promotion.judging import mismatch
from pipelines.promotion.observation import Observed
from pipelines.promotion.plan import Plan
from pipelines.promotion.situation import Situation
from pipelines.promotion.state import State
from pipelines.promotion.strategies import ab, blue_green, canary, shadow
from pipelines.promotion.strategies.blue_green import BlueGreen
from pipelines.promotion.strategies.canary import Canary
from pipelines.promotion.strategies.experiment import Ab
from pipelines.promotion.strategies.shadow import Shadow


def decide(plan: Plan, state: State, observed: Observed, now: datetime) -> Decision:
    """What this tick should do.

    >>> from datetime import UTC
    >>> from pipelines.promotion.strategies.canary import Step
    >>> plan = Plan(strategy=Canary(steps=(Step(weight=1000),)))
    >>> state = State(endpoint="churn", stage="production", stable="v3", stable_weight=1000)
    >>> decide(plan, state, (), datetime(2026, 1, 1, tzinfo=UTC)).reason
    'no version stands beside stable v3'
    """
    return settle(plan, state, findings(plan, state, observed), now)


def findings(plan: Plan, state: State, observed: Observed) -> Findings:
    """The verdicts of every gate on what was observed; none of a rollout that has not begun."""
    is_looking = bool(observed) and (state.is_running or state.is_watching)
    missing = tuple(each.reason for seen in observed for each in seen.missing)
    return Findings(
        gates=_judge(plan, state, observed) if is_looking else (),
        obstacles=(*missing, *mismatch(observed)),
        can_promote=all(seen.can_promote for seen in observed),
    )


def _judge(plan: Plan, state: State, observed: Observed) -> tuple[GateResult, ...]:
    if state.is_watching:
        return afterwards.judge(plan.terms, observed)
    match plan.strategy:
        case Canary():
            return canary.judge(plan.terms, observed)
        case BlueGreen():
            return blue_green.judge(plan.terms, observed)
        case Shadow():
            is_in_shadow = any(one.mirrored for one in state.candidates)
            return shadow.judge(plan.terms, observed, is_in_shadow=is_in_shadow)
        case Ab():
            return ab.judge(plan.strategy, plan.terms, observed)
        case _:
            assert_never(plan.strategy)


def settle(plan: Plan, state: State, found: Findings, now: datetime) -> Decision:
    """What follows from the verdicts: the part of :func:`decide` that a recorded decision replays."""
    situation = Situation(terms=plan.terms, state=state, found=found, now=now)
    losers = plan.strategy.losers(state) if isinstance(plan.strategy, Ab) else ()
    if (later := afterwards.settle(situation, losers=losers)) is not None:
        return later
    match plan.strategy:
        case Canary():
            return canary.settle(plan.strategy, situation)
        case BlueGreen():
            return blue_green.settle(plan.strategy, situation)
        case Shadow():
            return shadow.settle(plan.strategy, situation)
        case Ab():
            return ab.settle(plan.strategy, situation)
        case _:
            assert_never(plan.strategy)
