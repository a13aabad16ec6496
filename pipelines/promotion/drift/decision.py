"""The answers that a drift report can have: a closed union, each with its reasons and their numbers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Action = Literal["freeze", "rollback", "hold", "wait", "none", "alert"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """One sentence, the gate that it comes from, and the numbers that it stands on."""

    gate: str
    subject: str
    text: str
    numbers: Mapping[str, float | int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorldMoved:
    """Every version sees other inputs than it was trained on: freeze promotion, retrain, revert nothing."""

    features: tuple[str, ...]
    reasons: tuple[Reason, ...]
    verdict: Literal["WorldMoved"] = "WorldMoved"
    action: Literal["freeze"] = "freeze"


@dataclass(frozen=True, slots=True, kw_only=True)
class Revert:
    """A new version is worse than stable on the same traffic: restore the last good split."""

    deployments: tuple[str, ...]
    reasons: tuple[Reason, ...]
    verdict: Literal["Revert"] = "Revert"
    action: Literal["rollback"] = "rollback"


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldRouting:
    """One arm sees other inputs than stable does, which random routing cannot cause: look at routing and pipeline."""

    deployments: tuple[str, ...]
    features: tuple[str, ...]
    reasons: tuple[Reason, ...]
    verdict: Literal["HoldRouting"] = "HoldRouting"
    action: Literal["hold"] = "hold"


@dataclass(frozen=True, slots=True, kw_only=True)
class Inconclusive:
    """The evidence is invalid or too thin: hold what is, promote nothing."""

    reasons: tuple[Reason, ...]
    verdict: Literal["Inconclusive"] = "Inconclusive"
    action: Literal["wait"] = "wait"


@dataclass(frozen=True, slots=True, kw_only=True)
class Healthy:
    """Inputs are those of the training sample, and no version is worse than stable with certainty."""

    reasons: tuple[Reason, ...]
    verdict: Literal["Healthy"] = "Healthy"
    action: Literal["none"] = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertOnly:
    """Something moved and there is no control that could say whose fault it is: tell people."""

    features: tuple[str, ...]
    reasons: tuple[Reason, ...]
    verdict: Literal["AlertOnly"] = "AlertOnly"
    action: Literal["alert"] = "alert"


@dataclass(frozen=True, slots=True, kw_only=True)
class Halted:
    """A version is at fault and automation has done what it may: freeze, and leave it to people."""

    deployments: tuple[str, ...]
    reasons: tuple[Reason, ...]
    verdict: Literal["Halted"] = "Halted"
    action: Literal["freeze"] = "freeze"


DriftDecision = WorldMoved | Revert | HoldRouting | Inconclusive | Healthy | AlertOnly | Halted
