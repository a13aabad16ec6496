"""Which arm did the event fall on? The exact sequential test of a rate ratio from events alone.

A user is assigned to the canary with probability theta before anything happens to them. If the canary's event rate is
at most ``ratio`` times stable's, then a user *with* the event is a canary user with probability at most
``s0 = theta ratio / (theta ratio + 1 - theta)``, whatever the common rate is and however it changes: an outage of the
whole house cancels. Each user with the event multiplies the e-value by ``s1/s0`` (canary) or ``(1 - s1)/(1 - s0)``
(stable); a finite mixture over alternatives ``s1`` is a supermartingale: Ville's inequality bounds it at every look.
Lindon & Malek (NeurIPS 2022, arXiv 2011.03567) with a one-sided mixture in place of the Dirichlet; the
anytime-valid log-rank test (ter Schure et al., arXiv 2011.06931) for fixed shares.

Rules: count each user once, at the first event, under the share of that moment. Users may send any number of requests,
return, and differ: only the randomised assignment is assumed. The current counts suffice, no history is needed.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import logsumexp

from pipelines.analysis.checks import Floats, positive

EFFECTS = np.linspace(0.2, 3.0, 15)
"""Alternatives: log of the rate ratio beyond the null, from 1.2 to 20 times."""

WEIGHTS = np.exp(-0.5 * ((EFFECTS - 1.0) / 0.5) ** 2) + 0.03
"""Their prior weights, before normalising: twofold to fivefold regressions are to be found soon, the rest at last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShareTest:
    """Test of "the canary's event rate is at most ``ratio`` times stable's" (or, ``is_upper`` False, at least)."""

    ratio: float = 1.0
    is_upper: bool = True

    def __post_init__(self) -> None:
        positive(self.ratio, "ratio")

    def log_e(self, stable: ArrayLike, canary: ArrayLike, share: ArrayLike) -> Floats:
        """Log e-value of the counts; reject the null at level alpha wherever it reaches ``-log(alpha)``.

        Args:
            stable: users of stable with the event, shape (..., periods).
            canary: the same of the canary.
            share: theta, the canary's share of the two arms' users, shape (periods,).

        Returns:
            Shape (...).

        >>> test = ShareTest()
        >>> round(float(test.log_e([10], [10], [0.1])), 1)
        8.4
        >>> float(test.log_e([90], [10], [0.1])) < 0
        True
        """
        theta = np.asarray(share, dtype=np.float64)
        odds = theta / (1 - theta) * self.ratio
        tilt = np.exp(EFFECTS if self.is_upper else -EFFECTS)[:, None]
        per_canary = np.log(tilt) + np.log1p(odds) - np.log1p(odds * tilt)
        per_stable = np.log1p(odds) - np.log1p(odds * tilt)
        evidence = (
            np.asarray(canary, dtype=np.float64) @ per_canary.T + np.asarray(stable, dtype=np.float64) @ per_stable.T
        )
        return np.asarray(logsumexp(evidence, axis=-1, b=WEIGHTS / WEIGHTS.sum()))
