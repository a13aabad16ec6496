"""Text as numbers and back, so that every method works on numbers alone. Pure.

A code names a value and measures nothing: only methods that take whole values from one row or another may see codes,
which is what Shapley values of a model's answers do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd

    Array = np.ndarray[Any, np.dtype[Any]]


class Coding(NamedTuple):
    """The values of each column that has text, in the order of their codes; other columns are numbers."""

    words: Mapping[int, Sequence[Any]]

    def encoded(self, rows: Array) -> Array:
        """Rows as floats; what is missing is NaN in a column of numbers, and a value like any other in one of text.

        >>> coding_of(np.array([["b", 2.0], ["a", None]], dtype=object)).encoded(np.array([["b", None]], dtype=object))
        array([[ 1., nan]])
        """
        columns = [self._codes(place, rows[:, place]) for place in range(rows.shape[1])]
        return np.column_stack(columns) if columns else np.empty(rows.shape)

    def decoded(self, rows: Array, place: int) -> Array:
        """The values of one column of coded rows."""
        if place not in self.words:
            return rows[:, place]
        words: Array = np.array(self.words[place], dtype=object)
        return words.take(rows[:, place].astype(int))

    def framed(self, rows: Array, columns: Sequence[str], types: Mapping[str, str]) -> pd.DataFrame:
        """Coded rows as a frame, its columns of text as text, and those of ``types`` as these."""
        import pandas as pd  # noqa: PLC0415  seconds

        return pd.DataFrame({name: self.decoded(rows, place) for place, name in enumerate(columns)}).astype(types)

    def _codes(self, place: int, values: Array) -> Array:
        if place not in self.words:
            return values.astype(float)
        code = {word: number for number, word in enumerate(self.words[place])}
        return np.array([code[_plain(value)] for value in values], dtype=float)


NUMBERS: Final = Coding({})
"""Of tables without text."""


def coding_of(*tables: Array) -> Coding:
    """The coding of tables (rows, columns) that have the same columns."""
    columns = [[_plain(value) for table in tables for value in table[:, place]] for place in range(tables[0].shape[1])]
    texts = {place: set(values) for place, values in enumerate(columns) if any(isinstance(v, str) for v in values)}
    return Coding({place: sorted(values, key=lambda v: (v is None, str(v))) for place, values in texts.items()})


def _plain(value: object) -> object:
    """None for what is missing, which equals itself."""
    return None if isinstance(value, float) and np.isnan(value) else value
