"""Tensors of the Open Inference Protocol on the wire, as JSON and as bytes. Pure.

All datatypes: https://github.com/open-inference/open-inference-protocol, and BF16 of Triton, which NumPy lacks and
which is widened to float32. Binary data is little-endian and row-major; BYTES are elements with a length of four bytes
before each.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import orjson

from mlflow_deploy_plugin.serving import json_text
from mlflow_deploy_plugin.serving.codecs.json_body import json_type
from mlflow_deploy_plugin.serving.codecs.packing import floats, may_hide_booleans
from mlflow_deploy_plugin.serving.faults import Fault, RequestError

if TYPE_CHECKING:
    Array = np.ndarray[Any, np.dtype[Any]]

NUMPY: Final = {
    "BOOL": np.dtype("bool"),
    "UINT8": np.dtype("<u1"),
    "UINT16": np.dtype("<u2"),
    "UINT32": np.dtype("<u4"),
    "UINT64": np.dtype("<u8"),
    "INT8": np.dtype("<i1"),
    "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "FP16": np.dtype("<f2"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
    "BYTES": np.dtype("object"),
    "BF16": np.dtype("<u2"),  # its bits; widened below
}
"""By datatype; BF16 by its bits."""

_DATATYPES: Final = {dtype: name for name, dtype in NUMPY.items() if name != "BF16"}
_JSON_TYPES: Final[dict[str, set[type]]] = {"b": {bool}, "i": {int}, "u": {int}, "f": {int, float, type(None)}}
"""By NumPy kind. A null is a missing number, since JSON has no NaN."""

MAX_DIMENSIONS: Final = 32


def datatype_of(dtype: np.dtype[Any]) -> str:
    """The protocol's name of a NumPy type; text, times and objects are BYTES.

    >>> datatype_of(np.dtype("float32")), datatype_of(np.dtype("<U3"))
    ('FP32', 'BYTES')
    """
    return _DATATYPES.get(dtype.newbyteorder("<"), "BYTES")


def element_count(shape: Any, name: str) -> int:  # noqa: ANN401  any JSON value
    """Elements of a tensor of ``shape``.

    Raises:
        RequestError: MALFORMED.
    """
    if type(shape) is list and len(shape) <= MAX_DIMENSIONS:
        count = 1
        for size in shape:
            if type(size) is not int or size < 1:
                break
            count *= size
        else:
            return count
    found = repr(shape)[:60]
    raise RequestError(Fault.MALFORMED, f"shape of {name!r} must be an array of sizes of at least 1, not {found}")


def from_json(data: Any, datatype: str, shape: list[int], name: str) -> Array:  # noqa: ANN401
    """The tensor of a JSON array, flat or nested.

    Raises:
        RequestError: MALFORMED; numbers are no booleans and no text, and none is rounded to a whole one.
    """
    count = element_count(shape, name)
    if not isinstance(data, list):
        raise RequestError(Fault.MALFORMED, f"data of {name!r} must be an array, not {json_type(data)}")
    values = data if len(shape) <= 1 or not data or not isinstance(data[0], list) else _flat(data)
    if len(values) != count:
        raise RequestError(
            Fault.MALFORMED, f"data of {name!r} has {len(values)} elements; its shape {shape} has {count}"
        )
    if datatype == "BYTES":
        return _texts(values, name).reshape(shape)
    if datatype == "BF16":
        return _numbers(values, np.dtype("float32"), datatype, name).reshape(shape)
    return _numbers(values, NUMPY[datatype], datatype, name).reshape(shape)


def from_bytes(data: bytes, datatype: str, shape: list[int], name: str) -> Array:
    """The tensor of binary data.

    Raises:
        RequestError: MALFORMED; the size does not fit the shape.
    """
    count = element_count(shape, name)
    if datatype == "BYTES":
        return _read_elements(data, count, name).reshape(shape)
    dtype = NUMPY[datatype]
    if len(data) != count * dtype.itemsize:
        raise RequestError(
            Fault.MALFORMED, f"{name!r} has {len(data)} bytes; {datatype} of shape {shape} has {count * dtype.itemsize}"
        )
    array = np.frombuffer(data, dtype=dtype)
    if datatype == "BF16":
        array = widened(array)
    elif datatype == "BOOL":
        array = np.frombuffer(data, dtype=np.uint8) != 0  # any other byte would be a boolean that is neither
    return array.reshape(shape)


def widened(bits: Array) -> Array:
    """Numbers of bfloat16, given by their 16 bits, as float32, which holds each of them.

    >>> widened(np.array([0x3FC0], dtype="<u2"))
    array([1.5], dtype=float32)
    """
    array: Array = (bits.astype(np.uint32) << 16).view(np.float32)
    return array


def to_json(array: Array) -> Any:  # noqa: ANN401
    """The elements as a flat list that orjson writes; NaN and infinity become null."""
    if array.dtype.kind in "biuf":
        flat = np.ascontiguousarray(array).reshape(-1)
        return flat.astype(np.float32) if flat.dtype == np.float16 else flat
    return [_text(value) for value in _elements(array)]


def to_bytes(array: Array) -> bytes:
    """The elements as binary data."""
    if array.dtype.kind in "biuf":
        return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")).tobytes()
    return b"".join(part for element in to_bytes_list(array) for part in (struct.pack("<I", len(element)), element))


def to_bytes_list(array: Array) -> list[bytes]:
    """The elements of a tensor of BYTES."""
    return [_bytes(value) for value in _elements(array)]


def _elements(array: Array) -> list[Any]:
    """Elements as Python has them; NumPy would give moments as numbers."""
    flat: list[Any] = (array.astype(str) if array.dtype.kind in "mM" else array).reshape(-1).tolist()
    return flat


def _flat(data: list[Any]) -> list[Any]:
    flat: list[Any] = []
    levels = [iter(data)]
    while levels:  # not by recursion: a client decides how deep it goes
        for value in levels[-1]:
            if isinstance(value, list):
                levels.append(iter(value))
                break
            flat.append(value)
        else:
            levels.pop()
    return flat


def _numbers(values: list[Any], dtype: np.dtype[Any], datatype: str, name: str) -> Array:
    array = floats(values, dtype) if dtype.kind == "f" else None
    if array is not None and not (may_hide_booleans(array) and bool in set(map(type, values))):
        return _finite(array, datatype, name)
    allowed = _JSON_TYPES[dtype.kind]
    if not set(map(type, values)) <= allowed:
        wrong = next(value for value in values if type(value) not in allowed)
        raise RequestError(Fault.MALFORMED, f"data of {name!r} must be {datatype}, and has {repr(wrong)[:40]}")
    try:
        with np.errstate(over="ignore"):
            array = np.array(values, dtype=dtype)
    except (OverflowError, ValueError) as error:
        raise RequestError(Fault.MALFORMED, f"data of {name!r} does not fit {datatype}: {error}") from error
    return _finite(array, datatype, name) if dtype.kind == "f" else array


def _finite(array: Array, datatype: str, name: str) -> Array:
    if np.isinf(array).any():  # JSON cannot have said infinity
        raise RequestError(Fault.MALFORMED, f"data of {name!r} has a number beyond the range of {datatype}")
    return array


def _texts(values: list[Any], name: str) -> Array:
    if not set(map(type, values)) <= {str}:
        wrong = next(value for value in values if type(value) is not str)
        raise RequestError(Fault.MALFORMED, f"data of {name!r} must be strings, and has {json_type(wrong)}")
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def _read_elements(data: bytes, count: int, name: str) -> Array:
    if count * 4 > len(data):
        raise RequestError(Fault.MALFORMED, f"{name!r} has {len(data)} bytes, too few for {count} elements of BYTES")
    array = np.empty(count, dtype=object)
    offset = 0
    for index in range(count):
        end = offset + 4
        size = int.from_bytes(data[offset:end], "little")
        if end > len(data) or end + size > len(data):
            raise RequestError(Fault.MALFORMED, f"element {index} of {name!r} reaches beyond its {len(data)} bytes")
        array[index] = data[end : end + size]
        offset = end + size
    if offset != len(data):
        raise RequestError(Fault.MALFORMED, f"{name!r} has {len(data) - offset} bytes after its last element")
    return array


def _text(value: Any) -> str:  # noqa: ANN401
    return value if isinstance(value, str) else _bytes(value).decode("utf-8", "replace")


def _bytes(value: Any) -> bytes:  # noqa: ANN401
    if isinstance(value, bytes):
        return value
    return value.encode() if isinstance(value, str) else json_text.dumps(value)


def dumps(document: Any) -> bytes:  # noqa: ANN401
    """JSON with arrays within."""
    return orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)
