"""Ground truth that has matured: each user's first labelled prediction, wrong or by how much.

One prediction a user, so that the outcomes are independent and final, as the exact tests of ``analysis`` ask. All users
are counted, in DuckDB, so that the tests see one stream that only grows. Labels and predictions that are whole numbers
or text are classes; anything else is a number with an absolute error. A prediction that scores each class says the best
of them, where the label is a number.
"""

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal

from pipelines.analysis.checks import LARGEST
from pipelines.monitoring.event_queries import SCORES, WHOLE
from pipelines.monitoring.event_summaries import Outcomes
from pipelines.monitoring.exposure import Period
from pipelines.promotion.drift.evidence import Performance, UserSums, UserTally

if TYPE_CHECKING:
    import pandas as pd

Task = Literal["classification", "regression"]

MOST_CLASSES: Final = 50
"""Whole numbers with more distinct values than this are counts, not classes."""


def task_of(labelled: "pd.DataFrame") -> Task:
    """Whether these labels and predictions are classes or numbers.

    >>> import pandas as pd
    >>> rows = pd.DataFrame({"prediction": [0.0, 1.0], "label": [1.0, 1.0], "prediction_text": None})
    >>> task_of(rows), task_of(rows.assign(prediction=[0.25, 1.0]))
    ('classification', 'regression')
    """
    for numbers in (_said(labelled), labelled["label"]):
        values = numbers[numbers.abs() <= LARGEST]
        if len(values) and ((values % 1 != 0).any() or values.nunique() > MOST_CLASSES):
            return "regression"
    return "classification"


def performances(
    outcomes: Sequence[Outcomes], *, arms: Sequence[str], found: Sequence[Period], coverage: Mapping[str, float]
) -> dict[str, Performance]:
    """Performance of each arm that has labels.

    Args:
        outcomes: users by arm and period, each by their first labelled prediction: what ``EventStore.outcomes`` says
            when it is asked with the begins of ``found``.
        arms: deployments that take part.
        found: periods of constant split; empty: the split is not known, and independence is assumed.
        coverage: share of each arm's predictions that have a label.
    """
    are_numbers = by_number(outcomes)
    wrong = {arm: None if are_numbers else wrong_of(outcomes, arm, found) for arm in arms}
    error = {arm: _sums(outcomes, arm) if are_numbers else None for arm in arms}
    every = {
        arm: Performance(wrong=wrong[arm], error=error[arm], coverage=round(coverage.get(arm, 0.0), 6)) for arm in arms
    }
    return {arm: each for arm, each in every.items() if each.users}


def by_number(outcomes: Sequence[Outcomes]) -> bool:
    """Whether these labels are numbers with an error, and no classes."""
    return any(row.has_fractions or row.kinds > MOST_CLASSES for row in outcomes)


def wrong_of(outcomes: Sequence[Outcomes], arm: str, found: Sequence[Period]) -> UserTally:
    """Users of ``arm`` whose first labelled prediction was wrong, by period; those of no period are left out."""
    mine = {row.period: row for row in outcomes if row.deployment == arm}
    places = range(1, len(found) + 1) if found else range(1)
    return UserTally(
        exposed=tuple(mine[place].users if place in mine else 0 for place in places),
        events=tuple(mine[place].wrong if place in mine else 0 for place in places),
        shares=tuple(period.shares[arm] for period in found),
    )


def _sums(outcomes: Sequence[Outcomes], arm: str) -> UserSums:
    mine = [row for row in outcomes if row.deployment == arm]
    return UserSums(
        users=sum(row.measured for row in mine),
        total=sum(row.total for row in mine),
        squares=sum(row.squares for row in mine),
    )


def scores(rows: "pd.DataFrame", task: Task) -> "pd.Series[float]":
    """1 for a wrong class and 0 for a right one, or the absolute error; missing where the two cannot be compared.

    Nor can numbers that cannot be added up: those beyond :data:`~pipelines.analysis.checks.LARGEST`.
    """
    number, label = _said(rows), rows["label"]
    numbers = number.notna() & label.notna()
    if task == "regression":
        adds_up = (number.abs() <= LARGEST) & (label.abs() <= LARGEST)
        return (number.where(adds_up) - label.where(adds_up)).abs()
    texts = ~numbers & rows["prediction_text"].notna() & rows["label_text"].notna()
    said, truth = (_plain(rows[name]) for name in ("prediction_text", "label_text"))
    wrong = (number != label).where(numbers, said != truth)
    return wrong.astype("float64").where(numbers | texts)


def _said(rows: "pd.DataFrame") -> "pd.Series[float]":
    """Predictions as numbers, of those that score each class the best: what :func:`.event_queries.best` says."""
    scored = rows["prediction_text"].where(rows["label"].notna())
    classes = scored.map(_best, na_action="ignore")
    return rows["prediction"].fillna(classes.astype("float64"))


def _best(text: str) -> float:
    try:
        scores = json.loads(text) if re.fullmatch(SCORES, text) else []
    except ValueError:
        scores = []
    return float(scores.index(max(scores))) if scores else math.nan


def _plain(texts: "pd.Series[Any]") -> "pd.Series[Any]":
    """What :func:`.event_queries.plain` says of texts."""
    return texts.map(
        lambda text: re.sub(WHOLE, r"\1\2", text) if text.startswith(("[", "{")) else text, na_action="ignore"
    ).astype("object")
