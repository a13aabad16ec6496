"""Rows of plain REST to a payload, checked against the signature field by field. Pure but for pandas' frames."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mlflow_deploy_plugin.serving.codecs.fields import FieldError, check
from mlflow_deploy_plugin.serving.codecs.json_body import json_type
from mlflow_deploy_plugin.serving.codecs.tables import TablePlan, check_density
from mlflow_deploy_plugin.serving.faults import Fault, RequestError
from mlflow_deploy_plugin.serving.request import Frame, Matrix, Raw, Tensor, Tensors
from mlflow_deploy_plugin.serving.signature import NUMPY_TYPES, Signature

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlflow_deploy_plugin.serving.request import Payload
    from mlflow_deploy_plugin.serving.signature import Column, TensorSpec


class RowReader:
    """Reads rows for one signature."""

    def __init__(self, signature: Signature) -> None:
        self._signature = signature
        self._table = TablePlan.of(signature)
        self._names = [column.name for column in signature.columns]

    def read(self, rows: list[Any]) -> Payload:
        """The payload of ``rows``, each a list in the signature's order or an object by name.

        Raises:
            RequestError: INVALID; the message names the row, the field, what was wanted and what came.
        """
        if not rows:
            raise RequestError(Fault.INVALID, "'features' has no rows; send at least one")
        if self._table is not None:
            quick = self._table.from_records(rows) if type(rows[0]) is dict else self._table.from_rows(rows)
            if quick is not None and _is_strict(quick, rows):
                return quick
        if self._signature.is_from_type_hint:
            return Raw(value=rows)
        if self._signature.columns:
            return self._columns(rows)
        if self._signature.tensors:
            return _tensors(self._signature.tensors, rows)
        return _untyped(rows)

    def _columns(self, rows: list[Any]) -> Payload:
        columns = self._signature.columns
        table = [self._record(row, at) for at, row in enumerate(rows)]
        if self._table is not None:
            return Matrix(values=np.array(table, dtype=self._table.dtype), columns=self._table.columns)
        import pandas as pd  # noqa: PLC0415  a mixed table is a frame

        named = self._signature.has_names
        kept = [
            at for at, column in enumerate(columns) if column.is_required or any(row[at] is not None for row in table)
        ]
        series = {
            (columns[at].name if named else at): pd.Series(
                [row[at] for row in table], dtype=_dtype(columns[at], table, at)
            )
            for at in kept
        }
        return Frame(frame=pd.DataFrame(series))

    def _record(self, row: Any, at: int) -> list[Any]:  # noqa: ANN401  any JSON value
        columns = self._signature.columns
        if isinstance(row, dict) and self._signature.has_names:
            self._check_names(row, at)
            values: Sequence[Any] = [row.get(name) for name in self._names]
        elif isinstance(row, list):
            if len(row) != len(columns):
                raise RequestError(
                    Fault.INVALID,
                    f"row {at} has {len(row)} values; the model takes {len(columns)}: {_some(self._names)}",
                )
            values = row
        else:
            wanted = "an object or an array" if self._signature.has_names else "an array"
            raise RequestError(Fault.INVALID, f"row {at} must be {wanted}, not {json_type(row)}")
        return [self._field(column, value, at) for column, value in zip(columns, values, strict=True)]

    def _check_names(self, row: dict[str, Any], at: int) -> None:
        missing = [column.name for column in self._signature.columns if column.is_required and column.name not in row]
        unknown = [name for name in row if name not in self._names]
        if missing or unknown:
            parts = [f"misses {_some(missing)}"] if missing else []
            parts += [f"has unknown {_some(unknown)}"] if unknown else []
            raise RequestError(Fault.INVALID, f"row {at} {' and '.join(parts)}; the model takes {_some(self._names)}")

    def _field(self, column: Column, value: Any, at: int) -> Any:  # noqa: ANN401
        try:
            return check(column, value)
        except FieldError as error:
            raise RequestError(Fault.INVALID, f"row {at}, field {column.name!r}: {error}") from error


def _is_strict(matrix: Matrix, rows: list[Any]) -> bool:
    """Whether NumPy took only finite numbers; it also takes booleans, which plain REST does not."""
    if not np.isfinite(matrix.values).all():
        return False
    values = (row.values() if isinstance(row, dict) else row for row in rows)
    return not any(type(value) is bool for row in values for value in row)


def _dtype(column: Column, table: list[list[Any]], at: int) -> Any:  # noqa: ANN401  pandas takes names and None
    """The column's type; pandas infers where a value is missing, and strings are its own business."""
    if column.type in {"string", "binary", "complex", "datetime"} or any(row[at] is None for row in table):
        return "datetime64[ns]" if column.type == "datetime" else None
    return NUMPY_TYPES[column.type]


def _tensors(specs: tuple[TensorSpec, ...], rows: list[Any]) -> Payload:
    if not specs[0].name:
        return Tensor(array=_array(specs[0], rows))
    if len(specs) == 1 and not isinstance(rows[0], dict):
        return Tensors(arrays={specs[0].name: _array(specs[0], rows)})
    names = {spec.name for spec in specs}
    for at, row in enumerate(rows):
        if not isinstance(row, dict) or row.keys() != names:
            raise RequestError(Fault.INVALID, f"row {at} must be an object with exactly {_some(sorted(names))}")
    return Tensors(arrays={spec.name: _array(spec, [row[spec.name] for row in rows]) for spec in specs})


def _array(spec: TensorSpec, rows: list[Any]) -> np.ndarray:
    name = f"tensor {spec.name!r}" if spec.name else "the tensor"
    try:
        free = np.array(rows)
        with np.errstate(over="ignore", invalid="ignore"):  # looked at below, where it can be said in words
            array = free.astype(spec.dtype)
    except (TypeError, ValueError, OverflowError) as error:
        raise RequestError(
            Fault.INVALID, f"{name} must hold {spec.dtype} of shape {list(spec.shape)}: {error}"
        ) from error
    numeric = array.dtype.kind in "fiu"
    if numeric and free.dtype.kind not in ("fiu" if array.dtype.kind == "f" else "iu"):
        raise RequestError(Fault.INVALID, f"{name} must hold {spec.dtype}, not {free.dtype}")
    if numeric and (np.isinf(array) if array.dtype.kind == "f" else array != free).any():
        raise RequestError(Fault.INVALID, f"{name} has a number beyond the range of {spec.dtype}")
    if not spec.takes(array.shape):
        raise RequestError(Fault.INVALID, f"{name} has shape {list(array.shape)}; the model takes {list(spec.shape)}")
    return array


def _untyped(rows: list[Any]) -> Payload:
    """Without a signature: objects make a frame, arrays of numbers a tensor."""
    if all(isinstance(row, dict) for row in rows):
        import pandas as pd  # noqa: PLC0415

        check_density(rows)
        return Frame(frame=pd.DataFrame(rows))
    try:
        return Tensor(array=np.array(rows))
    except ValueError as error:
        raise RequestError(Fault.INVALID, f"'features' must have rows of one length: {error}") from error


def _some(names: Sequence[str]) -> str:
    """The first few names.

    >>> _some(["a", "b", "c", "d", "e", "f", "g"])
    "'a', 'b', 'c', 'd', 'e' and 2 more"
    """
    shown = ", ".join(map(repr, names[:5]))
    return f"{shown} and {len(names) - 5} more" if len(names) > 5 else shown  # noqa: PLR2004
