"""How often, or by how much, each deployment was wrong: by stretch of time and segment, with calibration.

The figures are over *rows* (what a dashboard counts); decisions count users (:mod:`.performance`). How predictions are
scored follows from what they and their labels look like:

- ``classes``: whole numbers of few kinds, or text: the share that equals its label;
- ``probabilities``: numbers from 0 to 1 beside labels of 0 and 1: the share on the right side of one half, and how
  well a prediction of p comes true in p of the cases (expected calibration error, Brier score);
- ``numbers``: anything else: mean absolute error, root mean square error, bias.

A number and a text are never the same: such rows are wrong where there is a right and a wrong, have no error, and are
counted (``unlike``).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from pipelines.monitoring.event_labels import LabelCut, ScoreChoice
from pipelines.monitoring.event_summaries import Bin, Kinds, Labels, Scored, Window
from pipelines.monitoring.performance import MOST_CLASSES

if TYPE_CHECKING:
    from pipelines.monitoring.events import EventStore

Task = Literal["classes", "probabilities", "numbers"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracy:
    """One deployment in one stretch of time and one segment. A figure that its task lacks, or without labels: None."""

    deployment: str
    began: datetime
    segment: str
    """Empty where none was asked for."""
    predicted: int
    mature: int
    labelled: int
    unlike: int = 0
    """Labelled rows of which the prediction or the label is a number and the other is none."""
    correct: int | None = None
    measured: int = 0
    """Labelled rows whose error can be added up; the errors below are theirs."""
    absolute_error: float | None = None
    root_mean_square: float | None = None
    """For probabilities its square is the Brier score."""
    bias: float | None = None
    """Mean of prediction less label."""

    @property
    def coverage(self) -> float | None:
        """Share of the mature rows that have a label."""
        return self.labelled / self.mature if self.mature else None

    @property
    def accuracy(self) -> float | None:
        """Share of the labelled rows that were right."""
        return None if self.correct is None or not self.labelled else self.correct / self.labelled


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """How far predicted probabilities are from what came true, for one deployment, stretch of time and segment."""

    deployment: str
    began: datetime
    segment: str
    labelled: int
    error: float
    """Expected calibration error over ten bins: mean distance of predicted and observed share, weighted by rows."""
    curve: tuple[tuple[float, float, int], ...]
    """Mean prediction, observed share and rows of each bin that has rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What the store says about the labels of one window."""

    task: Task
    labels: Labels
    rows: tuple[Accuracy, ...]
    """By deployment, time and segment."""
    calibrations: tuple[Calibration, ...]
    """Of probabilities alone."""


def look(store: "EventStore", window: Window, cut: LabelCut, choice: ScoreChoice) -> Findings:
    """The accuracy of every deployment in ``window``.

    Raises:
        EventStoreError: the store cannot be read, or the segment is no logged feature.
    """
    task = task_of(store.kinds(window, cut))
    return Findings(
        task=task,
        labels=store.labels(window, cut),
        rows=accuracies(store.scored(window, cut, choice), task),
        calibrations=calibrations(store.bins(window, cut, choice)) if task == "probabilities" else (),
    )


def task_of(kinds: Kinds) -> Task:
    """How these predictions are scored.

    >>> task_of(Kinds(labelled=9, numbers=9, texts=0, fractions=9, labels_beyond_two=0, predictions_beyond_unit=0,
    ...               labels=2, predictions=9))
    'probabilities'
    """
    if kinds.texts >= kinds.numbers:  # a few labels of the wrong kind do not change what the others are
        return "classes"
    if kinds.fractions:
        return "numbers" if kinds.labels_beyond_two or kinds.predictions_beyond_unit else "probabilities"
    return "classes" if max(kinds.labels, kinds.predictions) <= MOST_CLASSES else "numbers"


def accuracies(scored: Sequence[Scored], task: Task) -> tuple[Accuracy, ...]:
    """The figures that fit ``task``."""
    return tuple(_accuracy(row, task) for row in scored)


def calibrations(bins: Sequence[Bin]) -> tuple[Calibration, ...]:
    """One calibration for each deployment, stretch of time and segment, in the order in which they come.

    >>> half = Bin(deployment="churn", began=0.0, segment=None, bin=5.0, labelled=10, predicted=0.5, observed=0.7)
    >>> round(calibrations([half])[0].error, 2)
    0.2
    """
    groups: dict[tuple[str, float, str], list[Bin]] = {}
    for each in bins:
        groups.setdefault((each.deployment, each.began, each.segment or ""), []).append(each)
    return tuple(_calibration(*key, group) for key, group in groups.items())


def _calibration(deployment: str, began: float, segment: str, group: Sequence[Bin]) -> Calibration:
    labelled = sum(each.labelled for each in group)
    error = sum(each.labelled * abs(each.predicted - each.observed) for each in group) / labelled
    curve = tuple((each.predicted, each.observed, each.labelled) for each in group)
    return Calibration(
        deployment=deployment,
        began=datetime.fromtimestamp(began, tz=UTC),
        segment=segment,
        labelled=labelled,
        error=error,
        curve=curve,
    )


def _accuracy(row: Scored, task: Task) -> Accuracy:
    wrong = row.wrong if task == "classes" else row.wrong_half
    has_errors = task != "classes" and row.labelled > 0
    return Accuracy(
        deployment=row.deployment,
        began=datetime.fromtimestamp(row.began, tz=UTC),
        segment=row.segment or "",
        predicted=row.predicted,
        mature=row.mature,
        labelled=row.labelled,
        unlike=row.unlike,
        correct=row.labelled - wrong if task != "numbers" else None,
        measured=row.measured if has_errors else 0,
        absolute_error=row.absolute if has_errors else None,
        root_mean_square=row.root_mean_square if has_errors else None,
        bias=row.bias if has_errors else None,
    )
