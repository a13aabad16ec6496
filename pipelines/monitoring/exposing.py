"""What the drift and label jobs know, as samples that the agent exposes: computed once, over the whole log."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from mlflow_deploy_plugin.agent.metrics.evidence import MAX_SAMPLES, Evidence
from pipelines.monitoring.accuracy import Accuracy, Task, accuracies, task_of
from pipelines.monitoring.event_labels import LabelCut, ScoreChoice
from pipelines.monitoring.event_summaries import Window

if TYPE_CHECKING:
    from mlflow_deploy_plugin.agent.metrics.families import Sample
    from pipelines.monitoring.events import EventStore
    from pipelines.promotion.drift.record import DriftRecord

WINDOWS: Final = {"1d": timedelta(days=1), "7d": timedelta(days=7)}
"""Values of the label ``time_window``; they begin at whole hours."""
REACH: Final = timedelta(days=90)
"""How far back labelled predictions are counted; those that fall out at the far end look like a counter's restart."""
HOUR: Final = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Whose:
    """The endpoint that labels are looked up for."""

    stage: str
    endpoint: str
    deployments: Sequence[str] = ()
    """They have both outcomes from the start."""


def of_drift(record: "DriftRecord", *, now: datetime) -> Evidence:
    """Effect and q-value of every column against the training sample, by arm; the strongest where there are many."""
    seen = record.evidence
    against = sorted((s for s in seen.shifts if s.against == "reference"), key=lambda s: -s.effect)
    told = {(shift.arm, shift.feature, shift.method): shift for shift in against[:MAX_SAMPLES]}
    samples = {
        "feature_drift_score": [(labels, shift.effect) for labels, shift in told.items()],
        "feature_drift_q_value": [(labels, shift.q) for labels, shift in told.items()],
    }
    return Evidence(source="drift", stage=seen.stage, endpoint=seen.endpoint, time=now, samples=samples)


def of_labels(store: "EventStore", whose: Whose, *, now: datetime) -> Evidence:
    """Accuracy, or the error of numbers, by window, and how many labelled predictions were right and wrong.

    One pass over the predictions answers for all windows; none is made where there is no label.

    Raises:
        EventStoreError: the store cannot be read.
    """
    end = now + timedelta(seconds=1)  # the end is not included
    window = Window(stage=whose.stage, endpoint=whose.endpoint, begin=now - REACH, end=end, population="all")
    task, rows = _by_hour(store, window)
    counts = {(name, outcome): 0.0 for name in whose.deployments for outcome in ("correct", "wrong")} | _counts(rows)
    samples: dict[str, Sequence[Sample]] = {
        **_figures(rows, task, now),
        "model_labelled_predictions_total": list(counts.items()),
    }
    return Evidence(source="labels", stage=whose.stage, endpoint=whose.endpoint, time=now, samples=samples)


def _by_hour(store: "EventStore", window: Window) -> tuple[Task, Sequence[Accuracy]]:
    has_labels = store.scanner.steady(lambda: bool(store.scanner.scan("labels", window.span).columns))
    if not has_labels:
        return "classes", ()
    cut = LabelCut(as_of=window.end)
    task = task_of(store.kinds(window, cut))
    return task, accuracies(store.scored(window, cut, ScoreChoice(every=HOUR)), task)


def _figures(rows: Sequence[Accuracy], task: Task, now: datetime) -> "dict[str, list[Sample]]":
    """The mean over the rows of each window that are labelled, or whose error is a number, by deployment."""
    family = "model_absolute_error" if task == "numbers" else "model_accuracy"
    found: list[Sample] = []
    made_of: list[Sample] = []
    for name, span in WINDOWS.items():
        sums: dict[str, tuple[float, int]] = {}
        for row in rows:
            value, count = (row.absolute_error, row.measured) if task == "numbers" else (row.accuracy, row.labelled)
            if value is not None and row.began > now - span - HOUR:
                total, counted = sums.get(row.deployment, (0.0, 0))
                sums[row.deployment] = (total + value * count, counted + count)
        found += [((who, name), total / counted) for who, (total, counted) in sums.items()]
        made_of += [((who, name), float(counted)) for who, (_, counted) in sums.items()]
    return {family: found} if task == "numbers" else {family: found, "model_accuracy_labels": made_of}


def _counts(rows: Iterable[Accuracy]) -> dict[tuple[str, str], float]:
    """Right and wrong ones; none where nothing is right or wrong."""
    counts: dict[tuple[str, str], float] = {}
    for row in rows:
        if row.correct is None:
            continue
        for outcome, number in (("correct", row.correct), ("wrong", row.labelled - row.correct)):
            counts[row.deployment, outcome] = counts.get((row.deployment, outcome), 0.0) + number
    return counts
