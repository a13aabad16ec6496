"""The logged inputs of one arm: one row per user, with what was predicted for it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Protocol

from pipelines.monitoring.event_labels import LabelCut, UserChoice
from pipelines.monitoring.event_summaries import (
    ArmLabels,
    Exposure,
    LatencySample,
    Oddities,
    Outcomes,
    Rows,
    ShadowSample,
    UserLabels,
    Window,
)
from pipelines.monitoring.events import FeatureChoice

if TYPE_CHECKING:
    import pandas as pd

MAX_USERS: Final = 20_000
"""Users of an arm whose inputs are compared; beyond them a sample that is the same on every tick."""

CONTEXT: Final = ("deployment", "time", "status", "prediction", "prediction_text")
"""Columns that the event store puts before the features."""


class EventLog(Protocol):
    """What is asked of the event store; :class:`pipelines.monitoring.events.EventStore` answers."""

    def exposure(self, window: Window) -> Exposure:
        """Users and requests of every arm."""
        ...

    def latencies(self, window: Window, *, arms: Sequence[str], limit: int = ...) -> LatencySample:
        """One latency per user of ``arms``."""
        ...

    def features(self, window: Window, choice: FeatureChoice) -> Rows:
        """Logged inputs after the columns of :data:`CONTEXT`."""
        ...

    def newest_since(self, window: Window, count: int) -> datetime | None:
        """When the oldest of the newest ``count`` predictions was made."""
        ...

    def shadowed(self, window: Window, *, shadow: str, tolerance: float, limit: int = ...) -> ShadowSample:
        """One pair of predictions per user."""
        ...

    def coverage(
        self, window: Window, cut: LabelCut, splits: Sequence[datetime] = ...
    ) -> Sequence[Mapping[str, ArmLabels]]:
        """Coverage of every arm, before the first of ``splits`` and after each."""
        ...

    def oddities(self, window: Window, cut: LabelCut) -> Oddities:
        """What is odd about the labels."""
        ...

    def outcomes(
        self, window: Window, cut: LabelCut, *, arms: Sequence[str], splits: Sequence[datetime]
    ) -> Sequence[Outcomes]:
        """Users of each arm by their first labelled prediction, before the first of ``splits`` and after each."""
        ...

    def user_labels(self, window: Window, cut: LabelCut, choice: UserChoice) -> UserLabels:
        """Every user of the chosen arms by their labels that are numbers."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Inputs and predictions of one arm, one row per user, as logged."""

    arm: str
    features: "pd.DataFrame"
    times: "pd.Series[Any]"
    """When each row was predicted."""
    predictions: "pd.DataFrame"
    """One column ``prediction``: numbers where the log has numbers, else text."""

    @property
    def users(self) -> int:
        """Distinct users in here."""
        return len(self.features)


def sample_of(log: EventLog, window: Window, arm: str) -> tuple[Sample, tuple[str, ...]]:
    """The first request of each user of ``arm``, and the files that could not be read."""
    choice = FeatureChoice(deployment=arm, limit=MAX_USERS, order="sample", is_one_per_user=True)
    rows = log.features(window, choice)
    context = rows.frame.iloc[:, : len(CONTEXT)]
    features = rows.frame.iloc[:, len(CONTEXT) :]  # by place, since a feature may be called "status"
    is_whole = context["status"] == "success"
    context, features = (part[is_whole].reset_index(drop=True) for part in (context, features))
    features = features.rename(columns=str)
    sample = Sample(arm=arm, features=features, times=context["time"], predictions=_predictions(context))
    return sample, rows.unreadable


def _predictions(rows: "pd.DataFrame") -> "pd.DataFrame":
    import pandas as pd  # noqa: PLC0415  heavy

    has_numbers = rows["prediction"].notna().any()
    return pd.DataFrame({"prediction": rows["prediction"] if has_numbers else rows["prediction_text"]})
