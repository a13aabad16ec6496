"""The labels themselves as metrics of users: money, clicks, returns; whatever is told later by request id.

Two of them: ``label``, a user's mean label as far as it is known, and ``first_label``, the one that arrived first. The
second never changes once it is there, and users come in the order in which theirs arrived: what an exact comparison
that may be looked at at any time needs.

>>> import pandas as pd
>>> rows = pd.DataFrame({"deployment": ["a", "a", "b"], "unit": "u", "time": [1, 2, 3], "label": [3.0, 5.0, 9.0]})
>>> found = label_metrics(rows.assign(arrived=[9, 8, 7]), "a")
>>> found["label"].sums.tolist(), found["first_label"].sums.tolist()
([4.0], [5.0])
"""

from typing import TYPE_CHECKING, Final

import numpy as np

from pipelines.analysis.arms import Metric, Missing, metric

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from pipelines.analysis.checks import Floats
    from pipelines.monitoring.exposure import Period

LABEL: Final = "label"
FIRST_LABEL: Final = "first_label"


def label_metrics(
    labelled: "pd.DataFrame", arm: str, found: "Sequence[Period]" = (), *, past: "pd.Series[float] | None" = None
) -> dict[str, Metric | Missing]:
    """The metrics of each user of ``arm``: those whom it was the first to predict for.

    Args:
        labelled: columns ``deployment, unit, time, label, arrived``; one row per labelled prediction of the assigned
            deployment.
        arm: deployment.
        found: periods of constant split, oldest first; a user belongs to that of their first labelled prediction.
        past: each user's own mean label before the experiment, by unit; who has none counts as the average one.
    """
    numbers = labelled.dropna(subset=["label"]).sort_values("time")
    first = numbers.groupby("unit", sort=False)["deployment"].transform("first")
    mine = numbers[(numbers["deployment"] == arm) & (first == arm)]
    if not len(mine):
        nothing = Missing(reason="no labels that are numbers have arrived")
        return {LABEL: nothing, FIRST_LABEL: nothing}
    seen = mine.groupby("unit", sort=False)["time"].first()
    means = mine.groupby("unit", sort=False)["label"].mean()
    told = mine.sort_values("arrived", kind="stable").groupby("unit", sort=False)["label"].first()
    before = None if past is None or past.empty else past.reindex(means.index).fillna(past.mean()).to_numpy("float64")
    return {
        LABEL: metric(means.to_numpy("float64"), period=_periods(seen, found), before=before),
        FIRST_LABEL: metric(told.to_numpy("float64"), period=_periods(seen.reindex(told.index), found)),
    }


def own_past(labelled: "pd.DataFrame") -> "pd.Series[float]":
    """Each user's mean label, by unit, whoever predicted."""
    return labelled.dropna(subset=["label"]).groupby("unit")["label"].mean().astype("float64")


def _periods(seen: "pd.Series[pd.Timestamp]", found: "Sequence[Period]") -> "Floats | None":
    """Index of the period in which each moment lies; what is before the first belongs to it."""
    if not found:
        return None
    began = [period.began for period in found[1:]]
    return np.asarray(sum((seen >= moment).to_numpy(dtype=np.int64) for moment in began) + np.zeros(len(seen)))
