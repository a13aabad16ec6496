"""What the drift and label jobs know, as samples that the agent exposes: computed once, over the whole log."""

from collections.abc import Iterable
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
"""Values of the label ``time_window``."""
REACH: Final = timedelta(days=90)
"""How far back labelled predictions are counted; those that fall out at the far end look like a counter's restart."""
_ONE_PIECE: Final = timedelta(days=36_500)


def of_drift(record: "DriftRecord", *, now: datetime) -> Evidence:
    """The effect of every column of every arm against the training sample, the strongest where there are many."""
    seen = record.evidence
    against = sorted((s for s in seen.shifts if s.against == "reference"), key=lambda s: -s.effect)
    scores = {(shift.arm, shift.feature, shift.method): shift.effect for shift in against[:MAX_SAMPLES]}
    samples = {"feature_drift_score": list(scores.items())}
    return Evidence(source="drift", stage=seen.stage, endpoint=seen.endpoint, time=now, samples=samples)


def of_labels(store: "EventStore", *, stage: str, endpoint: str, now: datetime) -> Evidence:
    """Accuracy, or the error of numbers, by window, and how many labelled predictions were right and wrong.

    Raises:
        EventStoreError: the store cannot be read.
    """

    def window(span: timedelta) -> Window:
        end = now + timedelta(seconds=1)  # the end is not included
        return Window(stage=stage, endpoint=endpoint, begin=now - span, end=end, population="all")

    cut = LabelCut(as_of=now + timedelta(seconds=1))
    task = task_of(store.kinds(window(REACH), cut))

    def rows(span: timedelta) -> tuple[Accuracy, ...]:
        # Stretches begin at whole multiples since 1970: one of a century holds any window whole.
        return accuracies(store.scored(window(span), cut, ScoreChoice(every=_ONE_PIECE)), task)

    by_window = {name: rows(span) for name, span in WINDOWS.items()}
    samples = {**_figures(by_window, task), "model_labelled_predictions_total": _counts(rows(REACH))}
    return Evidence(source="labels", stage=stage, endpoint=endpoint, time=now, samples=samples)


def _figures(by_window: dict[str, tuple[Accuracy, ...]], task: Task) -> "dict[str, list[Sample]]":
    each = [(row.deployment, name, row) for name, rows in by_window.items() for row in rows]
    if task == "numbers":
        errors = [((who, name), row.absolute_error) for who, name, row in each]
        return {"model_absolute_error": [(labels, value) for labels, value in errors if value is not None]}
    shares = [((who, name), row.accuracy) for who, name, row in each]
    return {"model_accuracy": [(labels, value) for labels, value in shares if value is not None]}


def _counts(rows: Iterable[Accuracy]) -> "list[Sample]":
    """Both outcomes of every deployment with predictions, from the start; none where nothing is right or wrong."""
    counted = [(row.deployment, row.correct, row.labelled) for row in rows if row.correct is not None]
    return [
        ((who, outcome), float(number))
        for who, correct, labelled in counted
        for outcome, number in (("correct", correct), ("wrong", labelled - correct))
    ]
