"""Anytime-valid interval for the rate of one Bernoulli stream: the beta-binomial mixture.

For x events among n users and any p, ``M_n(p) = B(a + x, b + n - x) / (B(a, b) p^x (1 - p)^(n - x))`` is a martingale
with mean one when the rate is p (Robbins 1970; Howard, Ramdas, McAuliffe & Sekhon, Ann. Stat. 2021, arXiv 1810.08240,
section 3). By Ville's inequality every p with ``M_n(p) >= 1/alpha`` may be excluded, at every look. Exact at every n,
also for rare events; the current counts suffice.

Assumes that users are independent and alike. Does not compare arms (see :mod:`.error_ratio`).
"""

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import betaln, xlog1py, xlogy

from pipelines.analysis.checks import Floats, level

PRIOR_EVENTS = 0.5
PRIOR_OTHERS = 0.5
HALVINGS = 60  # of the unit interval: beyond double precision


def log_martingale(events: ArrayLike, users: ArrayLike, rate: ArrayLike) -> Floats:
    """Log of the beta-binomial mixture martingale at ``rate``; broadcasts.

    >>> round(float(log_martingale(0, 59, 0.05)), 3)
    0.413
    """
    x, n, p = (np.asarray(value, dtype=np.float64) for value in (events, users, rate))
    mixture = betaln(PRIOR_EVENTS + x, PRIOR_OTHERS + n - x) - betaln(PRIOR_EVENTS, PRIOR_OTHERS)
    return np.asarray(mixture - xlogy(x, p) - xlog1py(n - x, -p))


def bounds(events: ArrayLike, users: ArrayLike, *, alpha: float) -> tuple[Floats, Floats]:
    """Confidence sequence of a rate: both ends cover together with probability 1 - alpha, at every look.

    Args:
        events: users with the event; any shape.
        users: users seen; same shape.
        alpha: chance that the rate is ever outside.

    Returns:
        Lower and upper ends, of the same shape; (0, 1) without users.

    Raises:
        ConfigError: alpha outside (0, 1).

    >>> low, high = bounds(30, 400, alpha=0.01)
    >>> bool(low < 30 / 400 < high)
    True
    """
    threshold = -np.log(level(alpha))
    x, n = (np.asarray(value, dtype=np.float64) for value in np.broadcast_arrays(events, users))
    centre = np.divide(x, n, out=np.full(x.shape, 0.5), where=n > 0)
    return _end(x, n, (np.zeros_like(centre), centre), threshold), _end(x, n, (np.ones_like(centre), centre), threshold)


def _end(x: Floats, n: Floats, bracket: tuple[Floats, Floats], threshold: float) -> Floats:
    """Bisect between a rate that may be excluded and the observed one, which never is."""
    outside, inside = bracket
    extreme = outside.copy()
    for _ in range(HALVINGS):
        middle = (outside + inside) / 2
        is_excluded = log_martingale(x, n, middle) >= threshold
        outside, inside = np.where(is_excluded, middle, outside), np.where(is_excluded, inside, middle)
    with np.errstate(divide="ignore"):
        is_reached = log_martingale(x, n, extreme) < threshold
    return np.asarray(np.where(is_reached, extreme, outside))
