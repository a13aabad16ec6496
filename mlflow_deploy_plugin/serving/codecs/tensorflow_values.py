"""JSON values of TensorFlow Serving's REST API to arrays and back. Pure."""

from __future__ import annotations

import base64
import binascii
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from mlflow_deploy_plugin.serving import json_text
from mlflow_deploy_plugin.serving.codecs.arrays import fit
from mlflow_deploy_plugin.serving.codecs.json_body import json_type
from mlflow_deploy_plugin.serving.faults import Fault, RequestError

if TYPE_CHECKING:
    from collections.abc import Mapping

    Array = np.ndarray[Any, np.dtype[Any]]


def loads(body: bytes) -> dict[str, Any]:
    """The JSON object of a body, where ``NaN`` and ``Infinity`` may stand for numbers.

    Raises:
        RequestError: MALFORMED.
    """
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        document = _loads_tolerant(body)
    if not isinstance(document, dict):
        raise RequestError(Fault.MALFORMED, f"the body must be a JSON object, not {json_type(document)}")
    return document


def _loads_tolerant(body: bytes) -> Any:  # noqa: ANN401
    try:
        document = json.loads(body.decode())  # of bytes json would guess the encoding, and let halves of pairs through
        json.dumps(document, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise RequestError(Fault.MALFORMED, f"the body is not JSON: {error}") from error
    return document


def dumps(document: Any) -> bytes:  # noqa: ANN401
    """JSON, with ``NaN`` and ``Infinity`` where they occur, as TensorFlow Serving writes them."""
    if _is_finite(document):
        return orjson.dumps(document, option=orjson.OPT_NON_STR_KEYS)
    return json.dumps(document).encode()


def _is_finite(document: Any) -> bool:  # noqa: ANN401
    """Whether no number within is NaN or infinite; quick for the nested lists that answers are."""
    if isinstance(document, dict):
        return all(map(_is_finite, document.values()))
    if isinstance(document, list):
        return all(map(_is_finite, document))
    return not isinstance(document, float) or document - document == 0.0


def is_named(value: Any) -> bool:  # noqa: ANN401
    """Whether a value is an object of names, and not the encoding of bytes."""
    return isinstance(value, dict) and value.keys() != {"b64"}


def to_array(value: Any, dtype: np.dtype[Any] | None, name: str) -> Array:  # noqa: ANN401
    """The tensor of a nested list in the model's type; ``dtype`` None: in the type that the values have.

    Raises:
        RequestError: INVALID.
    """
    try:
        array = np.array(value)
    except ValueError as error:
        raise RequestError(Fault.INVALID, f"input {name!r} must have rows of one shape") from error
    if array.dtype.kind in "OUS":  # as objects: NumPy makes text of a number that stands beside text
        return _decoded(np.array(value, dtype=object), dtype, name)
    if dtype is None or array.dtype == dtype:
        return array
    if dtype.kind == "f" and array.dtype.kind == "f":  # JSON has one kind of float: the model's precision is meant
        return _rounded(array, dtype, name)
    return fit(array, dtype, name)


def _rounded(array: Array, dtype: np.dtype[Any], name: str) -> Array:
    with np.errstate(over="ignore"):
        cast = array.astype(dtype)
    if (np.isinf(cast) & np.isfinite(array)).any():
        raise RequestError(Fault.INVALID, f"input {name!r} has a number beyond the range of {dtype}")
    return cast


def _decoded(array: Array, dtype: np.dtype[Any] | None, name: str) -> Array:
    flat = [_element(value, name) for value in array.reshape(-1).tolist()]
    if any(not isinstance(value, (str, bytes)) for value in flat):
        what = next(value for value in flat if not isinstance(value, (str, bytes)))
        wanted = "values of one type" if dtype is None else f"{'text' if dtype.kind in 'OUS' else dtype} alone"
        raise RequestError(Fault.INVALID, f"input {name!r} must hold {wanted}, and has {json_type(what)}")
    decoded = np.empty(len(flat), dtype=object)
    decoded[:] = flat
    return decoded.reshape(array.shape)


def _element(value: Any, name: str) -> Any:  # noqa: ANN401
    if not isinstance(value, dict) or value.keys() != {"b64"}:
        return value
    try:
        return base64.b64decode(value["b64"], validate=True)
    except (binascii.Error, ValueError, TypeError) as error:
        raise RequestError(Fault.INVALID, f"input {name!r} has a 'b64' that is no base64 text") from error


def rows(arrays: Mapping[str, Array]) -> list[Any]:
    """The row format: values of the only output, or objects of all outputs.

    Raises:
        ValueError: the outputs have different numbers of rows.
    """
    plain = {name: _plain(name, array) for name, array in arrays.items()}
    if len(plain) == 1:
        return next(iter(plain.values()))
    return [dict(zip(plain, row, strict=True)) for row in zip(*plain.values(), strict=True)]


def columns(arrays: Mapping[str, Array]) -> Any:  # noqa: ANN401
    """The column format: the only output, or an object of all."""
    plain = {name: _plain(name, array) for name, array in arrays.items()}
    return next(iter(plain.values())) if len(plain) == 1 else plain


def regressions(arrays: Mapping[str, Array]) -> list[Any]:
    """One number per row.

    Raises:
        RequestError: INVALID; the model gives something else.
    """
    array = next(iter(arrays.values()))
    if len(arrays) != 1 or array.dtype.kind not in "iuf" or array.size != len(array):
        raise RequestError(Fault.INVALID, "this model does not give one number per row; use ':predict'")
    numbers: list[Any] = array.reshape(-1).tolist()
    return numbers


def _plain(name: str, array: Array) -> list[Any]:
    """Nested lists; text of outputs whose name ends in ``_bytes`` as base64."""
    if array.dtype.kind in "biuf":
        numbers: list[Any] = array.tolist()
        return numbers
    texts = array.astype(str) if array.dtype.kind in "mM" else array
    flat = [_said(value, is_binary=name.endswith("_bytes")) for value in texts.reshape(-1).tolist()]
    said = np.empty(len(flat), dtype=object)
    said[:] = flat
    nested: list[Any] = said.reshape(array.shape).tolist()
    return nested


def _said(value: Any, *, is_binary: bool) -> Any:  # noqa: ANN401
    if isinstance(value, str) and is_binary:
        value = value.encode()
    if not isinstance(value, bytes):
        return value if isinstance(value, (str, int, float, bool, type(None))) else json.loads(json_text.dumps(value))
    if not is_binary:
        try:
            return value.decode()
        except UnicodeDecodeError:
            pass  # not text: base64 is the only way to say it
    return {"b64": base64.b64encode(value).decode()}
