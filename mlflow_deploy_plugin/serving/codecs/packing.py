"""Numbers of a JSON array as a NumPy array, at a third of what NumPy takes for a list. Pure."""

from __future__ import annotations

import struct
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence


_CODES: Final = {np.dtype(f"float{bits}"): code for bits, code in ((16, "e"), (32, "f"), (64, "d"))}
"""Of :mod:`struct`."""
_ONES: Final = {dtype: np.ones(1, dtype).tobytes() for dtype in _CODES}


def floats(values: Sequence[Any], dtype: np.dtype[Any]) -> np.ndarray[Any, np.dtype[Any]] | None:
    """``numpy.array(values, dtype)`` for a flat list of numbers and a floating ``dtype``; None where it is not that.

    Numbers that do not fit become infinite, as NumPy makes them (halves: None); booleans are numbers, as for NumPy.

    >>> floats([1.5, 2], np.dtype("float32"))
    array([1.5, 2. ], dtype=float32)
    >>> [floats(values, np.dtype("float32")) for values in ([1.5, "2"], [None], [[1.0]])]
    [None, None, None]
    """
    if dtype not in _CODES:
        return None
    try:
        return np.frombuffer(bytearray(struct.pack(f"{len(values)}{_CODES[dtype]}", *values)), dtype)
    except (struct.error, OverflowError):
        return None


def table(rows: Sequence[Any], dtype: np.dtype[Any]) -> np.ndarray[Any, np.dtype[Any]] | None:
    """The same for a list of flat lists of one length.

    >>> table([[1.5, 2], [3, 4]], np.dtype("float64"))
    array([[1.5, 2. ],
           [3. , 4. ]])
    >>> [table(rows, np.dtype("float64")) for rows in ([], [1.5], [[1.5], [2.5, 3.5]], [[[1.5]]])]
    [None, None, None, None]
    """
    if set(map(type, rows)) != {list} or len(set(map(len, rows))) > 1:
        return None
    array = floats(rows[0] if len(rows) == 1 else [*chain.from_iterable(rows)], dtype)
    return None if array is None else array.reshape(len(rows), -1 if array.size else 0)


def may_hide_booleans(array: np.ndarray[Any, np.dtype[Any]]) -> bool:
    """Whether some number of :func:`floats` may have been a boolean: only 0 and 1 can. Quick rather than exact.

    >>> may_hide_booleans(np.array([0.5, 1.0])), may_hide_booleans(np.array([0.5, 2.0]))
    (True, False)
    """
    data = array.tobytes()
    return bytes(array.itemsize) in data or _ONES[array.dtype] in data  # or between two numbers, which is rare
