"""Means and ratios of metrics, valid at every look: asymptotic for any metric, exact for bounded ones.

- :func:`asymptotic_bounds`: Waudby-Smith, Arbour, Sinha, Kennedy & Ramdas, "Time-uniform central limit theory and
  asymptotic confidence sequences" (Ann. Stat. 2024, arXiv 2103.06476, theorem 2.2). Needs a burn-in, hundreds of users.
- :func:`betting_bounds`: hedged capital of Waudby-Smith & Ramdas, "Estimating means of bounded random variables by
  betting" (JRSS-B 2024, arXiv 2010.09686, theorem 3). Exact for values in [0, 1] of independent users.
- :func:`normal_mixture_bound`: Howard, Ramdas, McAuliffe & Sekhon (Ann. Stat. 2021, arXiv 1810.08240, eq. 14): for
  sub-Gaussian sums of known variance.

The unit is the user; the ratio of two sums over users gets its variance by the delta method (see :mod:`.metrics`).
"""

import math

import numpy as np
from numpy.typing import ArrayLike

from mlflow_deploy_plugin.errors import ConfigError
from pipelines.analysis.checks import Floats, level, positive, sample

TUNED_FOR_USERS = 5000
"""Users of both arms at which the asymptotic interval is narrowest."""

TRUNCATION = 0.5
"""Largest share of its capital that a bet may lose."""

HALVINGS = 40


def best_rho(v_opt: float, alpha: float) -> float:
    """Mixture precision at which the normal mixture is narrowest at intrinsic time ``v_opt``.

    ``rho = v / (2 ln(1/alpha) + ln(1 + 2 ln(1/alpha)))``: the closed form that confseq uses for the optimum in
    Lambert's W (arXiv 1810.08240, proposition 3).

    >>> round(best_rho(100, 0.05), 5)
    12.60056
    """
    return positive(v_opt, "v_opt") / _precision(alpha)


def normal_mixture_bound(variance: ArrayLike, *, rho: float, alpha: float) -> Floats:
    """Two-sided bound of a sum of centred sub-Gaussian values: ``sqrt((v + rho) ln((v + rho) / (rho alpha^2)))``.

    Args:
        variance: summed variance v of the values so far, any shape.
        rho: precision, from :func:`best_rho`.
        alpha: chance that the sum is ever beyond it.

    >>> round(float(normal_mixture_bound(100, rho=best_rho(100, 0.05), alpha=0.05)), 2)
    30.35
    """
    v = np.asarray(variance, dtype=np.float64) + positive(rho, "rho")
    return np.asarray(np.sqrt(v * np.log(v / (rho * level(alpha) ** 2))))


def asymptotic_half_width(
    variance: ArrayLike, users: ArrayLike, *, alpha: float, tuned_for: float = TUNED_FOR_USERS
) -> Floats:
    """Half width of the asymptotic confidence sequence of an estimate.

    ``sqrt(s2) sqrt(2 (N rho2 + 1) ln(sqrt(N rho2 + 1) / alpha) / (N^2 rho2))`` with ``s2 = N variance`` and
    ``rho2 = (-2 ln alpha + ln(1 - 2 ln alpha)) / tuned_for``.

    Args:
        variance: squared standard error of the estimate now, any shape.
        users: N, users behind it, same shape.
        alpha: chance, asymptotically, that the truth is ever outside.
        tuned_for: N at which the interval is narrowest.

    >>> round(float(asymptotic_half_width(1 / 5000, 5000, alpha=0.05) * 5000**0.5), 3)
    3.035
    """
    n = np.asarray(users, dtype=np.float64)
    rho2 = _precision(alpha) / positive(tuned_for, "tuned_for")
    grown = n * rho2 + 1
    return np.asarray(np.sqrt(np.asarray(variance) * n * 2 * grown * np.log(np.sqrt(grown) / alpha) / (n**2 * rho2)))


def betting_bounds(values: ArrayLike, *, alpha: float) -> tuple[float, float]:
    """Confidence sequence of the mean of values in [0, 1], by hedged betting: exact at every n.

    Bets that the mean is above m, and that it is below, with stakes that only know the past:
    ``lambda_t = sqrt(2 ln(2/alpha) / (v_{t-1} t ln(t + 1)))``, truncated at half of what can be lost. Where either
    capital reaches ``2/alpha``, m is excluded. The current capital suffices: nothing is intersected over time.

    Args:
        values: one per user, in the order of time, shape (users,).
        alpha: chance that the mean is ever outside.

    Returns:
        Lower and upper end; (0, 1) without values.

    Raises:
        ConfigError: values outside [0, 1] or NaN.

    >>> low, high = betting_bounds([0.0, 1.0] * 500, alpha=0.05)
    >>> 0.4 < low < 0.5 < high < 0.6
    True
    """
    x = sample(values, "values", minimum=0.0)
    if x.size and float(x.max()) > 1:
        raise ConfigError(f"values hold {float(x.max())}: must lie in [0, 1]; divide by the known bound first")
    stakes = _stakes(x, level(alpha))
    return _lower_end(x, stakes, alpha=alpha), 1 - _lower_end(1 - x, stakes, alpha=alpha)


def cuped(sums: ArrayLike, before: ArrayLike, *, theta: float, centre: float) -> Floats:
    """Take out of a metric what the user's past explains: ``Y - theta (X - mean X)`` (Deng et al., WSDM 2013).

    >>> cuped([2.0, 4.0], [1.0, 3.0], theta=1.0, centre=2.0).tolist()
    [3.0, 3.0]
    """
    return np.asarray(sample(sums, "sums") - theta * (sample(before, "before") - centre))


def cuped_theta(sums: ArrayLike, before: ArrayLike) -> float:
    """Return ``cov(Y, X) / var(X)`` over the users of all arms together; 0 where X does not vary.

    >>> cuped_theta([2.0, 4.0, 6.0], [1.0, 2.0, 3.0])
    2.0
    """
    y, x = sample(sums, "sums"), sample(before, "before")
    if x.size <= 1 or np.ptp(x) == 0:
        return 0.0
    return float(np.cov(y, x)[0, 1] / np.var(x, ddof=1))


def _precision(alpha: float) -> float:
    evidence = -2 * math.log(level(alpha))
    return evidence + math.log1p(evidence)


def _stakes(x: Floats, alpha: float) -> Floats:
    """Predictable stakes, shape (users,): each knows only the values before it."""
    t = np.arange(1, x.size + 1)
    means = (0.5 + np.cumsum(x)) / (t + 1)
    variances = (0.25 + np.cumsum((x - means) ** 2)) / (t + 1)
    past = np.concatenate([[0.25], variances[:-1]])[: x.size]
    return np.asarray(np.sqrt(2 * math.log(2 / alpha) / (past * t * np.log(t + 1))))


def _lower_end(x: Floats, stakes: Floats, *, alpha: float) -> float:
    """Largest mean that is excluded from below; the capital of betting on "above m" falls in m."""
    if not x.size:
        return 0.0
    excluded, kept = 0.0, float(x.mean())
    needed = math.log(2 / alpha)
    for _ in range(HALVINGS):
        m = (excluded + kept) / 2
        capital = np.log1p(np.minimum(stakes, TRUNCATION / max(m, 1e-300)) * (x - m)).sum()
        excluded, kept = (m, kept) if capital >= needed else (excluded, m)
    return excluded
