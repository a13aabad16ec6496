"""How a new version takes over: steps, gates, bake time, expiry. Values; :mod:`.schema` reads ``rollout.yaml``.

>>> Plan(steps=(Step(weight=50), Step(weight=1000))).is_promotion(1)
True
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

from mlflow_deploy_plugin.errors import ConfigError
from mlflow_deploy_plugin.spec.names import TOTAL_WEIGHT
from pipelines.analysis.gates import ErrorRatioGate, Gate

Strategy = Literal["canary", "blue-green"]
EndAction = Literal["abort", "hold", "promote"]

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One weight of the canary, and what must be before it is left."""

    weight: int
    """Of 1000."""
    pause: timedelta = timedelta(0)
    """Least time at this weight."""
    needs_approval: bool = False
    """A person must approve before the next step."""
    needs_analysis: bool = True
    """The gates must be Successful before the next step; a Failed gate aborts in any case."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expiry:
    """When a rollout that does not settle ends by itself, and how."""

    after: timedelta = timedelta(days=7)
    action: EndAction = "abort"


@dataclass(frozen=True, slots=True, kw_only=True)
class FreezeWindow:
    """Hours of the week in which nothing is promoted; rollbacks are exempt. Deny wins over everything."""

    zone: ZoneInfo
    days: tuple[str, ...] = DAYS
    begin: time = time(0)
    end: time = time(0)
    """Not included; at or before ``begin``: on the next day."""
    reason: str = ""

    def covers(self, moment: datetime) -> bool:
        """Whether ``moment`` lies in this window.

        >>> from datetime import UTC
        >>> night = FreezeWindow(zone=ZoneInfo("UTC"), days=("fri",), begin=time(18), end=time(6))
        >>> night.covers(datetime(2026, 1, 3, 2, tzinfo=UTC)), night.covers(datetime(2026, 1, 3, 7, tzinfo=UTC))
        (True, False)
        """
        local = moment.astimezone(self.zone)
        today, yesterday = DAYS[local.weekday()], DAYS[(local.weekday() - 1) % 7]
        if self.begin < self.end:
            return today in self.days and self.begin <= local.time() < self.end
        return (today in self.days and local.time() >= self.begin) or (
            yesterday in self.days and local.time() < self.end
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedGate:
    """A gate under the name that reasons and evidence carry."""

    name: str
    gate: Gate


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One endpoint's way to promote."""

    strategy: Strategy = "canary"
    steps: tuple[Step, ...]
    gates: tuple[NamedGate, ...] = (NamedGate(name="errors", gate=ErrorRatioGate(margin=0.005, guardrail=0.05)),)
    alpha: float = 0.01
    """Chance, per rollout, of aborting a version that is within every margin; split over the gates."""
    bake: timedelta = timedelta(0)
    """Least time from the first user to the promotion: a daily cycle, say."""
    expiry: Expiry = field(default_factory=Expiry)
    freezes: tuple[FreezeWindow, ...] = ()
    holdback: int = 0
    """Weight of 1000 that the old version keeps after the promotion, as a control."""

    def __post_init__(self) -> None:
        weights = [step.weight for step in self.steps]
        if not weights or weights != sorted(set(weights)) or weights[0] <= 0:
            raise ConfigError(
                f"steps have weights {weights}; each must be larger than the one before, the first above 0"
            )
        if weights[-1] != TOTAL_WEIGHT:
            raise ConfigError(f"the last step has weight {weights[-1] / 10:g} %; it must be 100, the promotion")
        if not 0 <= self.holdback < TOTAL_WEIGHT:
            raise ConfigError(f"holdback is {self.holdback / 10:g} %; it must be below 100")
        names = [gate.name for gate in self.gates]
        if not names or len(set(names)) != len(names):
            raise ConfigError(f"gates are named {names}; at least one is needed, each name once")

    def is_promotion(self, index: int) -> bool:
        """Whether step ``index`` (0 is the first) is the last one: the canary takes over."""
        return index >= len(self.steps) - 1

    def frozen(self, moment: datetime) -> Iterator[FreezeWindow]:
        """The freeze windows that ``moment`` lies in."""
        return (window for window in self.freezes if window.covers(moment))
