"""Inputs of many requests as Arrow columns ``feature_NAME``, typed by the model's signature.

Columns of a table become plain columns; an array becomes a list column with one flat list per row; an unnamed array
is ``feature_input``; any other body is kept as JSON in ``feature_input_json``, on its first row. A value that does not
fit its column's type (an invalid request is logged too) is null. Imported by the writing thread only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, assert_never

import numpy as np
import orjson
import pyarrow as pa

from mlflow_deploy_plugin.serving.request import Frame, Matrix, Payload, Raw, Tensor, Tensors
from mlflow_deploy_plugin.serving.signature import Column, Signature, TensorSpec
from mlflow_deploy_plugin.spec.events import FEATURE_PREFIX

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlflow_deploy_plugin.serving.events.redaction import Redaction

INPUT: Final = "input"
INPUT_JSON: Final = "input_json"

_ARROW_TYPES: Final = {
    "double": pa.float64(),
    "float": pa.float32(),
    "long": pa.int64(),
    "integer": pa.int32(),
    "boolean": pa.bool_(),
    "string": pa.string(),
    "binary": pa.binary(),
    "datetime": pa.timestamp("us"),
    "complex": pa.string(),
}

_MISFITS: Final = (pa.ArrowException, TypeError, ValueError, OverflowError)
"""What Arrow says of values that fit no column, or not the one that is asked for."""

Block = dict[str, Any]
"""Feature name to the values of one request: an array or a list, one element per row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureColumns:
    """Which features are kept, and as what."""

    types: dict[str, pa.DataType]
    """By the signature; a feature that it does not name is typed by its values."""
    redaction: Redaction

    @classmethod
    def of(cls, signature: Signature, redaction: Redaction) -> FeatureColumns:
        """The columns of a model; ``redaction`` names those that are left out or hashed."""
        typed = {(spec.name or INPUT): _type(spec) for spec in signature.inputs if spec.name or _is_tensor(spec)}
        kept = {name: kind for name, kind in typed.items() if name not in redaction.dropped}
        return cls(types=kept | dict.fromkeys(redaction.hashed & kept.keys(), pa.string()), redaction=redaction)

    def build(self, payloads: Sequence[Payload], rows: Sequence[int]) -> dict[str, pa.Array]:
        """All feature columns, ``sum(rows)`` long."""
        payloads, rows = _joined(payloads, rows)
        blocks = [self._block(payload) for payload in payloads]
        names = dict.fromkeys([*self.types, *(name for block in blocks for name in block)])
        return {FEATURE_PREFIX + name: self._column(name, blocks, rows) for name in names}

    def _block(self, payload: Payload) -> Block:
        block: Block
        match payload:
            case Matrix():
                block = {name: payload.values[:, i] for i, name in enumerate(payload.columns)}
            case Frame():
                frame = payload.frame
                block = {str(name): frame.iloc[:, i].to_numpy() for i, name in enumerate(frame.columns)}
            case Tensor():
                block = {INPUT: _flat_rows(payload.array)}
            case Tensors():
                block = {name: _flat_rows(array) for name, array in payload.arrays.items()}
            case Raw():
                # Redacted names could lie anywhere within; then none of it is kept.
                block = {} if self.redaction.is_any else {INPUT_JSON: [_json(payload.value)]}
            case _:
                assert_never(payload)
        hashed = {name: self.redaction.digests(block[name]) for name in self.redaction.hashed & block.keys()}
        return {name: values for name, values in block.items() if name not in self.redaction.dropped} | hashed

    def _column(self, name: str, blocks: Sequence[Block], counts: Sequence[int]) -> pa.Array:
        kind = self.types.get(name) or _inferred([block[name] for block in blocks if name in block])
        pieces = [_piece(block.get(name), count, kind) for block, count in zip(blocks, counts, strict=True)]
        return pa.chunked_array(pieces, type=kind)


def _joined(payloads: Sequence[Payload], rows: Sequence[int]) -> tuple[Sequence[Payload], Sequence[int]]:
    """Fewer payloads of the same rows, where they are arrays of one kind and shape: the quick path."""
    tables = [payload for payload in payloads if isinstance(payload, Matrix)]
    if len(tables) == len(payloads) and _are_alike([table.values for table in tables], rows):
        columns = tables[0].columns
        if all(table.columns is columns or table.columns == columns for table in tables):
            return [Matrix(columns=columns, values=_turned([table.values for table in tables]))], [sum(rows)]
    arrays = [payload.array for payload in payloads if isinstance(payload, Tensor)]
    if len(arrays) == len(payloads) and _are_alike(arrays, rows):
        return [Tensor(array=np.concatenate(arrays))], [sum(rows)]
    return payloads, rows


