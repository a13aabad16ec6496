"""The fields of ``rollout.yaml`` that all strategies share, each with its unit and its reason. Only the door.

Inside, :mod:`.terms` has the values. The same models make the text of ``python -m pipelines schema``.
"""

import re
from datetime import time, timedelta
from typing import Annotated, Final, Literal, get_args
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from mlflow_deploy_plugin.errors import ConfigError
from mlflow_deploy_plugin.spec.names import TOTAL_WEIGHT
from pipelines.analysis.gates import AgreementGate, ErrorRatioGate, GpuGate, MeanGate, QuantileGate
from pipelines.promotion.terms import Approvals, EndAction, Expiry, FreezeWindow, Leftover, NamedGate, Terms

PERCENT: Final = 100

BOUNDS: Final = (
    "least and largest value that a user can have, known beforehand: exact at every look, for first_label (each user's"
    " first label, by arrival) without a burn-in; a value outside holds"
)
BEFORE: Final = (
    "how long before the experiment a user's own metric is looked up, to take out of it what their past explains"
    " (CUPED); null: not used"
)

_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_SPAN: Final = re.compile(r"(\d+(?:\.\d+)?)([smhdw])")


def span(value: object) -> timedelta:
    """A span of time as people write it.

    >>> span("90m")
    datetime.timedelta(seconds=5400)
    """
    if isinstance(value, timedelta):
        return value
    hit = _SPAN.fullmatch(str(value).strip().lower())
    if hit is None:
        raise ValueError(f"{value!r} is no span of time; write a number and a unit, such as 30m, 12h or 7d")
    return timedelta(seconds=float(hit[1]) * _UNITS[hit[2]])


Span = Annotated[timedelta, BeforeValidator(span, json_schema_input_type=str)]
Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
Percent = Annotated[float, Field(ge=0, le=PERCENT, multiple_of=0.1)]


def weight_of(percent: float) -> int:
    """Per cent as a weight of 1000.

    >>> weight_of(33.3)
    333
    """
    return round(percent * TOTAL_WEIGHT / PERCENT)


class Strict(BaseModel):
    """Nothing that is not known."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ErrorsForm(Strict):
    """Users who met a failed attempt, by the gateway's log; exact at every look."""

    margin: Percent = Field(default=0.5, description="percentage points by which the canary may be worse than stable")
    relative_margin: Percent = Field(default=0, description="per cent of stable's ratio that may come on top")
    guardrail: Percent | None = Field(default=5, description="per cent that the canary must never certainly exceed")
    minimum_users: int = Field(default=100, ge=1, description="canary users below which nothing is Successful")

    def gate(self) -> ErrorRatioGate:
        """What is inside."""
        return ErrorRatioGate(
            margin=self.margin / PERCENT,
            relative_margin=self.relative_margin / PERCENT,
            guardrail=None if self.guardrail is None else self.guardrail / PERCENT,
            minimum_users=self.minimum_users,
        )


class LabelsForm(Strict):
    """Users whose prediction was wrong, by matured labels; exact at every look."""

    margin: Percent = Field(default=1, description="percentage points by which the canary may be worse than stable")
    minimum_users: int = Field(default=100, ge=1, description="labelled canary users below which nothing is Successful")

    def gate(self) -> ErrorRatioGate:
        """What is inside."""
        return ErrorRatioGate(
            margin=self.margin / PERCENT, minimum_users=self.minimum_users, event="wrong", source="labels"
        )


class LatencyForm(Strict):
    """A quantile of the users' latency."""

    quantile: float = Field(default=0.99, gt=0, lt=1, description="which quantile: 0.5 the median, 0.99 the p99")
    relative_margin: float = Field(default=20, ge=0, description="per cent by which the canary may be slower")
    guardrail_ms: float | None = Field(default=None, gt=0, description="milliseconds never to be certainly exceeded")
    minimum_users: int = Field(default=100, ge=1, description="canary users below which nothing is Successful")

    def gate(self) -> QuantileGate:
        """What is inside."""
        return QuantileGate(
            quantile=self.quantile,
            relative_margin=self.relative_margin / PERCENT,
            guardrail_ms=self.guardrail_ms,
            minimum_users=self.minimum_users,
        )


class MetricForm(Strict):
    """A metric by user from the labels, compared asymptotically, or with bounds exactly."""

    metric: str = Field(min_length=1, description="label: a user's mean label; first_label: their first one")
    margin: float = Field(ge=0, description="loss that is allowed, in the metric's own unit")
    better: Literal["higher", "lower"] = Field(default="higher", description="which direction is good")
    minimum_users: int = Field(default=500, ge=1, description="users of each arm below which nothing is decided")
    bounds: tuple[float, float] | None = Field(default=None, description=BOUNDS)
    before: Span | None = Field(default=None, description=BEFORE)

    def gate(self) -> MeanGate:
        """What is inside."""
        return MeanGate(
            margin=self.margin,
            better=self.better,
            minimum_users=self.minimum_users,
            metric=self.metric,
            bounds=self.bounds,
            before_s=self.before.total_seconds() if self.before else None,
        )


class AgreementForm(Strict):
    """Users who would get another prediction, by the same requests; exact at every look."""

    bound: Percent = Field(default=2, description="per cent of the users whose prediction may differ")
    tolerance: float = Field(default=0, ge=0, description="difference of two numbers that is still agreement")
    minimum_users: int = Field(default=100, ge=1, description="users in the shadow below which nothing is Successful")

    def gate(self) -> AgreementGate:
        """What is inside."""
        return AgreementGate(bound=self.bound / PERCENT, minimum_users=self.minimum_users)


