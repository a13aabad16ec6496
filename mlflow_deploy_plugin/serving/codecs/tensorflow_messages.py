"""Messages of TensorFlow and TensorFlow Serving, as far as prediction needs them, and tensors within them. Pure.

After https://github.com/tensorflow/serving/tree/master/tensorflow_serving/apis and
https://github.com/tensorflow/tensorflow/tree/master/tensorflow/core/framework. All in one package, since the package of
a message is not on the wire; ``Any`` and ``Int64Value`` are Google's own by the same right.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from mlflow_deploy_plugin.serving.codecs.oip_tensors import MAX_DIMENSIONS, to_bytes_list, widened
from mlflow_deploy_plugin.serving.codecs.protobuf import Fields, message_types, numbers, refuse_many
from mlflow_deploy_plugin.serving.faults import Fault, RequestError

if TYPE_CHECKING:
    from collections.abc import Mapping

    Array = np.ndarray[Any, np.dtype[Any]]

TABLE: Final[dict[str, Fields]] = {
    "Int64Value": {"value": "1 int64"},
    "Any": {"type_url": "1 string", "value": "2 bytes"},
    "Dim": {"size": "1 int64", "name": "2 string"},
    "TensorShapeProto": {"dim": "2 repeated Dim", "unknown_rank": "3 bool"},
    "TensorProto": {
        "dtype": "1 int32",
        "tensor_shape": "2 TensorShapeProto",
        "version_number": "3 int32",
        "tensor_content": "4 bytes",
        "float_val": "5 repeated float",
        "double_val": "6 repeated double",
        "int_val": "7 repeated int32",
        "string_val": "8 repeated bytes",
        "int64_val": "10 repeated int64",
        "bool_val": "11 repeated bool",
        "half_val": "13 repeated int32",
        "uint32_val": "16 repeated uint32",
        "uint64_val": "17 repeated uint64",
    },
    "ModelSpec": {
        "name": "1 string",
        "version": "2 Int64Value version_choice",
        "signature_name": "3 string",
        "version_label": "4 string version_choice",
    },
    "PredictRequest": {
        "model_spec": "1 ModelSpec",
        "inputs": "2 map TensorProto",
        "output_filter": "3 repeated string",
    },
    "PredictResponse": {"outputs": "1 map TensorProto", "model_spec": "2 ModelSpec"},
    "GetModelMetadataRequest": {"model_spec": "1 ModelSpec", "metadata_field": "2 repeated string"},
    "GetModelMetadataResponse": {"model_spec": "1 ModelSpec", "metadata": "2 map Any"},
    "TensorInfo": {"name": "1 string encoding", "dtype": "2 int32", "tensor_shape": "3 TensorShapeProto"},
    "SignatureDef": {"inputs": "1 map TensorInfo", "outputs": "2 map TensorInfo", "method_name": "3 string"},
    "SignatureDefMap": {"signature_def": "1 map SignatureDef"},
    "GetModelStatusRequest": {"model_spec": "1 ModelSpec"},
    "StatusProto": {"error_code": "1 int32", "error_message": "2 string"},
    "ModelVersionStatus": {"version": "1 int64", "state": "2 int32", "status": "3 StatusProto"},
    "GetModelStatusResponse": {"model_version_status": "1 repeated ModelVersionStatus"},
}

MESSAGES: Final = message_types("tensorflow.serving", TABLE)

_TYPES: Final[dict[str, tuple[int, str, str]]] = {
    "DT_FLOAT": (1, "<f4", "float_val"),
    "DT_DOUBLE": (2, "<f8", "double_val"),
    "DT_INT32": (3, "<i4", "int_val"),
    "DT_UINT8": (4, "|u1", "int_val"),
    "DT_INT16": (5, "<i2", "int_val"),
    "DT_INT8": (6, "|i1", "int_val"),
    "DT_STRING": (7, "|O", "string_val"),
    "DT_INT64": (9, "<i8", "int64_val"),
    "DT_BOOL": (10, "|b1", "bool_val"),
    "DT_BFLOAT16": (14, "<u2", "half_val"),  # its bits, which are widened to float32
    "DT_UINT16": (17, "<u2", "int_val"),
    "DT_HALF": (19, "<f2", "half_val"),
    "DT_UINT32": (22, "<u4", "uint32_val"),
    "DT_UINT64": (23, "<u8", "uint64_val"),
}
"""Number of ``DataType``, NumPy's type, and where the elements lie."""

_BITS: Final = ("DT_HALF", "DT_BFLOAT16")
NUMBERS: Final = {name: number for name, (number, _, _) in _TYPES.items()}
_READ: Final = {number: (name, np.dtype(kind), field) for name, (number, kind, field) in _TYPES.items()}
_WRITE: Final = {
    np.dtype(kind): (number, field)
    for label, (number, kind, field) in _TYPES.items()
    if label not in {"DT_STRING", "DT_BFLOAT16"}
}
_STRING: Final = _TYPES["DT_STRING"]

MAX_REPEATED: Final = 1 << 20
"""Elements that a request may leave out by repeating its last one: a few bytes must not ask for gigabytes."""


