"""Sample ratio mismatch: do the users fall on the arms as the split says?

Sequential multinomial test of Lindon & Malek, "Anytime-valid inference for multinomial count data" (NeurIPS 2022,
arXiv 2011.03567): the Bayes factor of a Dirichlet mixture, centred at the split, against the split. It is a
non-negative martingale under the split, so ``1 / BF`` is a p-value at every look. The value needs no history: the
current counts suffice (a running minimum would be valid too, and only smaller).

Does not say why: a mismatch makes every comparison of the same users Inconclusive.
"""

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import gammaln

from mlflow_deploy_plugin.errors import ConfigError
from pipelines.analysis.checks import Floats, counts, level, positive
from pipelines.analysis.verdict import Inconclusive, Successful

CONCENTRATION = 100.0
"""Prior weight k of the split, in users: mismatches from about 1/sqrt(k) of a share are found soonest."""


def log_bayes_factor(observed: ArrayLike, split: ArrayLike, *, concentration: float = CONCENTRATION) -> Floats:
    """Log of the Bayes factor of "some other split" against ``split``.

    ``log BF = log B(k split + n) - log B(k split) - sum n_i log split_i`` (arXiv 2011.03567).

    Args:
        observed: users per arm, shape (..., arms).
        split: probability of each arm, shape (arms,), positive, sums to 1.
        concentration: k, in users.

    Returns:
        Shape (...): one value per look.

    Raises:
        ConfigError: a split that does not sum to one, or counts below zero.

    >>> round(float(log_bayes_factor([100, 100], [0.5, 0.5])), 3)
    -0.551
    """
    shares = np.asarray(split, dtype=np.float64)
    if shares.ndim != 1 or (shares <= 0).any() or not np.isclose(shares.sum(), 1.0):
        raise ConfigError(
            f"split is {shares.tolist()}: shares must be positive and sum to 1; leave out arms of weight 0"
        )
    seen = np.asarray(observed, dtype=np.float64)
    if seen.shape[-1:] != shares.shape or not np.isfinite(seen).all() or (seen < 0).any():
        raise ConfigError(
            f"observed has shape {seen.shape}: needs {shares.size} counts, none negative, in its last axis"
        )
    prior = positive(concentration, "concentration") * shares
    posterior = _log_beta(prior + seen) - _log_beta(prior)
    return np.asarray(posterior - (seen * np.log(shares)).sum(axis=-1))


def sequential_p(observed: ArrayLike, split: ArrayLike, *, concentration: float = CONCENTRATION) -> Floats:
    """Anytime-valid p-value of the split: ``min(1, 1 / BF)`` of the current counts.

    >>> float(sequential_p([500, 500], [0.5, 0.5]))
    1.0
    >>> float(sequential_p([600, 400], [0.5, 0.5])) < 1e-6
    True
    """
    evidence = log_bayes_factor(observed, split, concentration=concentration)
    return np.asarray(np.exp(-np.maximum(evidence, 0.0)))


def judge_split(observed: ArrayLike, split: ArrayLike, *, alpha: float = 0.001) -> Successful | Inconclusive:
    """Say whether the arms got the users that the split promised.

    Args:
        observed: distinct users per arm and period of constant split, shape (arms,) or (periods, arms).
        split: shares, of the same shape.
        alpha: chance of a false alarm over all looks; .001 is the field's custom.

    Returns:
        Successful, or Inconclusive: a mismatch holds, it never promotes or rolls back. Numbers: ``p``, ``users``.

    Raises:
        ConfigError: a wrong split or level, or negative counts.

    >>> judge_split([700, 300], [0.9, 0.1]).reason
    'sample ratio mismatch: 700/300 users where 900/100 were due'
    """
    seen = counts(np.ravel(observed), "observed").reshape(np.shape(observed))
    periods, shares = np.atleast_2d(seen), np.atleast_2d(np.asarray(split, dtype=np.float64))
    evidence = sum(float(log_bayes_factor(n, theta)) for n, theta in zip(periods, shares, strict=True))
    p_value = float(np.exp(-max(evidence, 0.0)))
    numbers = {"p": p_value, "users": int(seen.sum()), "alpha": level(alpha)}
    if p_value > alpha:
        return Successful(reason="users fall on the arms as the split says", numbers=numbers)
    due = (periods.sum(axis=1, keepdims=True) * shares).sum(axis=0)
    found = "/".join(f"{n}" for n in periods.sum(axis=0))
    expected = "/".join(f"{n:.0f}" for n in due)
    return Inconclusive(reason=f"sample ratio mismatch: {found} users where {expected} were due", numbers=numbers)


def _log_beta(alphas: Floats) -> Floats:
    return np.asarray(gammaln(alphas).sum(axis=-1) - gammaln(alphas.sum(axis=-1)))
