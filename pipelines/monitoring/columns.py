"""Which columns are compared, and as what: numbers or categories, decided once from the reference.

Evidently and pandas guess a type from each frame alone, so that one column is a number here and a category there,
and unsigned, nullable and datetime columns are dropped without a word. Here the kinds
are explicit, every frame is brought to them, and what cannot be compared is named.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from pipelines.analysis.checks import LARGEST

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd

Kind = Literal["number", "category"]

FEW: Final = 10
"""Whole numbers with at most this many distinct values are categories."""
MANY: Final = 200
"""Text with more distinct values than this names its row rather than a group, and is not compared."""
SMALLEST_NARROW: Final = 2.0**-126
LARGEST_NARROW: Final = 2.0**127
"""Numbers between these two keep seven digits in 32 bits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """The compared columns by kind, in the reference's order, and those that were left out with the reason."""

    numbers: tuple[str, ...]
    categories: tuple[str, ...]
    skipped: tuple[tuple[str, str], ...] = ()

    @property
    def compared(self) -> tuple[str, ...]:
        """Every compared column."""
        return self.numbers + self.categories

    def without(self, names: set[str]) -> "Columns":
        """These columns but for ``names``."""
        return Columns(
            numbers=tuple(n for n in self.numbers if n not in names),
            categories=tuple(n for n in self.categories if n not in names),
            skipped=self.skipped,
        )


def kinds_of(frame: "pd.DataFrame") -> Columns:
    """The kinds of every column of ``frame``: the training sample, or stable's inputs where there is none.

    >>> import pandas as pd
    >>> kinds_of(pd.DataFrame({"age": [31.5, 40.0], "plan": ["a", "b"], "day": pd.to_datetime(["2026-01-01"] * 2)}))
    Columns(numbers=('age',), categories=('plan',), skipped=(('day', 'a moment in time always moves'),))
    """
    verdicts = {str(name): _kind(frame[name]) for name in frame.columns}
    return Columns(
        numbers=tuple(n for n, (kind, _) in verdicts.items() if kind == "number"),
        categories=tuple(n for n, (kind, _) in verdicts.items() if kind == "category"),
        skipped=tuple((n, why) for n, (kind, why) in verdicts.items() if kind is None),
    )


def aligned(frame: "pd.DataFrame", columns: Columns) -> "pd.DataFrame":
    """``frame`` with exactly the compared columns: numbers as float64, categories as text, missing as missing.

    Numbers that are not finite or cannot be added up count as missing.

    A compared column that ``frame`` lacks comes back wholly missing; :mod:`.validity` has told of it by then.
    """
    import pandas as pd  # noqa: PLC0415  heavy

    whole = frame.reindex(columns=list(columns.compared))
    numbers = {name: pd.to_numeric(whole[name], errors="coerce").astype("float64") for name in columns.numbers}
    categories = {name: _as_text(whole[name]) for name in columns.categories}
    whole_numbers = pd.DataFrame(numbers, index=whole.index)
    adding_up = whole_numbers.where(whole_numbers.abs() <= LARGEST)
    return pd.concat([adding_up, pd.DataFrame(categories, index=whole.index)], axis=1)


def of_one_width(frames: "Mapping[str, pd.DataFrame]", columns: Columns) -> "dict[str, pd.DataFrame]":
    """Aligned ``frames`` with every number that one of them holds in 32 bits rounded to 32 bits in all.

    A model's signature says how wide its inputs are logged, the training sample need not be as wide: 0.1 in 32 bits is
    another number than in 64, and a column of few values would seem to have moved as a whole.

    >>> import numpy as np, pandas as pd
    >>> wide = pd.DataFrame({"tax": [0.07, 0.19]})
    >>> narrow = wide.astype("float32").astype("float64")
    >>> made = of_one_width({"training": wide, "log": narrow}, kinds_of(wide))
    >>> made["training"].equals(made["log"]), made["log"].equals(narrow)
    (True, True)
    """
    narrow = [name for name in columns.numbers if any(_is_narrow(frame[name]) for frame in frames.values())]
    return {key: frame.assign(**{name: _narrowed(frame[name]) for name in narrow}) for key, frame in frames.items()}


def _is_narrow(series: "pd.Series[Any]") -> bool:
    present = series.dropna()
    return len(present) > 0 and bool((_narrowed(present) == present).all())


def _narrowed(series: "pd.Series[Any]") -> "pd.Series[Any]":
    """Rounded to 32 bits, but for numbers that are too large or too small for them."""
    fits = series.abs().between(SMALLEST_NARROW, LARGEST_NARROW)
    return series.where(~fits, series.where(fits).astype("float32").astype("float64"))


def _kind(series: "pd.Series[Any]") -> tuple[Kind | None, str]:
    from pandas.api import types  # noqa: PLC0415  heavy

    present = series.dropna()
    if types.is_datetime64_any_dtype(series.dtype):
        return None, "a moment in time always moves"
    if present.empty:
        return None, "the reference holds no value"
    if not _is_scalar(present.iloc[0]):
        return None, "its values are lists or objects"
    if _is_number(series, present):
        return "number", ""
    distinct = present.astype(str).nunique()
    return ("category", "") if distinct <= MANY else (None, f"text with {distinct} distinct values")


def _is_number(series: "pd.Series[Any]", present: "pd.Series[Any]") -> bool:
    from pandas.api import types  # noqa: PLC0415  heavy

    if types.is_integer_dtype(series.dtype):
        return present.nunique() > FEW
    return types.is_numeric_dtype(series.dtype) and not types.is_bool_dtype(series.dtype)


def _is_scalar(value: object) -> bool:
    return isinstance(value, str | int | float | bool) or not hasattr(value, "__len__")


def _as_text(series: "pd.Series[Any]") -> "pd.Series[Any]":
    """Categories as text, so that 1, 1.0 and True mean the same in every frame."""
    return series.map(_word, na_action="ignore").astype("object").where(series.notna(), None)


def _word(value: object) -> str:
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, bool) or type(value).__name__ in {"bool", "bool_"}:
        return str(int(bool(value)))
    return str(value)
