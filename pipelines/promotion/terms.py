"""What every strategy shares: gates, bake time, expiry, approvals, freeze windows, what stays afterwards. Values.

>>> Approvals(count=2).missing(["ada@x"], author="bob@x")
1
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

from mlflow_deploy_plugin.errors import ConfigError
from mlflow_deploy_plugin.spec.names import TOTAL_WEIGHT
from pipelines.analysis.gates import AgreementGate, ErrorRatioGate, Gate, GpuGate

EndAction = Literal["abort", "hold", "promote"]
Leftover = Literal["remove", "scale-down"]

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


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
class Approvals:
    """How many people must let a step go on, and whether whoever brought the version may be one of them."""

    count: int = 1
    is_author_excluded: bool = False

    @property
    def is_anonymous(self) -> bool:
        """Whether one word suffices, whoever gave it."""
        return self.count == 1 and not self.is_author_excluded

    def missing(self, given: Iterable[str], *, author: str) -> int:
        """How many more people are needed."""
        people = set(given) - ({author} if self.is_author_excluded else set())
        return max(0, self.count - len(people))


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedGate:
    """A gate under the name that reasons and evidence carry."""

    name: str
    gate: Gate | AgreementGate | GpuGate


ERRORS = NamedGate(name="errors", gate=ErrorRatioGate(margin=0.005, guardrail=0.05))


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """The part of a plan that does not depend on its strategy."""

    gates: tuple[NamedGate, ...] = (ERRORS,)
    alpha: float = 0.01
    """Chance, per rollout, of aborting a version that is within every margin; split over gates and arms."""
    bake: timedelta = timedelta(0)
    """Least time from the first user to the promotion: a daily cycle, say."""
    expiry: Expiry = field(default_factory=Expiry)
    freezes: tuple[FreezeWindow, ...] = ()
    approvals: Approvals = field(default_factory=Approvals)
    holdback: int = 0
    """Weight of 1000 that the old version keeps after the promotion, as a control: the gates go on."""
    keep_warm: timedelta | None = None
    """How long a version that lost its users keeps running, so that the way back is instant; ``None``: for ever."""
    leftover: Leftover = "remove"
    """What then becomes of it."""

    def __post_init__(self) -> None:
        if not 0 <= self.holdback < TOTAL_WEIGHT:
            raise ConfigError(f"holdback is {self.holdback / 10:g} %; it must be below 100")
        names = [gate.name for gate in self.gates]
        if not names or len(set(names)) != len(names):
            raise ConfigError(f"gates are named {names}; at least one is needed, each name once")
        if all(isinstance(each.gate, GpuGate) for each in self.gates):
            raise ConfigError("only GPUs are asked about, and they promote nothing; ask for errors or labels too")

    def frozen(self, moment: datetime) -> Iterator[FreezeWindow]:
        """The freeze windows that ``moment`` lies in."""
        return (window for window in self.freezes if window.covers(moment))
