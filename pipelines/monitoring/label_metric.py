"""The labels themselves as a metric of users: money, clicks, returns; whatever is told later by request id.

>>> import pandas as pd
>>> rows = pd.DataFrame({"deployment": ["a", "a", "b"], "unit": "u", "time": [1, 2, 3], "label": [3.0, 5.0, 9.0]})
>>> label_metric(rows, "a").sums.tolist()
[4.0]
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
"""Name of the metric in plans."""


def label_metric(labelled: "pd.DataFrame", arm: str, found: "Sequence[Period]" = ()) -> Metric | Missing:
    """The mean label of each user of ``arm``: those whom it was the first to predict for.

    Args:
        labelled: columns ``deployment, unit, time, label``; one row per labelled prediction of the assigned deployment.
        arm: deployment.
        found: periods of constant split, oldest first; a user belongs to that of their first labelled prediction.
    """
    numbers = labelled.dropna(subset=["label"]).sort_values("time")
    first = numbers.groupby("unit", sort=False)["deployment"].transform("first")
    mine = numbers[(numbers["deployment"] == arm) & (first == arm)]
    if not len(mine):
        return Missing(reason="no labels that are numbers have arrived")
    users = mine.groupby("unit", sort=True).agg(label=("label", "mean"), seen=("time", "first"))
    return metric(users["label"].to_numpy(dtype="float64"), period=_periods(users["seen"], found))


def _periods(seen: "pd.Series[pd.Timestamp]", found: "Sequence[Period]") -> "Floats | None":
    """Index of the period in which each moment lies; what is before the first belongs to it."""
    if not found:
        return None
    began = [period.began for period in found[1:]]
    return np.asarray(sum((seen >= moment).to_numpy(dtype=np.int64) for moment in began) + np.zeros(len(seen)))
