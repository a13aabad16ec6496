"""Named arrays, as protocols of tensors send them, to a payload that the signature allows. Pure but for pandas' frames.

Shared by every protocol whose inputs are arrays with names. A column of a table may come as a vector or as a matrix of
one column; a table of numbers also as one matrix in the signature's order. A type is widened where every value
survives; everything else is refused with what was wanted and what came, since a server that rounds in silence answers
for another input than the client's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import orjson

from mlflow_deploy_plugin.serving.codecs.fields import YEARS
from mlflow_deploy_plugin.serving.faults import Fault, RequestError
from mlflow_deploy_plugin.serving.request import Frame, Matrix, Raw, Tensor, Tensors
from mlflow_deploy_plugin.serving.signature import NUMPY_TYPES, Signature

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlflow_deploy_plugin.serving.request import Payload
    from mlflow_deploy_plugin.serving.signature import Column, TensorSpec

    Array = np.ndarray[Any, np.dtype[Any]]

TABLE: Final = 2  # dimensions

_WIDENED: Final = {"f": "fiu", "i": "iu", "u": "iu"}
"""NumPy kinds that may become a kind, where no value changes."""


class ArrayReader:
    """Reads named arrays for one signature."""

    def __init__(self, signature: Signature) -> None:
        self._is_from_type_hint = signature.is_from_type_hint
        self._has_names = signature.has_names
        self._matrix_type = signature.matrix_type
        self._ordered = signature.columns
        self._columns = {column.name: column for column in signature.columns}
        self._names = tuple(self._columns)
        self._tensors = {spec.name: spec for spec in signature.tensors}

    def dtype_of(self, name: str) -> np.dtype[Any] | None:
        """The NumPy type that the model wants of an input; None: whatever comes. For JSON, which has no types."""
        if name in self._columns:
            kind = self._columns[name].type
            return None if kind == "complex" else np.dtype(NUMPY_TYPES[kind])
        if spec := self._tensors.get(name) or self._tensors.get(""):
            return np.dtype(spec.dtype)
        return np.dtype(self._matrix_type) if self._matrix_type else None

    def read(self, arrays: Mapping[str, Array]) -> Payload:
        """The payload.

        Raises:
            RequestError: INVALID; the message names the input, what was wanted and what came.
        """
        if not arrays:
            raise RequestError(Fault.INVALID, "the request has no inputs")
        for array in arrays.values():
            if array.ndim and not len(array):
                raise RequestError(Fault.INVALID, "the request has no rows; send at least one")
        if self._is_from_type_hint:
            return Raw(value=self._only(arrays).tolist())
        if self._ordered:
            return self._table(arrays)
        if self._tensors:
            return self._named(arrays)
        return _untyped(arrays)

    def _table(self, arrays: Mapping[str, Array]) -> Payload:
        columns = self._ordered
        if len(arrays) == 1:
            ((name, array),) = arrays.items()
            if (
                array.ndim == TABLE
                and array.shape[1] == len(columns)
                and (len(columns) > 1 or name not in self._columns)
            ):
                return self._positional(name, array)
        if not self._has_names:
            raise RequestError(
                Fault.INVALID, f"send one input of shape [rows, {len(columns)}]: the columns have no names"
            )
        self._check_names(arrays, self._columns, [column.name for column in columns if column.is_required])
        vectors = {name: _vector(name, array) for name, array in arrays.items()}
        if len({len(vector) for vector in vectors.values()}) != 1:
            sizes = ", ".join(f"{name!r} {len(vector)}" for name, vector in list(vectors.items())[:5])
            raise RequestError(Fault.INVALID, f"the inputs have different numbers of rows: {sizes}")
        fitted = {name: _fit_column(self._columns[name], vectors[name]) for name in self._columns if name in vectors}
        if self._matrix_type:
            return Matrix(values=np.column_stack(list(fitted.values())), columns=tuple(fitted))
        return _frame(fitted)

    def _positional(self, name: str, array: Array) -> Payload:
        if self._matrix_type:
            values = fit(array, np.dtype(self._matrix_type), name)
            return Matrix(values=np.array(values, order="C"), columns=self._names)
        columns = enumerate(self._ordered)
        return _frame({(c.name if self._has_names else at): _fit_column(c, array[:, at]) for at, c in columns})

    def _named(self, arrays: Mapping[str, Array]) -> Payload:
        if "" in self._tensors:
            return Tensor(array=_fit_tensor(self._tensors[""], self._only(arrays), next(iter(arrays))))
        self._check_names(arrays, self._tensors, list(self._tensors))
        return Tensors(arrays={name: _fit_tensor(spec, arrays[name], name) for name, spec in self._tensors.items()})

    def _only(self, arrays: Mapping[str, Array]) -> Array:
        if len(arrays) != 1:
            raise RequestError(Fault.INVALID, f"the model takes one input, not {len(arrays)}")
        return next(iter(arrays.values()))

    def _check_names(self, arrays: Mapping[str, Array], known: Mapping[str, object], required: list[str]) -> None:
        unknown = [name for name in arrays if name not in known]
        missing = [name for name in required if name not in arrays]
        if unknown or missing:
            what = f"unknown input {unknown[0]!r}" if unknown else f"input {missing[0]!r} is missing"
            names = ", ".join(map(repr, list(known)[:10]))
            more = f" and {len(known) - 10} more" if len(known) > 10 else ""  # noqa: PLR2004  enough to see which model it is
            raise RequestError(Fault.INVALID, f"{what}; the model takes {names}{more}")


def fit(array: Array, dtype: np.dtype[Any], name: str) -> Array:
    """The array in the model's type, where every value survives.

    >>> fit(np.array([1, 2]), np.dtype("float32"), "x")
    array([1., 2.], dtype=float32)

    Raises:
        RequestError: INVALID.
    """
    if dtype.kind == "S":
        return np.array([_as_bytes(value, name) for value in array.reshape(-1).tolist()], "S").reshape(array.shape)
    if dtype.kind in "OU":  # MLflow tells text of NumPy's own kind from objects, and refuses the other
        return _decoded(array, name).astype(dtype)
    if array.dtype == dtype:
        return array
    if array.dtype.kind not in _WIDENED.get(dtype.kind, ""):
        raise RequestError(Fault.INVALID, f"input {name!r} is {_spoken(array.dtype)}; the model takes {dtype}")
    with np.errstate(over="ignore", invalid="ignore"):
        cast = array.astype(dtype)
        same = (cast == array) | np.isnan(cast) if dtype.kind == "f" else cast == array
    if same.all() and _is_exact(array, cast):
        return cast
    raise RequestError(Fault.INVALID, f"input {name!r} is {array.dtype}; its values do not fit the model's {dtype}")


def _is_exact(array: Array, cast: Array) -> bool:
    """Whole numbers beyond a float's digits compare equal after NumPy has rounded both: look back instead."""
    if array.dtype.kind in "iu" and cast.dtype.kind == "f":
        with np.errstate(invalid="ignore"):
            return bool((cast.astype(array.dtype) == array).all())
    return True


