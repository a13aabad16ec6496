"""What the event store answers with, and the window that a question is about. Values only."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Literal

from mlflow_deploy_plugin.errors import ConfigError
from pipelines.monitoring.event_files import Span

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

Population = Literal["split", "all"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Events of one endpoint between two moments. ``begin`` is included, ``end`` is not."""

    stage: str
    endpoint: str
    begin: datetime
    end: datetime
    population: Population = "split"

    def __post_init__(self) -> None:
        if self.begin.tzinfo is None or self.end.tzinfo is None:
            raise ConfigError(f"window {self.begin} to {self.end} has no time zone: give UTC")
        if self.begin >= self.end:
            raise ConfigError(f"window begins at {self.begin} and ends at {self.end}: it must end later")

    @property
    def span(self) -> Span:
        """Where its events lie."""
        return Span(
            stage=self.stage, endpoint=self.endpoint, begin=self.begin.astimezone(UTC), end=self.end.astimezone(UTC)
        )

    def widened(self, *, begin: datetime, end: datetime) -> "Window":
        """This window and the time from ``begin`` to ``end``."""
        return replace(self, begin=min(self.begin, begin), end=max(self.end, end))

    def since(self, moment: datetime) -> "Window":
        """The part of this window from ``moment`` on; its last instant where it ended before."""
        return replace(self, begin=min(max(self.begin, moment), self.end - timedelta.resolution))


@dataclass(frozen=True, slots=True, kw_only=True)
class ExposurePeriod:
    """Users whom one commit's split first assigned to an arm."""

    commit: str
    began: datetime
    users: int
    users_with_error: int
    """Users with at least one failed attempt while they were assigned here, whoever answered in the end."""
    users_moved: int
    """Users who were assigned to another arm later in the window."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmExposure:
    """What the gateway saw of one arm."""

    periods: tuple[ExposurePeriod, ...] = ()
    """Oldest first."""

    @property
    def users(self) -> int:
        """Distinct users exposed."""
        return sum(period.users for period in self.periods)

    @property
    def users_with_error(self) -> int:
        """Distinct users with an error."""
        return sum(period.users_with_error for period in self.periods)


@dataclass(frozen=True, slots=True, kw_only=True)
class Exposure:
    """What the gateway saw of every arm that was anybody's first; from table ``attempts``, so a dead canary is in it.

    Requests that asked for a deployment by header, or that no split assigned, are in no arm.
    """

    arms: Mapping[str, ArmExposure]
    unreadable: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencySample:
    """One latency per user: that of the first request that the user's first arm answered itself; shape (users,)."""

    arm: "NDArray[np.object_]"
    """Deployment that the split assigned first."""
    commit: "NDArray[np.object_]"
    """Commit whose split did."""
    values_ms: "NDArray[np.float64]"
    seen: "NDArray[np.float64]"
    """Seconds since the epoch."""
    unreadable: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ShadowSample:
    """Users whose requests a live version and one in the shadow both predicted, one pair each."""

    pairs: "pd.DataFrame"
    """Columns seen (seconds since the epoch), live_failed, copy_failed, differs; live_ms and copy_ms in the Bento."""
    live: int
    """Requests that live versions predicted for."""
    copies: int
    """Requests that the shadow predicted for."""
    unreadable: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmLabels:
    """Ground truth of one arm's rows."""

    predicted: int = 0
    labelled: int = 0
    """Rows with any label."""
    mature: int = 0
    """Rows older than the cut."""
    mature_labelled: int = 0
    late: int = 0
    """Rows whose label came after the cut; not used."""
    users_mature: int = 0
    """Users with a mature row."""
    users_labelled: int = 0
    """Users with a mature row that has a label."""

    @property
    def coverage(self) -> float | None:
        """Share of the mature rows that have a label; None without mature rows."""
        return self.mature_labelled / self.mature if self.mature else None

    @property
    def user_coverage(self) -> float | None:
        """Share of the users with a mature row who have a label; None without such users."""
        return self.users_labelled / self.users_mature if self.users_mature else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Oddities:
    """What is odd about the labels of a window."""

    duplicates: int = 0
    contradictions: int = 0
    """Rows with labels that differ."""
    unknown: int = 0
    """Labels of rows that no prediction was logged for since ``since``, such as unsampled ones."""
    since: datetime | None = None
    """How far back predictions were looked up."""
    newest: datetime | None = None
    """The watermark: when the newest label arrived; rows mature by it and not by the clock."""
    unreadable: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """Ground truth of every arm, and what is odd about it."""

    arms: Mapping[str, ArmLabels]
    odd: Oddities
    unreadable: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcomes:
    """Users of one arm and one stretch of constant split, each by their first labelled prediction."""

    deployment: str
    period: int
    """0 before the first split that was asked for, then one more at each."""
    users: int
    """Those whose prediction and label are both numbers, or both text."""
    wrong: int
    """Those of them whose prediction differs from the label."""
    measured: int
    """Users whose prediction and label are numbers that can be added up; total and squares are over these."""
    unmeasured: int
    """Users with numbers of which one cannot be: not finite, or beyond :data:`~pipelines.analysis.checks.LARGEST`."""
    total: float
    """Sum of absolute errors."""
    squares: float
    """Sum of their squares."""
    has_fractions: bool
    """Whether a prediction or a label is no whole number."""
    kinds: int
    """Distinct predictions or labels, about."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """Predictions of one deployment in one stretch of time and one segment, beside their matured labels."""

    deployment: str
    began: float
    """Seconds since the epoch."""
    segment: str | None
    predicted: int
    mature: int
    labelled: int
    """Mature rows with a label in time; what follows is over these."""
    wrong: int
    """Prediction and label differ."""
    unlike: int
    """They differ since one is a number and the other is none."""
    wrong_half: int
    """They lie on two sides of one half."""
    measured: int
    """Rows whose prediction and label are numbers that can be added up; what follows is over these."""
    absolute: float | None
    root_mean_square: float | None
    bias: float | None
    """Mean of prediction less label."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bin:
    """Rows whose prediction lies in one tenth of 0 to 1: a point of the calibration curve."""

    deployment: str
    began: float
    """Seconds since the epoch."""
    segment: str | None
    bin: float
    labelled: int
    predicted: float
    observed: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Kinds:
    """What predictions and labels look like, which says how they are scored."""

    labelled: int
    numbers: int
    """Prediction and label are both one."""
    texts: int
    """Neither is."""
    fractions: int
    labels_beyond_two: int
    predictions_beyond_unit: int
    labels: int
    """Distinct values, about."""
    predictions: int


@dataclass(frozen=True, slots=True, kw_only=True)
class UserLabels:
    """Labels of users, one by one or added up."""

    frame: "pd.DataFrame"
    """By user: deployment, period (null where none is known), unit; seen and arrived (first labelled prediction and
    first label, microseconds since the epoch); mean (of the labels), told (the label that arrived first), before (mean
    of the labels of before, that of all users for whom nothing is known, null where nobody has a past or nobody asks).
    Added up: deployment, period, users; mean, squares, least and largest; the same of the past by ``past_`` before the
    name; products. Squares and products are about the means."""
    users: int
    is_by_user: bool
    unreadable: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Rows as a frame."""

    frame: "pd.DataFrame"
    unreadable: tuple[str, ...] = ()
