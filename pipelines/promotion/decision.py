"""What a tick may decide: a closed union, each with its reason and the numbers of every gate."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Word = Literal["successful", "failed", "inconclusive", "error"]


@dataclass(frozen=True, slots=True, kw_only=True)
class GateResult:
    """One gate's verdict, in the words of Argo Rollouts."""

    gate: str
    verdict: Word
    reason: str
    numbers: Mapping[str, float | int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """All that a decision needs to know of an observation."""

    gates: tuple[GateResult, ...] = ()
    obstacles: tuple[str, ...] = ()
    """Reasons why the observation may not be believed: they hold."""
    can_promote: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Advance:
    """The canary gets the weight of the next step."""

    step: int
    weight: int
    """Of 1000."""
    reason: str
    gates: tuple[GateResult, ...] = ()
    kind: Literal["Advance"] = "Advance"


@dataclass(frozen=True, slots=True, kw_only=True)
class Promote:
    """The canary becomes stable and takes everything but the holdback."""

    reason: str
    gates: tuple[GateResult, ...] = ()
    kind: Literal["Promote"] = "Promote"


@dataclass(frozen=True, slots=True, kw_only=True)
class Abort:
    """The canary goes to 0 and is held."""

    reason: str
    gates: tuple[GateResult, ...] = ()
    kind: Literal["Abort"] = "Abort"


@dataclass(frozen=True, slots=True, kw_only=True)
class Expire:
    """The rollout did not settle in time; what then happens is declared in the plan."""

    action: Literal["abort", "hold", "promote"]
    reason: str
    gates: tuple[GateResult, ...] = ()
    kind: Literal["Expire"] = "Expire"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """Not yet: time, users, an approval, a window or a person's edit is in the way."""

    reason: str
    gates: tuple[GateResult, ...] = ()
    kind: Literal["Hold"] = "Hold"


@dataclass(frozen=True, slots=True, kw_only=True)
class Unchanged:
    """There is nothing to decide."""

    reason: str
    kind: Literal["Unchanged"] = "Unchanged"


Decision = Advance | Promote | Abort | Expire | Hold | Unchanged
