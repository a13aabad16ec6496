"""Rows of numbers and text, what they are compared with, and the numbers that a model answers. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from mlflow_deploy_plugin.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    Array = np.ndarray[Any, np.dtype[Any]]

DIMENSIONS: Final = 2
BACKGROUND_ROWS: Final = 50
ENOUGH_ROWS: Final = 2
SEED: Final = 0
_SIMPLE: Final = (str, int, float, bool, np.number, np.bool_, type(None))


class CannotExplainError(UserError):
    """These rows, or what the model answers to them, have no explanation."""

    def __init__(self, why: str) -> None:
        super().__init__(f"cannot explain: {why}")


class Table(NamedTuple):
    """Rows of numbers and text."""

    columns: tuple[str, ...]
    rows: Array
    """(rows, columns): float64, or objects where a column has text; there what is missing is None."""


def table_of_values(columns: Sequence[str], values: Sequence[Sequence[Any]]) -> Table:
    """The table that went through JSON as lists.

    >>> table_of_values(["a"], [[1], [None]]).rows.dtype, table_of_values(["a"], [[1], ["x"]]).rows.dtype
    (dtype('float64'), dtype('O'))
    """
    has_text = any(isinstance(value, str) for row in values for value in row)
    return Table(tuple(columns), np.array(values, dtype=object if has_text else float))


def table_of_rows(columns: Sequence[str], values: Any) -> Table:  # noqa: ANN401  a frame or an array
    """The table of a frame or of an array. Text is taken from frames alone: an array of text has no numbers.

    Raises:
        CannotExplainError: a column is neither number nor text.
    """
    names, is_frame = tuple(columns), hasattr(values, "dtypes")
    kinds = values.dtypes if is_frame else [values.dtype] * len(names)
    odd = [place for place, kind in enumerate(kinds) if kind.kind not in "iufb"]
    if not odd:
        # pandas' own types of numbers that may be missing have no float for it by themselves
        rows = values.to_numpy(dtype=float, na_value=np.nan) if is_frame else np.asarray(values, dtype=float)
        return Table(names, rows)
    if is_frame:
        values = values.astype(object).where(values.notna(), None)
        odd = [place for place in odd if not all(isinstance(value, _SIMPLE) for value in values.iloc[:, place])]
    if odd:
        raise CannotExplainError(
            f"column {names[odd[0]]!r} is neither number nor text; explanations take tables of numbers and text"
        )
    return Table(names, values.to_numpy(dtype=object))


def background_of(reference: pd.DataFrame | None, table: Table) -> Array:
    """What the rows of ``table`` are compared with: some of the training sample, else some of their own.

    Args:
        reference: the training sample; one without rows, or that lacks a column of the table, is passed over.
        table: what is explained.

    Raises:
        CannotExplainError: one row has nothing to be compared with.
    """
    known = None if reference is None else _known(reference, table.columns)
    if known is None or known.empty:
        if len(table.rows) < ENOUGH_ROWS:
            raise CannotExplainError(
                "one row has no others to compare it with; log the training sample with"
                " mlflow_deploy_plugin.log_reference, or send more rows"
            )
        return table.rows[:BACKGROUND_ROWS]
    sample = known.sample(BACKGROUND_ROWS, random_state=SEED) if len(known) > BACKGROUND_ROWS else known
    return table_of_rows(table.columns, sample).rows


def _known(reference: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame | None:
    """The rows that a model can be asked for: a column of whole numbers has no form for a missing one in MLflow."""
    if set(columns) - set(reference.columns):
        return None
    known = reference[list(columns)]
    return known.dropna(subset=[name for name, kind in known.dtypes.items() if kind.kind in "iub"])


def numbers(prediction: Any) -> Array:  # noqa: ANN401  a model returns anything
    """(rows, outputs) of what a model returned.

    >>> numbers([1, 2]).shape
    (2, 1)

    Raises:
        CannotExplainError: they are no numbers, or a row has none.
    """
    try:
        array = np.asarray(prediction, dtype=float)
    except (TypeError, ValueError) as error:
        raise CannotExplainError("the model does not answer numbers") from error
    if array.ndim not in {1, DIMENSIONS}:
        raise CannotExplainError(f"the model answers shape {list(array.shape)}")
    if array.ndim == DIMENSIONS and not array.shape[1]:
        raise CannotExplainError(f"the model answers {len(array)} rows without a number in them")
    return array if array.ndim == DIMENSIONS else array[:, np.newaxis]