class GpuForm(Strict):
    """A gauge of the GPUs that a version's workers see, by Prometheus; may hold or roll back, never promotes."""

    metric: Literal["memory", "utilization"] = Field(
        default="memory", description="memory: used share of a device, by whomever; utilization: share of time at work"
    )
    guardrail: Percent = Field(description="per cent that fails where it is exceeded all through the window")
    window: Span = Field(default=timedelta(minutes=5), description="how far back readings are looked at")
    minimum_readings: int = Field(default=5, ge=1, description="readings below which nothing is decided")

    def gate(self) -> GpuGate:
        """What is inside."""
        return GpuGate(
            kind=self.metric,
            bound=self.guardrail / PERCENT,
            window_s=self.window.total_seconds(),
            minimum_readings=self.minimum_readings,
        )


class GatesForm(Strict):
    """What is asked of a new version. What is not named is not asked."""

    errors: ErrorsForm | None = Field(default_factory=ErrorsForm, description="failed attempts; null: not asked")
    labels: LabelsForm | None = Field(default=None, description="wrong predictions")
    latency: tuple[LatencyForm, ...] = Field(default=(), description="one gate a quantile")
    metrics: tuple[MetricForm, ...] = Field(default=(), description="one gate a metric")
    gpu: tuple[GpuForm, ...] = Field(default=(), description="one gate a gauge of the GPUs; needs --prometheus")

    def values(self) -> tuple[NamedGate, ...]:
        """The gates inside."""
        found = [NamedGate(name="errors", gate=self.errors.gate())] if self.errors else []
        found += [NamedGate(name="labels", gate=self.labels.gate())] if self.labels else []
        found += [NamedGate(name=f"p{each.quantile * PERCENT:g}", gate=each.gate()) for each in self.latency]
        found += [NamedGate(name=each.metric, gate=each.gate()) for each in self.metrics]
        return (*found, *(NamedGate(name=f"gpu {each.metric}", gate=each.gate()) for each in self.gpu))


class ExpiryForm(Strict):
    """The end of a rollout that does not settle."""

    after: Span = Field(default=timedelta(days=7), description="time since the rollout began")
    action: EndAction = Field(default="abort", description="abort: back to stable; hold: stay; promote: take over")

    def value(self) -> Expiry:
        """What is inside."""
        return Expiry(after=self.after, action=self.action)


class ApprovalsForm(Strict):
    """Who must say yes where a step asks for an approval."""

    count: int = Field(default=1, ge=1, le=9, description="how many people")
    not_author: bool = Field(default=False, description="whoever brought the version in does not count")

    def value(self) -> Approvals:
        """What is inside."""
        return Approvals(count=self.count, is_author_excluded=self.not_author)


class FreezeForm(Strict):
    """Hours of the week in which nothing is promoted; rollbacks are exempt."""

    days: tuple[Day, ...] = Field(default=get_args(Day), description="days on which the window begins")
    begin: time = Field(default=time(0), description="local time, such as 18:00")
    end: time = Field(default=time(0), description="local time, not included; at or before begin: on the next day")
    zone: str = Field(default="UTC", description="time zone, such as Europe/Berlin")
    reason: str = Field(default="", description="said where a promotion is held back")

    def value(self) -> FreezeWindow:
        """What is inside.

        Raises:
            ConfigError: nobody knows that time zone.
        """
        try:
            zone = ZoneInfo(self.zone)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise ConfigError(
                f"time zone {self.zone!r} is not known; write one such as Europe/Berlin or UTC"
            ) from error
        return FreezeWindow(zone=zone, days=self.days, begin=self.begin, end=self.end, reason=self.reason)


class PlanForm(Strict):
    """What every strategy knows."""

    gates: GatesForm = Field(default_factory=GatesForm, description="what is asked of the new version")
    alpha: float = Field(default=0.01, gt=0, lt=1, description="chance of aborting a version within every margin")
    bake: Span = Field(default=timedelta(0), description="least time from the first user to the promotion")
    expiry: ExpiryForm = Field(default_factory=ExpiryForm, description="when a rollout ends by itself")
    approvals: ApprovalsForm = Field(default_factory=ApprovalsForm, description="who must approve where it is asked")
    freeze: tuple[FreezeForm, ...] = Field(default=(), description="when nothing is promoted")
    holdback: Percent = Field(default=0, description="per cent that the old version keeps afterwards, as a control")
    keep_warm: Span | None = Field(
        default=None, description="time that a version without users stays ready for the way back; null: for ever"
    )
    leftover: Leftover = Field(
        default="remove", description="what becomes of it then; scale-down: one process is left of it"
    )

    def terms(self) -> Terms:
        """The common part inside.

        Raises:
            ConfigError: the values do not fit together.
        """
        return Terms(
            gates=self.gates.values(),
            alpha=self.alpha,
            bake=self.bake,
            expiry=self.expiry.value(),
            freezes=tuple(each.value() for each in self.freeze),
            approvals=self.approvals.value(),
            holdback=weight_of(self.holdback),
            keep_warm=self.keep_warm,
            leftover=self.leftover,
        )
