"""The labels themselves as metrics of users: money, clicks, returns; whatever is told later by request id.

Two of them: ``label``, a user's mean label as far as it is known, and ``first_label``, the one that arrived first. The
second never changes once it is there, and users come in the order in which theirs arrived: what an exact comparison
that may be looked at at any time needs. All labels count: they are added up by user where they lie, in DuckDB.

>>> import pandas as pd
>>> people = pd.DataFrame({"deployment": ["a", "a", "b"], "unit": [1, 2, 3], "seen": [1, 2, 3], "arrived": [9, 8, 7]})
>>> found = label_metrics(people.assign(mean=[4.0, 5.0, 6.0], told=[3.0, 5.0, 6.0], before=None, period=0), "a")
>>> found["label"].sums.tolist(), found["first_label"].sums.tolist()
([4.0, 5.0], [5.0, 3.0])
"""

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pipelines.analysis.arms import Metric, Missing, metric

if TYPE_CHECKING:
    import pandas as pd

    from pipelines.analysis.checks import Floats

LABEL: Final = "label"
FIRST_LABEL: Final = "first_label"


def label_metrics(people: "pd.DataFrame", arm: str) -> dict[str, Metric | Missing]:
    """The metrics of each user of ``arm``: those whom it was the first to predict for.

    Args:
        people: what ``EventStore.user_labels`` says: one row per user.
        arm: deployment.
    """
    mine = people[people["deployment"] == arm]
    if not len(mine):
        return both(Missing(reason="no labels that are numbers have arrived"))
    seen = mine.iloc[np.lexsort((mine["unit"], mine["seen"]))]
    told = mine.iloc[np.lexsort((mine["unit"], mine["seen"], mine["arrived"]))]
    return {
        LABEL: metric(seen["mean"].to_numpy("float64"), period=_known(seen["period"]), before=_known(seen["before"])),
        FIRST_LABEL: metric(told["told"].to_numpy("float64"), period=_known(told["period"])),
    }


def _known(column: "pd.Series[Any]") -> "Floats | None":
    """The whole column is there, or none of it."""
    return None if column.isna().all() else column.to_numpy("float64")


def both(missing: Missing) -> dict[str, Metric | Missing]:
    """Neither metric can be told."""
    return {LABEL: missing, FIRST_LABEL: missing}
