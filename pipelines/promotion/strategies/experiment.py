"""What an experiment is: the arms of an A/B/n rollout, what they must be better in, and how people write that down.

What follows from what is seen is :mod:`.ab`'s.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final, Literal

from pydantic import Field, model_validator

from mlflow_deploy_plugin.errors import ConfigError
from mlflow_deploy_plugin.manifests.split import layout
from mlflow_deploy_plugin.spec.names import TOTAL_WEIGHT, require_label
from pipelines.analysis.gates import ErrorRatioGate, MeanGate
from pipelines.promotion.forms import BEFORE, BOUNDS, PERCENT, ExpiryForm, Percent, PlanForm, Span, Strict, weight_of
from pipelines.promotion.state import Candidate, State
from pipelines.promotion.strategies.canary import HOLDBACK
from pipelines.promotion.terms import EndAction, Expiry, Terms

SALT_DIGITS: Final = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Success:
    """What an arm must be better in, and how much better would matter."""

    gate: ErrorRatioGate | MeanGate
    """With no margin: Successful means certainly better than stable."""
    minimum_effect: float
    """Smallest improvement that is worth finding, in the metric's unit; sets the expected duration, decides nothing."""
    baseline: float | None = None
    """Stable's ratio, for the expected duration of a ratio."""
    deviation: float | None = None
    """Standard deviation over users, for the expected duration of a mean."""

    @property
    def name(self) -> str:
        """As reasons and evidence call it."""
        return f"success ({self.gate.metric if isinstance(self.gate, MeanGate) else self.gate.source})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ab:
    """An experiment."""

    experiment: str
    arms: Mapping[str, int]
    """Weight of each arm, of 1000; stable keeps the rest."""
    success: Success
    does_promote: bool = True
    """Whether the winner takes over; else it is only declared."""
    needs_approval: bool = False
    """People must approve before the winner takes over."""

    def __post_init__(self) -> None:
        require_label(self.experiment, what="experiment")
        for name, weight in self.arms.items():
            require_label(name, what="deployment")
            if weight <= 0:
                raise ConfigError(f"arm {name!r} has weight {weight / 10:g} %; it must be above 0")
        rest = TOTAL_WEIGHT - sum(self.arms.values())
        if not self.arms or rest <= 0:
            raise ConfigError(
                f"arms {', '.join(self.arms) or 'none'} leave {rest / 10:g} % to stable; there must be an arm, and a"
                " control"
            )
        control = next(name for name in ("stable", *map(str, range(TOTAL_WEIGHT))) if name not in self.arms)
        layout({control: rest, **self.arms}, control)  # refuses more than 8 arms, and an arm that outgrows its slot

    def salt(self, state: State) -> str:
        """Deals the users of this experiment unlike those of any other."""
        said = f"{state.stage}/{state.endpoint}/{self.experiment}"
        return hashlib.sha256(said.encode()).hexdigest()[:SALT_DIGITS]

    def where(self, state: State) -> str:
        """Where the experiment stands, for people."""
        if state.salt != self.salt(state):
            return f"experiment {self.experiment} has not begun"
        if not state.rollout:
            return f"experiment {self.experiment} is over"
        return f"experiment {self.experiment} runs with {len(self.active(state))} of {len(self.arms)} arms"

    def losers(self, state: State) -> tuple[Candidate, ...]:
        """Arms that have no users any more, since the experiment is over; also those that were taken out and held."""
        if state.salt != self.salt(state) or state.rollout:
            return ()
        known = (*state.candidates, *state.waiting)
        return tuple(one for one in known if one.deployment in self.arms and not one.weight)

    def active(self, state: State) -> tuple[Candidate, ...]:
        """Arms that have users."""
        return tuple(one for one in state.candidates if one.deployment in self.arms and one.weight)


class ArmForm(Strict):
    """One arm beside stable."""

    deployment: str = Field(description="name of the deployment")
    weight: Percent = Field(gt=0, description="per cent of the users; with three arms or more at most 100 / arms")


