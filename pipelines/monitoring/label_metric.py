"""The labels themselves as metrics of users: money, clicks, returns; whatever is told later by request id.

Two of them: ``label``, a user's mean label as far as it is known, and ``first_label``, the one that arrived first. The
second never changes once it is there, and users come in the order in which theirs arrived: what an exact comparison
that may be looked at at any time needs. All labels count: they are added up by user where they lie, in DuckDB.

>>> import pandas as pd
>>> people = pd.DataFrame({"deployment": ["a", "a", "b"], "unit": [1, 2, 3], "seen": [1, 2, 3], "arrived": [9, 8, 7]})
>>> people = people.assign(mean=[4.0, 5.0, 6.0], told=[3.0, 5.0, 6.0], before=None, period=0)
>>> found = label_metrics(UserLabels(frame=people, users=3, is_by_user=True), "a")
>>> found["label"].sums.tolist(), found["first_label"].sums.tolist()
([4.0, 5.0], [5.0, 3.0])
"""

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pipelines.analysis.arms import Metric, Missing, PastMoments, UserMoments, metric
from pipelines.monitoring.event_summaries import UserLabels

if TYPE_CHECKING:
    import pandas as pd

    from pipelines.analysis.checks import Floats

LABEL: Final = "label"
FIRST_LABEL: Final = "first_label"


def label_metrics(labels: UserLabels, arm: str) -> dict[str, Metric | UserMoments | Missing]:
    """The metrics of each user of ``arm``: those whom it was the first to predict for.

    Users who are too many to be told one by one have sums alone, and so no order of their first labels.
    """
    mine = labels.frame[labels.frame["deployment"] == arm]
    if not len(mine):
        nothing = Missing(reason="no labels that are numbers have arrived")
        return {LABEL: nothing, FIRST_LABEL: nothing}
    if not labels.is_by_user:
        many = Missing(reason=f"labels of {labels.users:,} users have come, too many to be put in order")
        return {LABEL: _moments(mine), FIRST_LABEL: many}
    seen = mine.iloc[np.lexsort((mine["unit"], mine["seen"]))]
    told = mine.iloc[np.lexsort((mine["unit"], mine["seen"], mine["arrived"]))]
    return {
        LABEL: metric(seen["mean"].to_numpy("float64"), period=_known(seen["period"]), before=_known(seen["before"])),
        FIRST_LABEL: metric(told["told"].to_numpy("float64"), period=_known(told["period"])),
    }


def _moments(sums: "pd.DataFrame") -> UserMoments:
    mean = _known(sums["past_mean"])
    squares, products = (sums[name].to_numpy("float64") for name in ("past_squares", "products"))
    return UserMoments(
        period=sums["period"].fillna(0).to_numpy("int64"),
        users=sums["users"].to_numpy("int64"),
        mean=sums["mean"].to_numpy("float64"),
        squares=sums["squares"].to_numpy("float64"),
        past=None if mean is None else PastMoments(mean=mean, squares=squares, products=products),
    )


def _known(column: "pd.Series[Any]") -> "Floats | None":
    """The whole column is there, or none of it."""
    return None if column.isna().all() else column.to_numpy("float64")
