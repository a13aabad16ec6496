"""The table that a request's rows are. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, assert_never

import numpy as np

from mlflow_deploy_plugin.attribution.table import DIMENSIONS, CannotExplainError, Table, table_of_rows
from mlflow_deploy_plugin.serving.faults import Fault, RequestError
from mlflow_deploy_plugin.serving.request import Frame, Matrix, Raw, Tensor, Tensors

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlflow_deploy_plugin.serving.request import Payload

    Array = np.ndarray[Any, np.dtype[Any]]


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
    if array.ndim != DIMENSIONS:
        raise _refused(f"the input has shape {list(array.shape)}")
    return tuple(map(str, range(array.shape[1])))


def _numbers(columns: tuple[str, ...], values: Any) -> Table:  # noqa: ANN401  an array or a frame
    try:
        return table_of_rows(columns, values)
    except CannotExplainError as error:
        raise RequestError(Fault.INVALID, str(error)) from error


def _refused(why: str) -> RequestError:
    return RequestError(Fault.INVALID, f"cannot explain: {why}; explanations take tables of numbers and text")
