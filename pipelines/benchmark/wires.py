"""How one row is asked for in each protocol, and how an answer is read. Pure: bytes in, bytes out.

>>> PLAIN.read(PLAIN.sent(np.array([1.0, 2.0])).body.replace(b"features", b"prediction")).tolist()
[1.0, 2.0]
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import orjson
from numpy.typing import NDArray

Row = NDArray[Any]  # (features,)
Format = Literal["json", "binary"]

MODEL: Final = "bench"
"""Name of the model, the endpoint and the deployment of every subject."""

_JSON: Final = {"content-type": "application/json"}
_HEADER_LENGTH: Final = "inference-header-content-length"
_DATATYPES: Final = {"float64": "FP64", "float32": "FP32"}
_NUMPY: Final = {"FP64": "<f8", "FP32": "<f4", "INT64": "<i8", "INT32": "<i4"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """One request but for its address."""

    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Wire:
    """One protocol, for rows of one work."""

    name: str
    path: str
    sent: Callable[[Row], Sent]
    read: Callable[[bytes], NDArray[Any]]
    """The answer to one row, flat; raises ``ValueError``, ``KeyError`` or ``TypeError`` for what is no answer."""


def column_names(count: int) -> list[str]:
    """Names of the columns of a table.

    >>> column_names(2)
    ['x0', 'x1']
    """
    return [f"x{index}" for index in range(count)]


def _as_json(document: Any) -> Sent:  # noqa: ANN401  any JSON value
    return Sent(headers=_JSON, body=orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY))


def _member(name: str) -> Callable[[bytes], NDArray[Any]]:
    return lambda body: np.asarray(orjson.loads(body)[name], dtype=float).ravel()


PLAIN: Final = Wire(
    name="plain JSON",
    path="/predict",
    sent=lambda row: _as_json({"features": [row]}),
    read=_member("prediction"),
)
"""What a server written by hand takes."""

MLFLOW_TABLE: Final = Wire(
    name="MLflow scoring",
    path="/invocations",
    sent=lambda row: _as_json({"dataframe_split": {"columns": column_names(len(row)), "data": [row]}}),
    read=_member("predictions"),
)

MLFLOW_TENSOR: Final = Wire(
    name="MLflow scoring",
    path="/invocations",
    sent=lambda row: _as_json({"inputs": [row]}),
    read=_member("predictions"),
)

TORCHSERVE: Final = Wire(
    name="TorchServe",
    path=f"/predictions/{MODEL}",
    sent=lambda row: _as_json({"features": row}),
    read=lambda body: np.asarray(orjson.loads(body), dtype=float).ravel(),
)


def _oip_json(row: Row) -> Sent:
    datatype = _DATATYPES[row.dtype.name]
    tensor = {"name": "input", "shape": [1, len(row)], "datatype": datatype, "data": row}
    return _as_json({"inputs": [tensor]})


def _oip_binary(row: Row) -> Sent:
    data = row.tobytes()
    parameters = {"binary_data_size": len(data)}
    tensor = {"name": "input", "shape": [1, len(row)], "datatype": _DATATYPES[row.dtype.name], "parameters": parameters}
    head = orjson.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}})
    headers = {"content-type": "application/octet-stream", _HEADER_LENGTH: str(len(head))}
    return Sent(headers=headers, body=head + data)


def _read_oip(body: bytes) -> NDArray[Any]:
    return np.asarray(orjson.loads(body)["outputs"][0]["data"], dtype=float).ravel()


def _read_oip_binary(body: bytes) -> NDArray[Any]:
    """The head's length is in a response header that nobody hands over; the data's is in the head, and it ends there.

    A head is JSON, so the first place where it parses whole is its end.
    """
    for end in (index + 1 for index, byte in enumerate(body) if byte == ord("}")):
        try:
            output = orjson.loads(body[:end])["outputs"][0]
        except orjson.JSONDecodeError:
            continue
        size = output["parameters"]["binary_data_size"]
        return np.frombuffer(body[end : end + size], dtype=_NUMPY[output["datatype"]]).astype(float)
    raise ValueError("no head of a binary answer")


OIP_JSON: Final = Wire(name="Open Inference Protocol", path=f"/v2/models/{MODEL}/infer", sent=_oip_json, read=_read_oip)
OIP_BINARY: Final = Wire(
    name="Open Inference Protocol, binary", path=f"/v2/models/{MODEL}/infer", sent=_oip_binary, read=_read_oip_binary
)
