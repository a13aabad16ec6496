"""Which reports are drawn of one drift decision: all arms beside the reference, and each canary beside stable."""

from pathlib import Path
from typing import TYPE_CHECKING, Final

from pipelines.monitoring.columns import Columns, aligned, kinds_of
from pipelines.monitoring.gather import Gathered
from pipelines.monitoring.preface import preface
from pipelines.monitoring.report import Comparison, render
from pipelines.promotion.drift.record import DriftRecord

if TYPE_CHECKING:
    import pandas as pd

MAIN: Final = "report"
PREDICTION: Final = "prediction"


def draw(gathered: Gathered, decided: DriftRecord, folder: Path) -> tuple[Path, ...]:
    """Draw every comparison that has rows; the paths of the HTML and JSON files.

    Raises:
        ModelserveError: Evidently is not installed, or fails.
    """
    evidence = decided.evidence
    tags = {
        "endpoint": evidence.endpoint,
        "stage": evidence.stage,
        "commit": evidence.commit,
        "verdict": decided.decision.verdict,
        "reference": evidence.reference.digest if evidence.reference else "",
    }
    return tuple(
        path
        for comparison in _comparisons(gathered, decided)
        if len(comparison.current) and len(comparison.baseline) and comparison.columns.compared
        for path in render(comparison, folder, tags=tags, preface=preface(decided, comparison))
    )


def _comparisons(gathered: Gathered, decided: DriftRecord) -> list[Comparison]:
    import pandas as pd  # noqa: PLC0415  heavy

    threshold = decided.policy.enter_effect
    stable = decided.evidence.stable.deployment
    found = []
    if gathered.reference is not None:
        everybody = pd.concat(list(gathered.frames.values()), ignore_index=True)
        found.append(
            Comparison(
                name=MAIN,
                current=everybody,
                baseline=gathered.reference,
                columns=gathered.columns,
                threshold=threshold,
                current_is="the inputs of all versions in the window",
                baseline_is="the model's training sample",
            )
        )
    for canary in (arm.deployment for arm in decided.evidence.canaries):
        name = MAIN if gathered.reference is None and not found else f"{canary}-beside-{stable}"
        columns = _with_prediction(gathered, stable)
        ours, theirs = (_answered(gathered, arm, columns) for arm in (canary, stable))
        found.append(
            Comparison(
                name=name,
                current=ours,
                baseline=theirs,
                columns=columns,
                threshold=threshold,
                current_is=f"the users of {canary}",
                baseline_is=f"the users of {stable} at the same time",
            )
        )
    return found


def _with_prediction(gathered: Gathered, stable: str) -> Columns:
    """The compared columns and, where it is none of them, the prediction."""
    own = kinds_of(gathered.predictions[stable]) if len(gathered.predictions[stable]) else gathered.columns
    if PREDICTION in gathered.columns.compared:
        return gathered.columns
    return Columns(
        numbers=(*gathered.columns.numbers, *(n for n in own.numbers if n == PREDICTION)),
        categories=(*gathered.columns.categories, *(n for n in own.categories if n == PREDICTION)),
    )


def _answered(gathered: Gathered, arm: str, columns: Columns) -> "pd.DataFrame":
    frame, answers = gathered.frames[arm], gathered.predictions[arm]
    return aligned(frame.assign(**{n: answers[n] for n in answers.columns if n not in frame.columns}), columns)
