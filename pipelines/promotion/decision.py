"""What a tick may decide: a closed union, each with its reason and the numbers of every gate."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from pipelines.promotion.terms import EndAction, Leftover

Word = Literal["successful", "failed", "inconclusive", "error"]


@dataclass(frozen=True, slots=True, kw_only=True)
class GateResult:
    """One gate's verdict on one arm, in the words of Argo Rollouts."""

    gate: str
    verdict: Word
    reason: str
    numbers: Mapping[str, float | int] = field(default_factory=dict)
    arm: str = ""
    """Deployment that was judged; empty in a rollout that has only one."""
    effect: float | None = None
    """How much better than stable the arm seems, in the gate's unit; only of what an experiment is about."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """All that a decision needs to know of an observation."""

    gates: tuple[GateResult, ...] = ()
    obstacles: tuple[str, ...] = ()
    """Reasons why the observation may not be believed: they hold."""
    can_promote: bool = True

    def failed(self, arm: str = "") -> GateResult | None:
        """The first gate that failed with certainty, of one arm."""
        return next((gate for gate in self.gates if gate.verdict == "failed" and gate.arm == arm), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Advance:
    """The canary gets the weight of a step; a shadow that gets users is one no more."""

    step: int
    weight: int
    """Of 1000."""
    reason: str
    baseline: str = ""
    """Deployment that gets the same weight with stable's model, and is made where there is none yet; empty: none."""
    gates: tuple[GateResult, ...] = ()
    kind: Literal["Advance"] = "Advance"


@dataclass(frozen=True, slots=True, kw_only=True)
class SetWeights:
    """The arms of an experiment get these weights: it begins, an arm grows, or one is taken out."""

    weights: Mapping[str, int]
    """Of 1000, stable too; who is not named gets nothing."""
    reason: str
    salt: str = ""
    """Users are dealt by it from now on; empty: as before."""
    dropped: str = ""
    """The arm that is taken out and held; empty: none."""
    gates: tuple[GateResult, ...] = ()
    kind: Literal["SetWeights"] = "SetWeights"


@dataclass(frozen=True, slots=True, kw_only=True)
class SetMirror:
    """A share of the requests is copied to a deployment in the shadow."""

    deployment: str
    share: int
    """Of 1000."""
    reason: str
    gates: tuple[GateResult, ...] = ()
    kind: Literal["SetMirror"] = "SetMirror"


@dataclass(frozen=True, slots=True, kw_only=True)
class Promote:
    """A version becomes stable and takes everything but the holdback."""

    deployment: str
    reason: str
    gates: tuple[GateResult, ...] = ()
    kind: Literal["Promote"] = "Promote"


@dataclass(frozen=True, slots=True, kw_only=True)
class Conclude:
    """The rollout is over and nobody takes over: a shadow has shown what it can, an experiment has its answer."""

    winner: str
    """Who has proven itself; empty: nobody."""
    ends_split: bool
    """Whether all users go to stable; else the split stays."""
    reason: str
    gates: tuple[GateResult, ...] = ()
    kind: Literal["Conclude"] = "Conclude"


@dataclass(frozen=True, slots=True, kw_only=True)
class Abort:
    """Versions go to 0 and are held."""

    deployments: tuple[str, ...]
    reason: str
    gates: tuple[GateResult, ...] = ()
    kind: Literal["Abort"] = "Abort"


@dataclass(frozen=True, slots=True, kw_only=True)
class Expire:
    """The rollout did not settle in time; what then happens is declared in the plan."""

    action: EndAction
    deployment: str
    reason: str
    gates: tuple[GateResult, ...] = ()
    kind: Literal["Expire"] = "Expire"


@dataclass(frozen=True, slots=True, kw_only=True)
class Retire:
    """Versions without users have been kept warm long enough."""

    deployments: tuple[str, ...]
    leftover: Leftover
    reason: str
    gates: tuple[GateResult, ...] = ()
    kind: Literal["Retire"] = "Retire"


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
    gates: tuple[GateResult, ...] = ()
    kind: Literal["Unchanged"] = "Unchanged"


Decision = Advance | SetWeights | SetMirror | Promote | Conclude | Abort | Expire | Retire | Hold | Unchanged