def _are_alike(arrays: Sequence[np.ndarray[Any, Any]], rows: Sequence[int]) -> bool:
    """Whether they have one type and one shape but for their rows, which are those that are said."""
    first = arrays[0]
    return first.ndim > 0 and all(
        array.dtype == first.dtype and array.shape[1:] == first.shape[1:] and len(array) == count
        for array, count in zip(arrays, rows, strict=True)
    )


def _turned(matrices: Sequence[np.ndarray[Any, Any]]) -> np.ndarray[Any, Any]:
    """The rows of all, each column of which lies in one place as Arrow takes it without a copy."""
    first = matrices[0]
    turned = np.empty((sum(map(len, matrices)), first.shape[1]), dtype=first.dtype, order="F")
    return np.concatenate(matrices, out=turned)


def _is_tensor(spec: Column | TensorSpec) -> bool:
    return isinstance(spec, TensorSpec)


def _type(spec: Column | TensorSpec) -> pa.DataType:
    if isinstance(spec, Column):
        return _ARROW_TYPES[spec.type]
    kind = np.dtype(spec.dtype)
    if kind == np.float16:
        kind = np.dtype(np.float32)  # few readers of Parquet know halves
    element = pa.string() if kind.kind in "OUS" else pa.from_numpy_dtype(kind)
    return element if len(spec.shape) == 1 else pa.list_(element)


def _flat_rows(array: np.ndarray[Any, Any]) -> Any:  # noqa: ANN401
    """One flat row per row; numbers one per row stay as they are."""
    if array.ndim <= 1:
        return np.atleast_1d(array)
    return array.reshape(len(array), -1) if array.size else [[] for _ in array]


def _inferred(values: Sequence[Any]) -> pa.DataType:
    """What the first values are that are anything; text, which takes all, where they are of several kinds."""
    for block in values:
        try:
            kind = _array(block, None).type
        except _MISFITS:
            return pa.string()
        if not pa.types.is_null(kind):
            return kind
    return pa.string()


def _piece(values: Any, count: int, kind: pa.DataType) -> pa.Array:  # noqa: ANN401
    if values is None or len(values) > count:
        return pa.nulls(count, kind)
    try:
        array = _array(values, kind)
    except _MISFITS:
        array = pa.array([_cell(value, kind) for value in values], kind)
    return array if len(array) == count else pa.concat_arrays([array, pa.nulls(count - len(array), kind)])


def _array(values: Any, kind: pa.DataType | None) -> pa.Array:  # noqa: ANN401
    if kind is not None and pa.types.is_string(kind) and not isinstance(values, np.ndarray):
        return pa.array([_text(value) for value in values], kind)
    if isinstance(values, np.ndarray) and values.ndim == 2:  # noqa: PLR2004  rows and their flat values
        return _lists(values, kind)
    if kind is not None and isinstance(values, np.ndarray) and values.dtype.kind in "fiub":
        array = pa.array(values, from_pandas=values.dtype.kind == "f" and bool(np.isnan(values).any()))
        return array if array.type == kind else array.cast(kind)
    if kind is not None and pa.types.is_timestamp(kind) and getattr(values, "dtype", None) is not None:
        return pa.array(values, from_pandas=True).cast(kind, safe=False)  # nanoseconds are cut off, and no hole
    return pa.array(values, kind, from_pandas=True)


def _lists(values: np.ndarray[Any, Any], kind: pa.DataType | None) -> pa.Array:
    flat = _array(values.reshape(-1), kind.value_type if kind is not None and pa.types.is_list(kind) else None)
    lists = pa.ListArray.from_arrays(pa.array(np.arange(len(values) + 1, dtype=np.int32) * values.shape[1]), flat)
    return lists if kind is None else lists.cast(kind)


def _cell(value: Any, kind: pa.DataType) -> Any:  # noqa: ANN401
    """One value where it fits, else null."""
    try:
        return pa.scalar(_text(value) if pa.types.is_string(kind) else value, kind).as_py()
    except _MISFITS:
        return None


def _text(value: Any) -> str | None:  # noqa: ANN401
    if value is None or isinstance(value, str):
        return value
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else _json(value)


def _json(value: Any) -> str:  # noqa: ANN401
    option = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS
    return orjson.dumps(value, default=_plain, option=option).decode()


def _plain(value: Any) -> Any:  # noqa: ANN401
    return value.tolist() if hasattr(value, "tolist") else str(value)