class SuccessForm(Strict):
    """What the experiment is about: an arm must be certainly better than stable in it."""

    metric: str = Field(
        default="labels",
        min_length=1,
        description="labels: wrong predictions; errors: failed attempts; else a metric by user, such as label",
    )
    better: Literal["higher", "lower"] = Field(default="higher", description="which direction of a metric is good")
    minimum_effect: float = Field(
        gt=0, description="smallest improvement worth finding; percentage points of a ratio, else the metric's unit"
    )
    baseline: Percent | None = Field(default=None, description="per cent of stable's users, where it is a ratio")
    deviation: float | None = Field(default=None, gt=0, description="standard deviation by user, where it is a metric")
    minimum_users: int = Field(default=500, ge=1, description="users of each arm below which nobody wins")
    bounds: tuple[float, float] | None = Field(default=None, description=BOUNDS)
    before: Span | None = Field(default=None, description=BEFORE)

    @model_validator(mode="after")
    def _is_a_metric(self) -> "SuccessForm":
        if self.metric in {"labels", "errors"} and (self.bounds or self.before):
            raise ValueError(f"bounds and before are of a metric by user; {self.metric} is a ratio, and exact as it is")
        return self

    def value(self) -> Success:
        """What is inside."""
        if self.metric not in {"labels", "errors"}:
            gate = MeanGate(
                margin=0,
                better=self.better,
                minimum_users=self.minimum_users,
                metric=self.metric,
                bounds=self.bounds,
                before_s=self.before.total_seconds() if self.before else None,
            )
            return Success(gate=gate, minimum_effect=self.minimum_effect, deviation=self.deviation)
        ratio = ErrorRatioGate(
            minimum_users=self.minimum_users,
            event="wrong" if self.metric == "labels" else "error",
            source="labels" if self.metric == "labels" else "errors",
        )
        baseline = None if self.baseline is None else self.baseline / PERCENT
        return Success(gate=ratio, minimum_effect=self.minimum_effect / PERCENT, baseline=baseline)


class AbForm(PlanForm):
    """``strategy: ab``: several versions at once."""

    strategy: Literal["ab"] = Field(description="several versions at once, until one is certainly better")
    experiment: str = Field(description="its name: users are dealt by it, and a new name begins a new experiment")
    arms: tuple[ArmForm, ...] = Field(description="1 to 8 deployments beside stable")
    success: SuccessForm = Field(description="what an arm must be better in")
    winner: Literal["promote", "declare"] = Field(default="promote", description="declare: the split stays, people act")
    approval: bool = Field(default=False, description="people must approve before the winner takes over")
    maximum_length: Span = Field(default=timedelta(days=14), description="time after which the experiment ends")
    end: EndAction = Field(default="abort", description="at the end: abort: all to stable; hold; promote: the best arm")
    expiry: ExpiryForm = Field(default_factory=ExpiryForm, exclude=True, description="not for ab: see maximum_length")
    holdback: Percent = Field(
        default=HOLDBACK, description="per cent that the old version keeps afterwards, as a control; 0: none"
    )
    keep_warm: Span | None = Field(
        default=timedelta(hours=1), description="time that a loser stays ready for the way back; null: for ever"
    )

    @model_validator(mode="after")
    def _has_one_end(self) -> "AbForm":
        if "expiry" in self.model_fields_set:
            raise ValueError("expiry: an experiment ends by maximum_length and end; write those")
        if len({arm.deployment for arm in self.arms}) < len(self.arms):
            raise ValueError("arms: a deployment stands twice; keep one")
        return self

    def value(self) -> Ab:
        """What is inside."""
        return Ab(
            experiment=self.experiment,
            arms={arm.deployment: weight_of(arm.weight) for arm in self.arms},
            success=self.success.value(),
            does_promote=self.winner == "promote",
            needs_approval=self.approval,
        )

    def terms(self) -> Terms:
        """The common part inside."""
        return replace(PlanForm.terms(self), expiry=Expiry(after=self.maximum_length, action=self.end))