def to_arrays(tensors: Mapping[str, Any], *, max_values: int) -> dict[str, Array]:
    """The array of each ``TensorProto``, of at most ``max_values`` elements in the fields of their types.

    Raises:
        RequestError: MALFORMED or TOO_LARGE.
    """
    arrays: dict[str, Array] = {}
    given = 0
    for name, tensor in tensors.items():
        if tensor.dtype in _READ and not tensor.tensor_content:
            given += len(getattr(tensor, _READ[tensor.dtype][2]))
            refuse_many(given, at_most=max_values, otherwise="tensor_content")
        arrays[name] = to_array(tensor, name)
    return arrays


def to_array(tensor: Any, name: str) -> Array:  # noqa: ANN401  a TensorProto
    """The array of a ``TensorProto``.

    Raises:
        RequestError: MALFORMED; its type, its shape or its elements do not fit each other.
    """
    if tensor.dtype not in _READ:
        raise RequestError(Fault.MALFORMED, f"input {name!r} has data type {tensor.dtype}; known: {', '.join(_TYPES)}")
    label, dtype, field = _READ[tensor.dtype]
    shape, count = _shape(tensor, name)
    if tensor.tensor_content:
        return _from_content(tensor.tensor_content, label, dtype, count, name).reshape(shape)
    values = getattr(tensor, field)
    if len(values) > count or (len(values) < count and (not values or count > MAX_REPEATED)):
        raise RequestError(
            Fault.MALFORMED, f"{field} of input {name!r} has {len(values)} elements; its shape {shape} has {count}"
        )
    array = _from_values(values, label, dtype, name)
    padded = np.pad(array, (0, count - len(array)), "edge") if len(array) < count else array
    return padded.reshape(shape)


def fill(tensor: Any, array: Array) -> None:  # noqa: ANN401  a TensorProto
    """Write an array into a ``TensorProto``, its elements in the field of their type, as TensorFlow Serving does.

    Raises:
        TypeError: an element is none that JSON or bytes can say.
        ValueError: the same.
    """
    number, field = _WRITE.get(array.dtype.newbyteorder("<"), (_STRING[0], _STRING[2]))
    tensor.dtype = number
    for size in array.shape:
        tensor.tensor_shape.dim.add(size=size)
    if field == "string_val":
        tensor.string_val.extend(to_bytes_list(array))
    else:
        bits = array.astype("<f2").view("<u2") if field == "half_val" else array
        getattr(tensor, field).extend(bits.reshape(-1).tolist())


def _shape(tensor: Any, name: str) -> tuple[list[int], int]:  # noqa: ANN401
    shape = [dim.size for dim in tensor.tensor_shape.dim[: MAX_DIMENSIONS + 1]]  # one too many is refused
    if tensor.tensor_shape.unknown_rank or len(shape) > MAX_DIMENSIONS or any(size < 1 for size in shape):
        raise RequestError(
            Fault.MALFORMED, f"input {name!r} must have a shape of sizes of at least 1, not {str(shape)[:60]}"
        )
    return shape, math.prod(shape)


def _from_content(content: bytes, label: str, dtype: np.dtype[Any], count: int, name: str) -> Array:
    if dtype.kind == "O":
        raise RequestError(Fault.MALFORMED, f"text of input {name!r} travels in string_val, not in tensor_content")
    if len(content) != count * dtype.itemsize:
        raise RequestError(
            Fault.MALFORMED,
            f"tensor_content of input {name!r} has {len(content)} bytes; {label} of its shape has"
            f" {count * dtype.itemsize}",
        )
    array: Array = np.frombuffer(content, dtype=np.uint8 if dtype.kind == "b" else dtype)
    if dtype.kind == "b":
        return np.not_equal(array, 0)
    return widened(array) if label == "DT_BFLOAT16" else array


def _from_values(values: Any, label: str, dtype: np.dtype[Any], name: str) -> Array:  # noqa: ANN401
    if dtype.kind == "O":
        elements = np.empty(len(values), dtype=object)
        elements[:] = list(values)
        return elements
    try:
        bits = numbers(values, np.dtype(np.uint16) if label in _BITS else dtype)
    except OverflowError as error:
        raise RequestError(Fault.MALFORMED, f"elements of input {name!r} do not fit {label}: {error}") from error
    if label == "DT_BFLOAT16":
        return widened(bits)
    return bits.view(np.float16) if label == "DT_HALF" else bits


def signature(definition: Mapping[str, Any]) -> Any:  # noqa: ANN401  a SignatureDef
    """The ``SignatureDef`` of its form in JSON."""
    message = MESSAGES["SignatureDef"](method_name=definition["method_name"])
    for side in ("inputs", "outputs"):
        for key, described in definition[side].items():
            info = getattr(message, side)[key]
            info.name, info.dtype = described["name"], NUMBERS[described["dtype"]]
            for dim in described["tensor_shape"]["dim"]:
                info.tensor_shape.dim.add(size=int(dim["size"]))
    return message
