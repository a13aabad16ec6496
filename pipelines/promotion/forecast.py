"""How many users, and how long, before a rollout begins: what its gates, or its success metric, will need. Pure.

Fixed-horizon numbers of the z-test, and beside them what the always-valid test takes as measured by ``tests/laws``:
half of the true differences are found by 1.25 times as many users, 95 per cent by 3 times.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import assert_never

from mlflow_deploy_plugin.spec.names import TOTAL_WEIGHT
from pipelines.analysis.gates import ErrorRatioGate
from pipelines.analysis.power import LATE_FACTOR, MEDIAN_FACTOR, Change, users_for_mean, users_per_arm
from pipelines.promotion.plan import Plan
from pipelines.promotion.strategies.blue_green import BlueGreen
from pipelines.promotion.strategies.canary import Canary
from pipelines.promotion.strategies.experiment import Ab
from pipelines.promotion.strategies.shadow import Shadow
from pipelines.promotion.terms import Terms

POWER = 0.8
RATIO = 0.01
"""Error ratio that is assumed where none has been seen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """What has been seen of the endpoint lately."""

    users_per_day: float | None = None
    """Distinct users; ``None``: nobody knows."""
    error_ratio: float | None = None
    """Share of them who met a failed attempt."""


def forecast(plan: Plan, traffic: Traffic) -> tuple[str, ...]:
    """What the rollout will need, in sentences."""
    match plan.strategy:
        case Ab():
            return tuple(_experiment(plan.strategy, plan.terms, traffic))
        case Canary():
            return tuple(_canary(plan.strategy, plan.terms, traffic))
        case Shadow():
            then = plan.strategy.then
            return tuple(_canary(then, plan.terms, traffic)) if then else ()
        case BlueGreen():
            return ()
        case _:
            assert_never(plan.strategy)


def _experiment(ab: Ab, terms: Terms, traffic: Traffic) -> Iterator[str]:
    success, smallest = ab.success, min(ab.arms.values())
    alpha = terms.alpha / (len(terms.gates) + 1) / len(ab.arms)
    share = smallest / (smallest + TOTAL_WEIGHT - sum(ab.arms.values()))
    if isinstance(success.gate, ErrorRatioGate):
        if success.baseline is None or not 0 < success.baseline - success.minimum_effect < 1:
            yield f"{success.name}: write success.baseline, above minimum_effect, to see how many users it needs"
            return
        change = Change(baseline=success.baseline, changed=success.baseline - success.minimum_effect, share=share)
        fixed, effect = users_per_arm(change, alpha=alpha, power=POWER, sides=1), f"{100 * success.minimum_effect:g} pp"
    elif success.deviation is None:
        yield f"{success.name}: write success.deviation to see how many users it needs"
        return
    else:
        fixed = users_for_mean(success.deviation, success.minimum_effect, alpha=alpha, power=POWER, share=share)
        effect = f"{success.minimum_effect:g}"
    text = f"{success.name}: to find {effect}, {_users(fixed)} of each arm"
    typical, late = (_days(factor * fixed, smallest, traffic) for factor in (MEDIAN_FACTOR, LATE_FACTOR))
    yield f"{text}; {_span(typical, late)}"
    if typical is not None and typical > terms.expiry.after:
        yield f"more than maximum_length ({terms.expiry.after}): most likely it will end without a winner"


def _canary(canary: Canary, terms: Terms, traffic: Traffic) -> Iterator[str]:
    weight = canary.steps[0].weight
    alpha, baseline = terms.alpha / len(terms.gates), traffic.error_ratio or RATIO
    for named in terms.gates:
        gate = named.gate
        if not isinstance(gate, ErrorRatioGate) or gate.source != "errors" or weight >= TOTAL_WEIGHT:
            continue
        worse = (1 + gate.relative_margin) * baseline + gate.margin
        if not baseline < worse < 1:
            continue
        share = 0.5 if canary.has_baseline else weight / TOTAL_WEIGHT
        change = Change(baseline=baseline, changed=worse, share=share)
        fixed = users_per_arm(change, alpha=alpha, power=POWER, sides=1)
        span = _span(*(_days(factor * fixed, weight, traffic) for factor in (MEDIAN_FACTOR, LATE_FACTOR)))
        yield f"{named.name}: to tell {baseline:.2%} from {worse:.2%}, {_users(fixed)} of the canary; at step 1 {span}"


def _users(fixed: int) -> str:
    typical, late = math.ceil(MEDIAN_FACTOR * fixed), math.ceil(LATE_FACTOR * fixed)
    return f"about {typical:,} users (late: {late:,}; with one look only: {fixed:,})"


def _days(users: float, weight: int, traffic: Traffic) -> timedelta | None:
    if not traffic.users_per_day:
        return None
    return timedelta(days=users / (traffic.users_per_day * weight / TOTAL_WEIGHT))


def _span(typical: timedelta | None, late: timedelta | None) -> str:
    if typical is None or late is None:
        return "how long is not known: nobody has been seen lately; give --users-per-day"
    return f"expected after {_told(typical)}, late after {_told(late)}"


def _told(span: timedelta) -> str:
    """A span as people say it.

    >>> _told(timedelta(hours=7)), _told(timedelta(days=2.25))
    ('7.0 hours', '2.2 days')
    """
    days = span / timedelta(days=1)
    return f"{days:.1f} days" if days >= 1 else f"{24 * days:.1f} hours"
