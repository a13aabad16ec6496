"""A model's output as the two columns of the log: a number per row, or JSON per row.

One number per row (also a bool, also a matrix of one column) goes to ``prediction``; everything else, such as text,
several values, or a structure, to ``prediction_text``. Imported by the writing thread only.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

Cell = tuple[float | None, str | None]
"""``prediction`` and ``prediction_text`` of one row."""

_JSON = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS | orjson.OPT_PASSTHROUGH_SUBCLASS


def joined_numbers(outputs: Sequence[Any], rows: Sequence[int]) -> NDArray[np.float64] | None:
    """All outputs as one number per row; None where one of them is not that."""
    if {type(output) for output in outputs} == {np.ndarray} and [output.shape for output in outputs] == [
        (count,) for count in rows
    ]:  # what nearly every request looks like
        joined = np.concatenate(outputs)
        return joined.astype(np.float64, copy=False) if joined.dtype.kind in "fiub" else None
    numbers = [numbers_of(output, count) for output, count in zip(outputs, rows, strict=True)]
    known = [array for array in numbers if array is not None]
    return np.concatenate(known) if len(known) == len(numbers) else None


def numbers_of(output: Any, rows: int) -> NDArray[np.float64] | None:  # noqa: ANN401  a model returns anything
    """The output as one number per row; None where it is not that."""
    array = output if type(output) is np.ndarray else _array(output)
    if array is None or array.dtype.kind not in "fiub" or array.size != rows:
        return None
    if array.ndim and len(array) != rows:
        return None
    return array.reshape(rows).astype(np.float64, copy=False)


def cells_of(output: Any, rows: int) -> Sequence[Cell]:  # noqa: ANN401
    """The output row by row; an output whose rows are not the request's goes whole to the first."""
    if output is None:
        return [(None, None)] * rows
    values = _rows_of(output)
    if len(values) == rows:
        return [_cell(value) for value in values]
    return [(None, _json(output))] + [(None, None)] * (rows - 1)


def _array(output: Any) -> NDArray[Any] | None:  # noqa: ANN401
    """Arrays behind pandas' objects and within lists, without importing pandas."""
    if hasattr(output, "to_numpy"):
        array: NDArray[Any] = output.to_numpy()
        return array
    if isinstance(output, (int, float, np.generic)):
        return np.asarray(output)
    if isinstance(output, list) and output and all(type(value) in {int, float, bool} for value in output):
        return np.asarray(output)
    return None


def _rows_of(output: Any) -> Sequence[Any]:  # noqa: ANN401
    if hasattr(output, "to_dict") and hasattr(output, "columns"):
        records: list[Any] = output.to_dict("records")
        return [next(iter(row.values())) if len(row) == 1 else row for row in records]
    if hasattr(output, "to_numpy"):
        output = output.to_numpy()
    if isinstance(output, np.ndarray):
        return output.tolist() if output.ndim else [output.item()]
    if isinstance(output, dict) and output and all(isinstance(value, np.ndarray) for value in output.values()):
        return _transposed(output)
    return output if isinstance(output, (list, tuple)) else [output]


def _transposed(arrays: dict[str, NDArray[Any]]) -> Sequence[Any]:
    if len({len(array) if array.ndim else -1 for array in arrays.values()}) != 1:
        return [arrays]
    lists = {name: array.tolist() for name, array in arrays.items()}
    return [dict(zip(lists, values, strict=True)) for values in zip(*lists.values(), strict=True)]


def _cell(value: Any) -> Cell:  # noqa: ANN401
    if isinstance(value, (int, float, np.number, np.bool_)):
        return float(value), None
    return None, _json(value)


def _json(value: Any) -> str:  # noqa: ANN401
    return orjson.dumps(value, default=_plain, option=_JSON).decode()


def _plain(value: Any) -> Any:  # noqa: ANN401
    """What orjson does not know: bytes and odd scalars as text, arrays of objects and frames as lists."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if hasattr(value, "tolist"):
        plain = value.tolist()
        return None if isinstance(plain, float) and math.isnan(plain) else plain
    if hasattr(value, "to_dict"):
        return value.to_dict("records") if hasattr(value, "columns") else value.to_dict()
    return str(value)