def _vector(name: str, array: Array) -> Array:
    if array.ndim == 1:
        return array
    if array.ndim == TABLE and array.shape[1] == 1:
        return array[:, 0]
    raise RequestError(Fault.INVALID, f"input {name!r} has shape {list(array.shape)}; a column has [rows] or [rows, 1]")


def _fit_column(column: Column, vector: Array) -> Array:
    match column.type:
        case "binary":
            return _objects([_as_bytes(value, column.name) for value in vector.tolist()])
        case "datetime":
            return _moments(_decoded(vector, column.name), column.name)
        case "complex":
            return _objects([_json_or_text(value) for value in vector.tolist()])
        case _:
            return fit(vector, np.dtype(NUMPY_TYPES[column.type]), column.name)


def _moments(texts: Array, name: str) -> Array:
    try:
        coarse = texts.astype("datetime64[s]")
    except ValueError as error:
        raise RequestError(Fault.INVALID, f"input {name!r} must hold times such as 2026-01-02T03:04:05") from error
    years = coarse.astype("datetime64[Y]").astype(int) + 1970
    if not (np.isnat(coarse) | ((years >= YEARS[0]) & (years <= YEARS[-1]))).all():  # NumPy would wrap them around
        raise RequestError(Fault.INVALID, f"input {name!r} must hold times of the years {YEARS[0]} to {YEARS[-1]}")
    return texts.astype("datetime64[ns]")


def _fit_tensor(spec: TensorSpec, array: Array, name: str) -> Array:
    if not spec.takes(array.shape):
        raise RequestError(
            Fault.INVALID, f"input {name!r} has shape {list(array.shape)}; the model takes {list(spec.shape)}"
        )
    return fit(array, np.dtype(spec.dtype), name)


def _untyped(arrays: Mapping[str, Array]) -> Payload:
    """Without a signature: one array is a tensor, vectors of one length are a table, all else is arrays by name."""
    texts = {name: _decoded(array, name) if array.dtype.kind in "OUS" else array for name, array in arrays.items()}
    if len(texts) == 1:
        return Tensor(array=next(iter(texts.values())))
    if len({array.shape for array in texts.values()}) == 1 and next(iter(texts.values())).ndim == 1:
        return _frame(texts)
    return Tensors(arrays=texts)


def _frame(columns: Mapping[Any, Array]) -> Frame:
    import pandas as pd  # noqa: PLC0415  a table that is no matrix is a frame

    return Frame(frame=pd.DataFrame(dict(columns)))


def _decoded(array: Array, name: str) -> Array:
    if array.dtype.kind not in "OUS":
        raise RequestError(Fault.INVALID, f"input {name!r} is {_spoken(array.dtype)}; the model takes text")
    try:
        values = [v.decode() if isinstance(v, bytes) else _require_text(v, name) for v in array.reshape(-1).tolist()]
    except UnicodeDecodeError as error:
        raise RequestError(Fault.INVALID, f"input {name!r} is not UTF-8: {error}") from error
    return _objects(values).reshape(array.shape)


def _require_text(value: Any, name: str) -> str:  # noqa: ANN401
    if isinstance(value, str):
        return value
    raise RequestError(Fault.INVALID, f"input {name!r} must hold text alone, and has {value!r:.40}")


def _as_bytes(value: Any, name: str) -> bytes:  # noqa: ANN401
    return value if isinstance(value, bytes) else _require_text(value, name).encode()


def _json_or_text(value: Any) -> Any:  # noqa: ANN401
    if not isinstance(value, (str, bytes)):
        return value
    try:
        return orjson.loads(value)
    except orjson.JSONDecodeError:
        return value


def _objects(values: list[Any]) -> Array:
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def _spoken(dtype: np.dtype[Any]) -> str:
    return "text" if dtype.kind in "OUS" else str(dtype)
