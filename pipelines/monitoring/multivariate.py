"""Can a classifier tell two samples apart? Sees what no single column shows: a correlation that broke.

Rabanser, Günnemann, Lipton (NeurIPS 2019, arXiv 1810.11953): train on "which sample is this row from", out of
fold; an AUC of 0.5 says that the rows are exchangeable. The p-value is Mann-Whitney's of the out-of-fold scores,
so it assumes independent rows: callers give one row per user.

Which rows share a fold is luck, and with 100 users half of the variance of a calm AUC (a standard deviation of 0.04
where Mann-Whitney's formula says 0.03). So an AUC that chance seldom makes is asked again in other folds, and the mean
of all counts, whose standard deviation the formula does tell.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import pandas as pd

MAX_ROWS: Final = 2000
"""Rows of each sample that are used: the AUC is stable by then, and a tick stays within seconds."""
FOLDS: Final = 3
SEED: Final = 20260101
ASKED_AGAIN_P: Final = 0.01
"""p-value from which the rows are dealt into other folds too: seldom enough to cost a calm tick nothing."""
DEALS: Final = 5
"""Times that they are dealt then, in all."""

LARGEST_OF_TREES: Final = 3e38


@dataclass(frozen=True, slots=True, kw_only=True)
class Separation:
    """How well two samples are told apart."""

    auc: float
    p: float
    rows: int


def separation(current: "pd.DataFrame", baseline: "pd.DataFrame", *, deals: int = DEALS) -> Separation:
    """Out-of-fold AUC of a random forest between two aligned frames (see :mod:`.columns`), with its p-value.

    The mean of ``deals`` deals into folds where the first says that the frames differ.

    >>> import numpy as np, pandas as pd
    >>> draw = np.random.default_rng(0).normal
    >>> a, b = (pd.DataFrame({"x": draw(size=300), "y": draw(size=300)}) for _ in range(2))
    >>> separation(a, b).auc < 0.6 < separation(a.assign(x=a["x"] + 2), b).auc
    True
    """
    import numpy as np  # noqa: PLC0415  heavy
    import pandas as pd  # noqa: PLC0415  heavy

    ours, theirs = _sampled(current), _sampled(baseline)
    rows = _encoded(pd.concat([ours, theirs], ignore_index=True))
    origin = np.repeat([1, 0], [len(ours), len(theirs)])
    first = _dealt(rows, origin, seed=SEED)
    if first.p > ASKED_AGAIN_P:
        return first
    return _mean([first, *(_dealt(rows, origin, seed=SEED + deal) for deal in range(1, deals))])


def _dealt(rows: "pd.DataFrame", origin: Any, *, seed: int) -> Separation:  # noqa: ANN401  numpy, imported late
    """What one deal into folds says."""
    from scipy.stats import mannwhitneyu  # noqa: PLC0415  heavy

    scores = _out_of_fold(rows, origin, seed=seed)
    ours = origin == 1
    u, p = mannwhitneyu(scores[ours], scores[~ours], alternative="greater")
    return Separation(auc=float(u / (ours.sum() * (~ours).sum())), p=float(p), rows=len(rows))


def _mean(deals: "list[Separation]") -> Separation:
    """The mean AUC, and the p-value of the mean of the normal deviates."""
    import numpy as np  # noqa: PLC0415  heavy
    from scipy.stats import norm  # noqa: PLC0415  heavy

    p = norm.sf(np.mean(norm.isf([deal.p for deal in deals])))
    return Separation(auc=float(np.mean([deal.auc for deal in deals])), p=float(p), rows=deals[0].rows)


def _sampled(frame: "pd.DataFrame") -> "pd.DataFrame":
    return frame.sample(n=MAX_ROWS, random_state=SEED) if len(frame) > MAX_ROWS else frame


def _encoded(frame: "pd.DataFrame") -> "pd.DataFrame":
    """Categories as codes in the order of their text; the trees need no more, and NaN stays NaN.

    They keep numbers in 32 bits: larger ones become the largest of those.
    """
    codes = {name: _codes(frame[name]) for name in frame.columns if frame[name].dtype != "float64"}
    return frame.assign(**codes).clip(-LARGEST_OF_TREES, LARGEST_OF_TREES)


def _codes(texts: "pd.Series[Any]") -> "pd.Series[float]":
    return texts.astype("category").cat.codes.astype("float64").replace(-1.0, float("nan"))


def _out_of_fold(rows: "pd.DataFrame", origin: Any, *, seed: int) -> Any:  # noqa: ANN401  numpy, imported late
    from sklearn.ensemble import RandomForestClassifier  # noqa: PLC0415  heavy
    from sklearn.model_selection import StratifiedKFold, cross_val_predict  # noqa: PLC0415  heavy

    # A forest and not boosting: one thread, so a busy machine does not make it ten times slower.
    model = RandomForestClassifier(n_estimators=15, min_samples_leaf=20, n_jobs=1, random_state=seed)
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    return cross_val_predict(model, rows.to_numpy(), origin, cv=folds, method="predict_proba")[:, 1]
