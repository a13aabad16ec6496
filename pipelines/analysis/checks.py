"""Refusals of values that no analysis can use: NaN, negative counts, levels outside (0, 1).

Raises :class:`~mlflow_deploy_plugin.errors.ConfigError`; says nothing about whether data suffice (that is a verdict).
"""

import math
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mlflow_deploy_plugin.errors import ConfigError
from mlflow_deploy_plugin.spec.events import LARGEST_LABEL

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Flags = NDArray[np.bool_]
Column = NDArray[Any]

LARGEST: Final = LARGEST_LABEL
"""Of numbers that are added up: the squares of a thousand million of them still make a number."""


def level(alpha: float, name: str = "alpha") -> float:
    """Return an error probability that lies strictly between 0 and 1.

    Raises:
        ConfigError: it does not.

    >>> level(0.01)
    0.01
    """
    if not 0 < alpha < 1:
        raise ConfigError(f"{name} is {alpha}: must lie strictly between 0 and 1, for example 0.01")
    return alpha


def positive(value: float, name: str) -> float:
    """Return a finite number above zero.

    Raises:
        ConfigError: NaN, infinite, zero or negative.

    >>> positive(2.0, "scale")
    2.0
    """
    if not (math.isfinite(value) and value > 0):
        raise ConfigError(f"{name} is {value}: must be a finite number above 0")
    return value


def share(value: float, name: str) -> float:
    """Return a proportion in [0, 1].

    Raises:
        ConfigError: outside, or NaN.

    >>> share(0.1, "margin")
    0.1
    """
    if not 0 <= value <= 1:
        raise ConfigError(f"{name} is {value}: must lie in [0, 1]; a per cent is 0.01")
    return value


def sample(values: ArrayLike, name: str, *, minimum: float = -math.inf) -> Floats:
    """Return a read-only one-dimensional float array without NaN or infinity, none below ``minimum``.

    Raises:
        ConfigError: another shape, or a value that breaks the rule.

    >>> sample([1, 2], "latency_ms", minimum=0)
    array([1., 2.])
    """
    array = np.array(values, dtype=np.float64)
    if array.ndim != 1:
        raise ConfigError(f"{name} has shape {array.shape}: must have one dimension")
    if not np.isfinite(array).all():
        raise ConfigError(f"{name} holds NaN or infinity: leave such observations out and count them as missing")
    if array.size and float(array.min()) < minimum:
        raise ConfigError(f"{name} holds {float(array.min())}: must not be below {minimum}")
    array.setflags(write=False)
    return array


def counts(values: ArrayLike, name: str) -> Integers:
    """Return a read-only one-dimensional array of counts.

    Raises:
        ConfigError: another shape, a negative, fractional or missing count (a counter that was reset, for example).

    >>> counts([3, 0], "exposed")
    array([3, 0])
    """
    array = np.atleast_1d(np.asarray(values))
    if array.ndim != 1 or not np.issubdtype(array.dtype, np.number):
        raise ConfigError(f"{name} is {values!r}: must be counts in one dimension")
    if not np.isfinite(array).all() or (array < 0).any() or (array != np.floor(array)).any():
        raise ConfigError(f"{name} is {array.tolist()}: counts are whole numbers and never negative")
    whole = array.astype(np.int64)
    whole.setflags(write=False)
    return whole
