"""Beta-binomial posterior of two arms: probability to be best, and expected loss.

NOT SAFE UNDER PEEKING: a rule such as "stop when the expected loss is small" has no bounded error rate when it is
looked at often. An option for reports and for tests of fixed length; no gate decides by it.

Closed forms of E. Miller, "Formulas for Bayesian A/B testing" (2015), and C. Stucchio, "Bayesian A/B testing at VWO"
(2015), summed in log space.
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import betaln

from mlflow_deploy_plugin.errors import ConfigError

WARNING = "not safe under peeking"


@dataclass(frozen=True, slots=True, kw_only=True)
class Posterior:
    """Beta posterior of a rate of success, from a Beta(1, 1) prior."""

    successes: int
    failures: int

    def __post_init__(self) -> None:
        if min(self.successes, self.failures) < 0:
            raise ConfigError(f"{self} has a negative count")


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Posterior comparison of a treatment with its control."""

    probability_better: float
    """P(treatment > control)."""

    expected_loss: float
    """E[max(control - treatment, 0)]: what choosing the treatment is expected to cost, as a share of users."""

    warning: str = WARNING


def compare_posteriors(control: Posterior, treatment: Posterior) -> Comparison:
    """Compare two arms; not safe under peeking.

    ``E[(A - B)+] = mean(A) P(A' > B) - mean(B) P(A > B')`` where the prime adds one success.

    Args:
        control: successes and failures of the control.
        treatment: the same of the treatment.

    >>> found = compare_posteriors(Posterior(successes=100, failures=900), Posterior(successes=130, failures=870))
    >>> round(found.probability_better, 3), round(found.expected_loss, 5)
    (0.982, 9e-05)
    """
    a, b = (control.successes + 1, control.failures + 1), (treatment.successes + 1, treatment.failures + 1)
    loss = a[0] / sum(a) * _probability_above((a[0] + 1, a[1]), b) - b[0] / sum(b) * _probability_above(
        a, (b[0] + 1, b[1])
    )
    return Comparison(probability_better=_probability_above(b, a), expected_loss=max(loss, 0.0))


def _probability_above(first: tuple[int, int], second: tuple[int, int]) -> float:
    """P(first > second) for two Beta laws: ``sum_{i < a1} B(a2 + i, b1 + b2) / ((b1 + i) B(1 + i, b1) B(a2, b2))``."""
    (a1, b1), (a2, b2) = first, second
    i = np.arange(a1)
    terms = betaln(a2 + i, b1 + b2) - np.log(b1 + i) - betaln(1 + i, b1) - betaln(a2, b2)
    return min(1.0, math.fsum(np.exp(terms).tolist()))
