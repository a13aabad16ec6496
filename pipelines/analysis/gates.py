"""What a gate asks of a canary: margins relative to stable, absolute guardrails, and how many users it wants to see.

Values only; the judgement is in the module that is named after each statistic.
"""

import math
from dataclasses import dataclass
from typing import Literal

from mlflow_deploy_plugin.errors import ConfigError
from pipelines.analysis.checks import positive, share


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorRatioGate:
    """Bounds the share of users with an event: an error, a wrong prediction."""

    margin: float = 0.0
    """Allowed excess over stable, as a share of users: 0.005 is half a percentage point."""

    relative_margin: float = 0.0
    """Allowed excess relative to stable's ratio: 0.2 is a fifth more. Adds to ``margin``."""

    guardrail: float | None = None
    """Absolute bound on the canary's ratio; certainly above it fails at once, whatever stable does. None: no bound."""

    minimum_users: int = 100
    """Canary users below which nothing is Successful."""

    event: str = "error"
    """What the event is called in reasons."""

    source: Literal["errors", "labels"] = "errors"
    """Which counts of an arm are judged: users with an error, or labelled users with a wrong prediction."""

    def __post_init__(self) -> None:
        share(self.margin, "margin")
        _not_negative(self.relative_margin, "relative_margin")
        if self.guardrail is not None:
            share(self.guardrail, "guardrail")
        _at_least_one(self.minimum_users, "minimum_users")


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantileGate:
    """Bounds a quantile of the users' latency."""

    quantile: float = 0.99
    """Which one: 0.5 the median, 0.99 the p99."""

    relative_margin: float = 0.2
    """Allowed excess relative to stable's quantile: 0.2 is a fifth slower."""

    guardrail_ms: float | None = None
    """Absolute bound in milliseconds; certainly above it fails at once. None: no bound."""

    threshold_ms: float | None = None
    """Latency around which the arms are compared: stable's quantile before the canary began. None: stable's quantile so
    far, from ``calibration_users`` users on."""

    calibration_users: int = 30
    """Users of stable that set the first threshold where none is given; nothing is compared before."""

    caution: float = 1.0
    """Standard errors by which a threshold lies below stable's quantile so far. At 0 half of the first thresholds lie
    above the true quantile, where nearly nobody is, and learn slowly; at 2 a p99 begins as a test of the p95. 1 was
    chosen for that reason; ``laws`` shows all three on a seed of their own."""

    minimum_users: int = 100
    """Canary users below which nothing is Successful."""

    def __post_init__(self) -> None:
        _not_negative(self.caution, "caution")
        if not 0 < self.quantile < 1:
            raise ConfigError(f"quantile is {self.quantile}: must lie between 0 and 1; the p99 is 0.99")
        _not_negative(self.relative_margin, "relative_margin")
        for name, value in (("guardrail_ms", self.guardrail_ms), ("threshold_ms", self.threshold_ms)):
            if value is not None:
                positive(value, name)
        _at_least_one(self.calibration_users, "calibration_users")
        _at_least_one(self.minimum_users, "minimum_users")


@dataclass(frozen=True, slots=True, kw_only=True)
class MeanGate:
    """Bounds the mean of a metric per user, or (with ``per``) the ratio of two sums over users."""

    margin: float
    """Allowed loss against stable, in the metric's own unit; never negative."""

    better: Literal["higher", "lower"] = "higher"
    """Which direction of the metric is good."""

    minimum_users: int = 500
    """Users of *each* arm below which nothing is decided: the interval is asymptotic and needs a burn-in."""

    metric: str = "metric"
    """What the metric is called in reasons."""

    bounds: tuple[float, float] | None = None
    """Least and largest value that a user can have, known beforehand: then the comparison is exact at every n and needs
    no burn-in. None: any value, asymptotic."""

    before_s: float | None = None
    """Seconds before the experiment in which the users' own metric is looked up, for CUPED. None: not used."""

    def __post_init__(self) -> None:
        _not_negative(self.margin, "margin")
        _at_least_one(self.minimum_users, "minimum_users")
        if self.bounds is not None and not (self.bounds[0] < self.bounds[1] and all(map(math.isfinite, self.bounds))):
            raise ConfigError(f"bounds are {self.bounds}: two finite numbers, the smaller first")
        if self.before_s is not None:
            positive(self.before_s, "before_s")
            if self.bounds is not None:
                raise ConfigError("a metric with bounds is compared as it is; leave out bounds, or before")


@dataclass(frozen=True, slots=True, kw_only=True)
class CountGate:
    """Bounds the ratio of event rates where users cannot be seen; may hold or roll back, never promotes."""

    relative_margin: float = 0.0
    """Allowed excess of the canary's rate relative to stable's: 0.2 is a fifth more."""

    def __post_init__(self) -> None:
        _not_negative(self.relative_margin, "relative_margin")


@dataclass(frozen=True, slots=True, kw_only=True)
class AgreementGate:
    """Bounds how many users get another prediction from the new version, scored on the same inputs in the shadow."""

    bound: float = 0.02
    """Largest share of users whose predictions may differ."""

    minimum_users: int = 100
    """Users below which nothing is Successful."""

    def __post_init__(self) -> None:
        share(self.bound, "bound")
        _at_least_one(self.minimum_users, "minimum_users")


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedGate:
    """Bounds how much more often the new version is wrong on the same inputs."""

    margin: float = 0.0
    """Allowed excess of wrong predictions, as a share of users."""

    minimum_users: int = 100
    """Users below which nothing is Successful."""

    def __post_init__(self) -> None:
        share(self.margin, "margin")
        _at_least_one(self.minimum_users, "minimum_users")


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuGate:
    """Bounds a gauge of the GPUs that a version's workers see, whatever stable does; may hold or roll back."""

    kind: Literal["memory", "utilization"]
    """Used share of the memory, or share of the time at work."""

    bound: float
    """Share that fails where it is exceeded all through the window."""

    window_s: float = 300.0
    """Seconds that are looked back."""

    minimum_readings: int = 5
    """Readings below which nothing is decided."""

    def __post_init__(self) -> None:
        share(self.bound, "bound")
        positive(self.window_s, "window_s")
        _at_least_one(self.minimum_readings, "minimum_readings", what="reading")


Gate = ErrorRatioGate | QuantileGate | MeanGate
"""Gates that compare two arms; the others take their own observation."""


def _not_negative(value: float, name: str) -> None:
    if not (math.isfinite(value) and value >= 0):
        raise ConfigError(f"{name} is {value}: must be a finite number, zero or above")


def _at_least_one(value: int, name: str, *, what: str = "user") -> None:
    if value < 1:
        raise ConfigError(f"{name} is {value}: must be at least 1 {what}")
