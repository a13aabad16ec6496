"""Which requests may share a call of the model, and how their inputs are joined. Pure.

Two payloads may be joined only where the model could not tell: equal kind, columns, types, trailing shapes and
parameters. What cannot be proven equal (an index of its own, a scalar, an object) runs alone.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, assert_never

import numpy as np
import orjson

from mlflow_deploy_plugin.serving.request import Frame, Matrix, Payload, Raw, Tensor, Tensors

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping, Sequence

    import pandas as pd

    from mlflow_deploy_plugin.serving.request import Wants


def row_count(payload: Payload) -> int:
    """Rows that the scheduler counts for a payload; at least one, since an empty request costs a call too."""
    match payload:
        case Matrix():
            rows = len(payload.values)
        case Frame():
            rows = len(payload.frame)
        case Tensor():
            rows = len(payload.array) if payload.array.ndim else 1
        case Tensors():
            rows = max((len(array) for array in payload.arrays.values() if array.ndim), default=1)
        case Raw():
            rows = len(payload.value) if isinstance(payload.value, list) else 1
        case _:
            assert_never(payload)
    return max(rows, 1)


def group(payload: Payload, params: Mapping[str, Any] | None, wants: Wants) -> Hashable | None:
    """Requests of equal group may be joined; None: this one runs alone."""
    kind = _kind(payload)
    if kind is None:
        return None
    if not params:
        return (kind, wants)
    try:
        return (kind, wants, orjson.dumps(params, option=orjson.OPT_SORT_KEYS))
    except TypeError:  # a parameter that JSON cannot say
        return None


def _kind(payload: Payload) -> Hashable | None:
    match payload:
        case Matrix():
            return (Matrix, payload.columns, payload.values.dtype) if len(payload.values) else None  # noqa: PD011  no frame
        case Frame():
            return _frame_kind(payload.frame)
        case Tensor():
            return _array_kind(payload.array)
        case Tensors():
            return _arrays_kind(payload.arrays)
        case Raw():
            return None
        case _:
            assert_never(payload)


def _array_kind(array: np.ndarray) -> Hashable | None:
    if array.ndim == 0 or len(array) == 0 or array.dtype.kind == "O":
        return None
    return (array.dtype, array.shape[1:])


def _arrays_kind(arrays: Mapping[str, np.ndarray]) -> Hashable | None:
    kinds = {name: _array_kind(array) for name, array in arrays.items()}
    if not kinds or None in kinds.values() or len({len(array) for array in arrays.values()}) != 1:
        return None
    return (Tensors, tuple(kinds.items()))


def _frame_kind(frame: pd.DataFrame) -> Hashable | None:
    index = frame.index
    if not len(frame) or type(index).__name__ != "RangeIndex" or (index.start, index.step) != (0, 1):  # type: ignore[attr-defined]
        return None
    return (Frame, tuple(frame.columns), tuple(_column_kind(frame, at) for at in range(frame.shape[1])))


def _column_kind(frame: pd.DataFrame, at: int) -> Hashable:
    """The column's type; for objects the types within, because pandas infers from them."""
    dtype = frame.dtypes.iloc[at]
    return frozenset(map(type, frame.iloc[:, at])) if dtype.kind == "O" else dtype


def join(payloads: Sequence[Payload]) -> Payload:
    """One payload of the rows of all; they are of one group."""
    first = payloads[0]
    if len(payloads) == 1:
        return first
    match first:
        case Matrix():
            values = [payload.values for payload in payloads if isinstance(payload, Matrix)]  # noqa: PD011  no frame
            return Matrix(values=np.concatenate(values), columns=first.columns)
        case Frame():
            import pandas as pd  # noqa: PLC0415  a Frame has imported it already

            frames = [payload.frame for payload in payloads if isinstance(payload, Frame)]
            return Frame(frame=pd.concat(frames, ignore_index=True))
        case Tensor():
            return Tensor(array=np.concatenate([payload.array for payload in payloads if isinstance(payload, Tensor)]))
        case Tensors():
            named = [payload.arrays for payload in payloads if isinstance(payload, Tensors)]
            return Tensors(arrays={name: np.concatenate([arrays[name] for arrays in named]) for name in first.arrays})
        case Raw():
            raise TypeError("a raw payload has no rows")
        case _:
            assert_never(first)


def deal(payload: Payload, sizes: Sequence[int]) -> list[Payload]:
    """The rows of one payload as payloads of ``sizes`` rows: what :func:`join` joined. Views where they can be."""
    ends = list(itertools.accumulate(sizes))
    return [rows_between(payload, end - size, end) for size, end in zip(sizes, ends, strict=True)]


def rows_between(payload: Payload, start: int, end: int) -> Payload:
    """The rows from ``start`` to before ``end``; a view where it can be.

    Raises:
        TypeError: it is a raw payload, which has no rows.
    """
    match payload:
        case Matrix():
            return Matrix(values=payload.values[start:end], columns=payload.columns)  # noqa: PD011  no frame
        case Frame():
            return Frame(frame=payload.frame.iloc[start:end].reset_index(drop=True))
        case Tensor():
            return Tensor(array=payload.array[start:end])
        case Tensors():
            return Tensors(arrays={name: array[start:end] for name, array in payload.arrays.items()})
        case Raw():
            raise TypeError("a raw payload has no rows")
        case _:
            assert_never(payload)


def plain(payload: Payload) -> Any:  # noqa: ANN401  what a pyfunc takes has no common type
    """The payload as a pyfunc takes it: copies, since a model may write into its input and the log reads it later."""
    match payload:
        case Matrix():
            import pandas as pd  # noqa: PLC0415  a straight predictor never comes here

            return pd.DataFrame(payload.values, columns=list(payload.columns))
        case Frame():
            return payload.frame.copy(deep=False)  # a column that the model sets is set in the copy
        case Tensor():
            return payload.array.copy()
        case Tensors():
            return {name: array.copy() for name, array in payload.arrays.items()}
        case Raw():
            return payload.value
        case _:
            assert_never(payload)
