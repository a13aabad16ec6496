"""What is explained, and what an explanation says. Pure; no SHAP here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Self, assert_never

import numpy as np

from mlflow_deploy_plugin.serving.faults import Fault, RequestError
from mlflow_deploy_plugin.serving.request import Frame, Matrix, Raw, Tensor, Tensors

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mlflow_deploy_plugin.serving.request import Payload

    Array = np.ndarray[Any, np.dtype[Any]]

TABLE = 2  # dimensions

Unit = Literal["probability", "output"]
"""The probability of a class, or whatever number the model answers."""


class Table(NamedTuple):
    """Rows of numbers and text."""

    columns: tuple[str, ...]
    rows: Array
    """(rows, columns): float64, or objects where a column has text; there what is missing is None."""


class Explanation(NamedTuple):
    """For each row: ``base + sum(attributions) = prediction``, all in the unit of the output that is explained."""

    method: str
    unit: Unit
    columns: Sequence[str]
    outputs: Sequence[Any]
    """Which output of a row is explained: the class that was predicted, the number of an output, or null: the only."""
    base: Sequence[float]
    attributions: Sequence[Sequence[float]]
    """(rows, columns)."""
    predictions: Sequence[float]

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Self:
        """An explanation from its form in JSON."""
        return cls(**{name: document[name] for name in cls._fields})


def table_of(payload: Payload) -> Table:
    """The rows of a request.

    >>> table_of(Matrix(values=np.array([[1, 2]]), columns=("a", "b"))).rows.tolist()
    [[1.0, 2.0]]

    Raises:
        RequestError: INVALID; they are no table of numbers and text.
    """
    match payload:
        case Matrix():
            return _numbers(payload.columns, payload.values)
        case Frame():
            return _numbers(tuple(map(str, payload.frame.columns)), payload.frame)
        case Tensor():
            return _numbers(_numbered(payload.array), payload.array)
        case Tensors():
            return _of_arrays(payload.arrays)
        case Raw():
            raise _refused("this model takes no table")
        case _:
            assert_never(payload)


def _of_arrays(arrays: Mapping[str, Array]) -> Table:
    if len(arrays) == 1:
        (array,) = arrays.values()
        return _numbers(_numbered(array), array)
    if len({array.shape for array in arrays.values()}) == 1 and next(iter(arrays.values())).ndim == 1:
        return _numbers(tuple(arrays), np.column_stack(list(arrays.values())))
    raise _refused("this model takes several tensors")


def _numbered(array: Array) -> tuple[str, ...]:
    if array.ndim != TABLE:
        raise _refused(f"the input has shape {list(array.shape)}")
    return tuple(map(str, range(array.shape[1])))


def table_of_values(columns: Sequence[str], values: Sequence[Sequence[Any]]) -> Table:
    """The table that went through JSON as lists.

    >>> table_of_values(["a"], [[1], [None]]).rows.dtype, table_of_values(["a"], [[1], ["x"]]).rows.dtype
    (dtype('float64'), dtype('O'))
    """
    has_text = any(isinstance(value, str) for row in values for value in row)
    return Table(tuple(columns), np.array(values, dtype=object if has_text else float))


def _numbers(columns: tuple[str, ...], values: Any) -> Table:  # noqa: ANN401  an array or a frame
    """Text is taken from frames alone: an array that holds it has no columns of numbers."""
    is_frame = hasattr(values, "dtypes")
    kinds = values.dtypes if is_frame else [values.dtype] * len(columns)
    odd = [place for place, kind in enumerate(kinds) if kind.kind not in "iufb"]
    if not odd:
        return Table(columns, np.asarray(values, dtype=float))
    if is_frame:
        values = values.astype(object).where(values.notna(), None)
        odd = [place for place in odd if not all(isinstance(value, _SIMPLE) for value in values.iloc[:, place])]
    if odd:
        raise _refused(f"column {columns[odd[0]]!r} is neither number nor text")
    return Table(columns, values.to_numpy(dtype=object))


_SIMPLE = (str, int, float, bool, np.number, np.bool_, type(None))


def _refused(why: str) -> RequestError:
    return RequestError(Fault.INVALID, f"cannot explain: {why}; explanations take tables of numbers and text")
