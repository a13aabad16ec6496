"""Foreign values as what strict JSON can say.

numpy and pandas values come in by what callers and models hand over; neither package is imported here, since their
values answer to ``tolist``, ``item`` and ``isoformat`` by themselves.
"""

import base64
import json
import math
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, Protocol, runtime_checkable
from uuid import UUID

from mlflow_deploy_plugin.errors import ModelError

Plain = Any
"""``None``, ``bool``, ``int``, ``float`` (finite), ``str``, or a list or dict of such."""


@runtime_checkable
class _Listing(Protocol):
    def tolist(self) -> object: ...


@runtime_checkable
class _Moment(Protocol):
    def isoformat(self) -> str: ...


def to_plain(value: object) -> Plain:  # noqa: PLR0911  one return a type
    """``value`` without foreign types: NaN, NaT and infinities become ``None``, moments ISO 8601, bytes base64.

    Raises:
        ModelError: a value of a type that JSON cannot say.

    >>> to_plain({"a": (1, float("nan")), "b": b"x"})
    {'a': [1, None], 'b': 'eA=='}
    """
    match value:
        case None | bool() | str():
            return value
        case int():
            return int(value)
        case float():
            return float(value) if math.isfinite(value) else None
        case Mapping():
            return {str(key): to_plain(item) for key, item in value.items()}
        case list() | tuple() | set() | frozenset():
            return [to_plain(item) for item in value]
        case bytes() | bytearray() | memoryview():
            return base64.b64encode(bytes(value)).decode()
        case Decimal() | UUID():
            return str(value)
        case _:
            return _foreign(value)


def _foreign(value: object) -> Plain:
    if type(value).__name__ in {"NaTType", "NAType"}:  # pandas' missing values are singletons of these classes
        return None
    if type(value).__name__ == "datetime64":  # numpy's tolist gives an integer for nanoseconds
        return None if str(value) == "NaT" else str(value)
    if isinstance(value, _Moment):
        return value.isoformat()
    if isinstance(value, _Listing):
        return to_plain(_listed(value))
    if isinstance(value, Iterable):
        return [to_plain(item) for item in value]
    raise ModelError(f"a value of type {type(value).__name__} cannot be said in JSON; convert it to numbers or text")


def _listed(value: _Listing) -> object:
    dtype = str(getattr(value, "dtype", ""))
    if dtype.startswith("datetime64") and hasattr(value, "astype"):
        return [None if text == "NaT" else text for text in value.astype(str).tolist()]
    return value.tolist()


def strict_json(value: object) -> str:
    """Strict JSON of ``value``, on one line, non-ASCII text as it is.

    >>> strict_json({"predictions": [1.5, float("nan"), "é"]})
    '{"predictions": [1.5, null, "é"]}'
    """
    return json.dumps(to_plain(value), ensure_ascii=False, allow_nan=False)
