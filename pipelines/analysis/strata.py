"""Two arms compared within strata whose mix differs between them, such as stretches of time with other weights.

Pooled over strata, two arms that are alike in each can differ (Simpson's paradox): a canary that grew has its users
late. The test is for one look; nothing here is always-valid.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats


@dataclass(frozen=True, slots=True, kw_only=True)
class Stratum:
    """Units of both arms in one stratum, and those of them that have the property."""

    units: int
    hits: int
    control_units: int
    control_hits: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Standardized:
    """Shares of both arms over the same mix of strata, and the chance of such a difference where there is none."""

    share: float
    control_share: float
    p: float


def standardized(strata: Sequence[Stratum]) -> Standardized:
    """Both arms' shares weighted alike, and the test of Mantel and Haenszel (1959, J. Natl. Cancer Inst. 22:719).

    Strata weigh ``n m / (n + m)`` with n and m the arms' units (Cochran 1954, Biometrics 10:417), so that one which
    only one arm has counts for nothing. No continuity correction.

    >>> late = Stratum(units=400, hits=360, control_units=600, control_hits=540)
    >>> early = Stratum(units=100, hits=0, control_units=900, control_hits=0)
    >>> found = standardized([early, late])
    >>> round(found.share - found.control_share, 9), round(found.p, 9)
    (0.0, 1.0)
    """
    table = np.array([(s.units, s.hits, s.control_units, s.control_hits) for s in strata], dtype=np.float64)
    table = table.reshape(-1, 4)
    table = table[(table[:, 0] > 0) & (table[:, 2] > 0)]
    if not len(table):
        return Standardized(share=float("nan"), control_share=float("nan"), p=1.0)
    units, hits, control, control_hits = table.T
    both, all_hits = units + control, hits + control_hits
    weights = units * control / both
    expected = units * all_hits / both
    variance = units * control * all_hits * (both - all_hits) / (both**2 * np.maximum(both - 1, 1))
    statistic = (hits - expected).sum() ** 2 / variance.sum() if variance.sum() else 0.0
    return Standardized(
        share=float((weights * hits / units).sum() / weights.sum()),
        control_share=float((weights * control_hits / control).sum() / weights.sum()),
        p=float(stats.chi2.sf(statistic, 1)),
    )
