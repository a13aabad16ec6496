"""``rollout.yaml`` as people write it: every field with its unit and its reason, and nothing that is not known.

The same models make the text of ``python -m pipelines schema``. Only the door: inside, :mod:`.plan` has the values.
"""

import re
from datetime import time, timedelta
from typing import Annotated, Any, Final, Literal, get_args
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from mlflow_deploy_plugin.errors import ConfigError, ManifestError
from mlflow_deploy_plugin.spec.names import TOTAL_WEIGHT
from pipelines.analysis.gates import ErrorRatioGate, MeanGate, QuantileGate
from pipelines.promotion.plan import EndAction, Expiry, FreezeWindow, NamedGate, Plan, Step, Strategy

API: Final = "modelserve.io/v1alpha1"
KIND: Final = "Rollout"
PERCENT: Final = 100

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


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class StepFile(_Strict):
    """One weight of the canary."""

    weight: Percent = Field(description="per cent of the users; multiples of 0.1; the last step must be 100")
    pause: Span = Field(default=timedelta(0), description="least time at this weight, such as 30m")
    approval: bool = Field(default=False, description="a person must approve before the next step")
    analysis: bool = Field(default=True, description="the gates must be Successful before the next step")


class ErrorsFile(_Strict):
    """Users who met a failed attempt, by the gateway's log; exact at every look."""

    margin: Percent = Field(default=0.5, description="percentage points by which the canary may be worse than stable")
    relative_margin: Percent = Field(default=0, description="per cent of stable's ratio that may come on top")
    guardrail: Percent | None = Field(default=5, description="per cent that the canary must never certainly exceed")
    minimum_users: int = Field(default=100, ge=1, description="canary users below which nothing is Successful")


class LabelsFile(_Strict):
    """Users whose prediction was wrong, by matured labels; exact at every look."""

    margin: Percent = Field(default=1, description="percentage points by which the canary may be worse than stable")
    minimum_users: int = Field(default=100, ge=1, description="labelled canary users below which nothing is Successful")


class LatencyFile(_Strict):
    """A quantile of the users' latency."""

    quantile: float = Field(default=0.99, gt=0, lt=1, description="which quantile: 0.5 the median, 0.99 the p99")
    relative_margin: float = Field(default=20, ge=0, description="per cent by which the canary may be slower")
    guardrail_ms: float | None = Field(default=None, gt=0, description="milliseconds never to be certainly exceeded")
    minimum_users: int = Field(default=100, ge=1, description="canary users below which nothing is Successful")


class MetricFile(_Strict):
    """A metric by user from the labels, compared asymptotically."""

    metric: str = Field(min_length=1, description="name of the metric in the observation")
    margin: float = Field(ge=0, description="loss that is allowed, in the metric's own unit")
    better: Literal["higher", "lower"] = Field(default="higher", description="which direction is good")
    minimum_users: int = Field(default=500, ge=1, description="users of each arm below which nothing is decided")


class GatesFile(_Strict):
    """What is asked of a canary. What is not named is not asked."""

    errors: ErrorsFile | None = Field(default_factory=ErrorsFile, description="failed attempts; null: not asked")
    labels: LabelsFile | None = Field(default=None, description="wrong predictions")
    latency: tuple[LatencyFile, ...] = Field(default=(), description="one gate a quantile")
    metrics: tuple[MetricFile, ...] = Field(default=(), description="one gate a metric")


class ExpiryFile(_Strict):
    """The end of a rollout that does not settle."""

    after: Span = Field(default=timedelta(days=7), description="time since the rollout began")
    action: EndAction = Field(default="abort", description="abort: back to stable; hold: stay; promote: take over")


class FreezeFile(_Strict):
    """Hours of the week in which nothing is promoted; rollbacks are exempt."""

    days: tuple[Day, ...] = Field(default=get_args(Day), description="days on which the window begins")
    begin: time = Field(default=time(0), description="local time, such as 18:00")
    end: time = Field(default=time(0), description="local time, not included; at or before begin: on the next day")
    zone: str = Field(default="UTC", description="time zone, such as Europe/Berlin")
    reason: str = Field(default="", description="said where a promotion is held back")


