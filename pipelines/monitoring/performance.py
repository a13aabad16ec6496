"""Ground truth that has matured: each user's first labelled prediction, wrong or by how much.

One prediction a user, so that the outcomes are independent and final, as the exact tests of ``analysis`` ask. Labels
and predictions that are whole numbers or text are classes; anything else is a number with an absolute error.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Final, Literal

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
    >>> task_of(pd.DataFrame({"prediction": [0.0, 1.0], "label": [1.0, 1.0]}))
    'classification'
    >>> task_of(pd.DataFrame({"prediction": [0.25, 1.0], "label": [1.0, 1.0]}))
    'regression'
    """
    for name in ("prediction", "label"):
        values = labelled[name].dropna()
        if len(values) and ((values % 1 != 0).any() or values.nunique() > MOST_CLASSES):
            return "regression"
    return "classification"


def performances(
    labelled: "pd.DataFrame", *, arms: Sequence[str], found: Sequence[Period], coverage: Mapping[str, float], task: Task
) -> dict[str, Performance]:
    """Performance of each arm that has labels.

    Args:
        labelled: columns ``deployment, unit, time, prediction, prediction_text, label, label_text``; one row per
            labelled prediction whose deployment was the assigned one.
        arms: deployments that take part.
        found: periods of constant split; empty: the split is not known, and independence is assumed.
        coverage: share of each arm's predictions that have a label.
        task: how to score.
    """
    firsts = labelled[labelled["deployment"].isin(list(arms))].sort_values(["time", "request_id", "row"])
    firsts = firsts.drop_duplicates("unit", keep="first")
    scored = firsts.assign(score=scores(firsts, task)).dropna(subset=["score"])
    present = [arm for arm in arms if (scored["deployment"] == arm).any()]
    return {
        arm: Performance(
            wrong=_tally(scored, arm, found) if task == "classification" else None,
            error=_sums(scored[scored["deployment"] == arm]) if task == "regression" else None,
            coverage=round(coverage.get(arm, 0.0), 6),
        )
        for arm in present
    }


def scores(rows: "pd.DataFrame", task: Task) -> "pd.Series[float]":
    """1 for a wrong class and 0 for a right one, or the absolute error; missing where the two cannot be compared."""
    numbers = rows["prediction"].notna() & rows["label"].notna()
    if task == "regression":
        return (rows["prediction"] - rows["label"]).abs().where(numbers)
    texts = ~numbers & rows["prediction_text"].notna() & rows["label_text"].notna()
    wrong = (rows["prediction"] != rows["label"]).where(numbers, rows["prediction_text"] != rows["label_text"])
    return wrong.astype("float64").where(numbers | texts)


def _tally(scored: "pd.DataFrame", arm: str, found: Sequence[Period]) -> UserTally:
    mine = scored[scored["deployment"] == arm]
    if not found:
        return UserTally(exposed=(len(mine),), events=(int(mine["score"].sum()),))
    spans = [_between(mine, period.began, nxt.began if nxt else None) for period, nxt in _pairs(found)]
    return UserTally(
        exposed=tuple(len(span) for span in spans),
        events=tuple(int(span["score"].sum()) for span in spans),
        shares=tuple(period.shares[arm] for period in found),
    )


def _pairs(found: Sequence[Period]) -> list[tuple[Period, Period | None]]:
    return list(zip(found, [*found[1:], None], strict=True))


def _between(rows: "pd.DataFrame", begin: datetime, end: datetime | None) -> "pd.DataFrame":
    inside = rows["time"] >= begin
    return rows[inside if end is None else inside & (rows["time"] < end)]


def _sums(rows: "pd.DataFrame") -> UserSums:
    scores = rows["score"]
    return UserSums(users=len(rows), total=float(scores.sum()), squares=float((scores**2).sum()))
