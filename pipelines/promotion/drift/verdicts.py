"""A drift decision as one sentence for people. Text only; the reasons stand below it."""

from typing import assert_never

from pipelines.promotion.drift import words
from pipelines.promotion.drift.decision import (
    AlertOnly,
    DriftDecision,
    Halted,
    Healthy,
    HoldRouting,
    Inconclusive,
    Revert,
    WorldMoved,
)


def headline(decision: DriftDecision) -> str:  # noqa: PLR0911  one return a verdict
    """What was found and what follows from it.

    >>> headline(WorldMoved(features=("age",), reasons=()))
    'the world moved: freeze promotion, no revert'
    """
    match decision:
        case WorldMoved():
            return "the world moved: freeze promotion, no revert"
        case Revert():
            return f"{words.listed(decision.deployments)} at fault: revert"
        case HoldRouting():
            return f"{words.listed(decision.deployments)} sees other inputs than stable: hold, look at the routing"
        case Inconclusive():
            return "inconclusive: hold, nothing can be said yet"
        case Healthy():
            return "healthy: inputs are those of the training sample and no version is certainly worse"
        case Halted():
            return f"{words.listed(decision.deployments)} at fault, and automation stops here: freeze, people decide"
        case AlertOnly():
            return "the world moved and there is no second version to compare with: alert only"
        case _:
            assert_never(decision)


def advice(decision: DriftDecision) -> str:  # noqa: PLR0911  one return a verdict
    """What a person might do next; empty where nothing is needed."""
    match decision:
        case WorldMoved():
            return "every version sees the same inputs, so no earlier one would do better: retrain on today's data"
        case Revert():
            return "stable on the same traffic is the control, so the new version is at fault and not the world"
        case HoldRouting():
            return "random routing gives both versions the same users: look at who reaches the canary, and how"
        case Inconclusive():
            return "more users, labels or a reference would tell; automation promotes nothing meanwhile"
        case Halted():
            return "take the version out with `python -m pipelines rollback`, or let it serve and approve"
        case AlertOnly():
            return "keep a small share on another version (a holdback) to have a control next time"
        case Healthy():
            return ""
        case _:
            assert_never(decision)
