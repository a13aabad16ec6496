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
from pipelines.analysis.checks import LARGEST
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
        spans = mine[["least", "largest", "past_least", "past_largest"]]
        return {LABEL: _beyond(spans) or _moments(mine), FIRST_LABEL: many}
    seen = mine.iloc[np.lexsort((mine["unit"], mine["seen"]))]
    told = mine.iloc[np.lexsort((mine["unit"], mine["seen"], mine["arrived"]))]
    return {
        LABEL: _beyond(mine[["mean", "before"]])
        or metric(seen["mean"].to_numpy("float64"), period=_known(seen["period"]), before=_known(seen["before"])),
        FIRST_LABEL: _beyond(mine[["told"]]) or metric(told["told"].to_numpy("float64"), period=_known(told["period"])),
    }


def _beyond(numbers: "pd.DataFrame") -> Missing | None:
    """Where one is too large to be squared and added up, or its own sum was; what nobody asks for is null."""
    there = numbers.dropna(axis="columns", how="all").to_numpy("float64")
    odd = there[~(np.abs(there) <= LARGEST)]
    if not odd.size:
        return None
    what = f"a user's label or mean of labels is {odd[0]:g}, beyond {LARGEST:g}"
    return Missing(reason=f"{what}; it came before such were refused: name another metric")


def _moments(sums: "pd.DataFrame") -> UserMoments:
    return UserMoments(
        period=sums["period"].fillna(0).to_numpy("int64"),
        users=sums["users"].to_numpy("int64"),
        mean=sums["mean"].to_numpy("float64"),
        squares=sums["squares"].to_numpy("float64"),
        past=None if sums["past_mean"].isna().all() else _past(sums),
    )


def _past(sums: "pd.DataFrame") -> PastMoments:
    mean, squares, products, least, largest = (
        sums[name].to_numpy("float64")
        for name in ("past_mean", "past_squares", "products", "past_least", "past_largest")
    )
    return PastMoments(mean=mean, squares=squares, products=products, least=least, largest=largest)


def _known(column: "pd.Series[Any]") -> "Floats | None":
    """The whole column is there, or none of it."""
    return None if column.isna().all() else column.to_numpy("float64")
