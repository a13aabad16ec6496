"""Numbers of a JSON array as a NumPy array, at a third of what NumPy takes for a list. Pure."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence


def floats(values: Sequence[Any], dtype: np.dtype[Any]) -> np.ndarray[Any, np.dtype[Any]] | None:
    """``numpy.array(values, dtype)`` for a flat list of numbers and a floating ``dtype``; None where it is not that.

    Numbers that do not fit become infinite, as NumPy makes them; booleans are numbers, as for NumPy.

    >>> floats([1.5, 2], np.dtype("float32"))
    array([1.5, 2. ], dtype=float32)
    >>> [floats(values, np.dtype("float32")) for values in ([1.5, "2"], [None], [[1.0]])]
    [None, None, None]
    """
    try:
        packed = struct.pack(f"{len(values)}d", *values)
    except (struct.error, OverflowError):
        return None
    with np.errstate(over="ignore"):
        return np.frombuffer(packed).astype(dtype)


def may_hide_booleans(array: np.ndarray[Any, np.dtype[Any]]) -> bool:
    """Whether some number of :func:`floats` may have been a boolean: only 0 and 1 can.

    >>> may_hide_booleans(np.array([0.5, 1.0])), may_hide_booleans(np.array([0.5, 2.0]))
    (True, False)
    """
    return bool(((array == 0.0) | (array == 1.0)).any())
