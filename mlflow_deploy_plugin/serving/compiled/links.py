"""From scores to class probabilities, rounded as scikit-learn rounds them. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def logistic(scores: NDArray[Any]) -> NDArray[np.float64]:
    """``1 / (1 + exp(-scores))``, element by element.

    >>> logistic(np.array([0.0, -1e9]))
    array([0.5, 0. ])
    """
    power = np.exp(-np.abs(scores))  # which cannot overflow
    share: NDArray[np.float64] = np.where(scores >= 0, 1.0, power) / (1.0 + power)
    return share


def two_classes(scores: NDArray[Any]) -> NDArray[np.float64]:
    """(rows,) to (rows, 2), the first class as ``1 - p``, since scikit-learn rounds it so."""
    share = logistic(scores)
    return np.stack((1.0 - share, share), axis=1)


def softmax(scores: NDArray[Any]) -> NDArray[np.float64]:
    """(rows, classes): shares that add up to 1."""
    return shares(np.exp(scores - scores.max(axis=1, keepdims=True)))


def shares(powers: NDArray[Any]) -> NDArray[np.float64]:
    """(rows, classes) divided by their sum; where every class is impossible, scikit-learn calls them all equal."""
    powers[powers.sum(axis=1) == 0] = 1.0
    divided: NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
    return divided