class SpecFile(_Strict):
    """The plan."""

    strategy: Strategy = Field(
        default="canary", description="canary: by steps; blue-green: all at once, after approval"
    )
    steps: tuple[StepFile, ...] = Field(default=(), description="weights of the canary, growing, the last 100")
    gates: GatesFile = Field(default_factory=GatesFile, description="what is asked of the canary at every step")
    alpha: float = Field(default=0.01, gt=0, lt=1, description="chance of aborting a version within every margin")
    bake: Span = Field(default=timedelta(0), description="least time from the first user to the promotion")
    expiry: ExpiryFile = Field(default_factory=ExpiryFile, description="when a rollout ends by itself")
    freeze: tuple[FreezeFile, ...] = Field(default=(), description="when nothing is promoted")
    holdback: Percent = Field(default=0, description="per cent that the old version keeps as a control afterwards")


class RolloutFile(_Strict):
    """``rollout.yaml``."""

    api_version: Literal["modelserve.io/v1alpha1"] = Field(alias="apiVersion", description="always this")
    kind: Literal["Rollout"] = Field(description="always this")
    metadata: dict[str, Any] = Field(default_factory=dict, description="name and the local-config annotation")
    spec: SpecFile = Field(description="the plan; empty: nothing is promoted by automation")


def read_plan(text: str, *, path: str) -> Plan | None:
    """The plan in ``text``; ``None`` where its spec is empty: then automation promotes nothing.

    Raises:
        ManifestError: it breaks a rule; the message begins with ``path`` and the field.
    """
    try:
        written = YAML(typ="safe").load(text)
        read = RolloutFile.model_validate(written)
        return _plan(read.spec) if written.get("spec") else None
    except YAMLError as error:
        raise ManifestError(f"{path}: is no YAML ({str(error).splitlines()[0]})") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "file"
        raise ManifestError(
            f"{path}: {place}: {first['msg']}; `python -m pipelines schema` lists the fields"
        ) from error
    except ConfigError as error:
        raise ManifestError(f"{path}: {error}") from error


def _plan(spec: SpecFile) -> Plan:
    steps = spec.steps or ((StepFile(weight=PERCENT),) if spec.strategy == "blue-green" else ())
    return Plan(
        strategy=spec.strategy,
        steps=tuple(
            Step(
                weight=_weight(step.weight),
                pause=step.pause,
                needs_approval=step.approval,
                needs_analysis=step.analysis,
            )
            for step in steps
        ),
        gates=_gates(spec.gates),
        alpha=spec.alpha,
        bake=spec.bake,
        expiry=Expiry(after=spec.expiry.after, action=spec.expiry.action),
        freezes=tuple(_freeze(each) for each in spec.freeze),
        holdback=_weight(spec.holdback),
    )


def _gates(file: GatesFile) -> tuple[NamedGate, ...]:
    found: list[NamedGate] = []
    if (errors := file.errors) is not None:
        bound = None if errors.guardrail is None else errors.guardrail / PERCENT
        gate = ErrorRatioGate(
            margin=errors.margin / PERCENT,
            relative_margin=errors.relative_margin / PERCENT,
            guardrail=bound,
            minimum_users=errors.minimum_users,
        )
        found.append(NamedGate(name="errors", gate=gate))
    if (labels := file.labels) is not None:
        wrong = ErrorRatioGate(
            margin=labels.margin / PERCENT, minimum_users=labels.minimum_users, event="wrong", source="labels"
        )
        found.append(NamedGate(name="labels", gate=wrong))
    found += [
        NamedGate(
            name=f"p{each.quantile * PERCENT:g}",
            gate=QuantileGate(
                quantile=each.quantile,
                relative_margin=each.relative_margin / PERCENT,
                guardrail_ms=each.guardrail_ms,
                minimum_users=each.minimum_users,
            ),
        )
        for each in file.latency
    ]
    found += [
        NamedGate(
            name=each.metric,
            gate=MeanGate(margin=each.margin, better=each.better, minimum_users=each.minimum_users, metric=each.metric),
        )
        for each in file.metrics
    ]
    return tuple(found)


def _freeze(file: FreezeFile) -> FreezeWindow:
    try:
        zone = ZoneInfo(file.zone)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise ConfigError(f"time zone {file.zone!r} is not known; write one such as Europe/Berlin or UTC") from error
    return FreezeWindow(zone=zone, days=file.days, begin=file.begin, end=file.end, reason=file.reason)


def _weight(percent: float) -> int:
    return round(percent * TOTAL_WEIGHT / PERCENT)
