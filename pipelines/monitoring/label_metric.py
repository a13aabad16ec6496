"""The labels themselves as a metric of users: money, clicks, returns; whatever is told later by request id.

>>> import pandas as pd
>>> rows = pd.DataFrame({"deployment": ["a", "a", "b"], "unit": "u", "time": [1, 2, 3], "label": [3.0, 5.0, 9.0]})
>>> label_metric(rows, "a").sums.tolist()
[4.0]
"""

from typing import TYPE_CHECKING, Final

from pipelines.analysis.arms import Metric, Missing, metric

if TYPE_CHECKING:
    import pandas as pd

LABEL: Final = "label"
"""Name of the metric in plans."""


def label_metric(labelled: "pd.DataFrame", arm: str) -> Metric | Missing:
    """The mean label of each user of ``arm``: those whom it was the first to predict for.

    Args:
        labelled: columns ``deployment, unit, time, label``; one row per labelled prediction of the assigned deployment.
        arm: deployment.
    """
    numbers = labelled.dropna(subset=["label"]).sort_values("time")
    first = numbers.groupby("unit", sort=False)["deployment"].transform("first")
    mine = numbers[(numbers["deployment"] == arm) & (first == arm)]
    if not len(mine):
        return Missing(reason="no labels that are numbers have arrived")
    return metric(mine.groupby("unit", sort=True)["label"].mean().to_numpy(dtype="float64"))
