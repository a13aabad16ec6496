"""Checks one JSON value against one field of the signature, strictly, and says what is wrong in a client's words. Pure.

Strict means: what JSON says is what the model gets. A number is no string, a boolean is no number, 1.5 is no whole
number; 3.0 is one, because JavaScript writes 3 so or so.
"""

from __future__ import annotations

import base64
import binascii
import math
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from mlflow_deploy_plugin.errors import ModelserveError
from mlflow_deploy_plugin.serving.codecs.json_body import json_type

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlflow_deploy_plugin.serving.signature import Column


YEARS: Final = range(1678, 2262)
"""Whole years that 64 bits of nanoseconds reach; NumPy and pandas hold a model's times so."""


class FieldError(ModelserveError):
    """A value does not fit its field; the message says what was wanted and what came."""


def check(column: Column, value: Any) -> Any:  # noqa: ANN401  any JSON value
    """The value as the model's column holds it.

    Raises:
        FieldError: it does not fit.
    """
    if value is None:
        if column.is_required and column.type != "complex":
            raise FieldError(f"must be {WANTED[column.type]}, not null")
        return None
    return _CHECKS[column.type](value)


def _number(value: Any) -> float:  # noqa: ANN401
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise FieldError(f"must be a number, not {json_type(value)}")
    number = float(value)
    if not math.isfinite(number):
        raise FieldError("must be a finite number")
    return number


def _whole(bits: int) -> Callable[[Any], int]:
    def check_whole(value: Any) -> int:  # noqa: ANN401
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise FieldError(f"must be a whole number, not {json_type(value)}")
        if not math.isfinite(value) or value != int(value):
            raise FieldError(f"must be a whole number, not {value}")
        if not -(2 ** (bits - 1)) <= value < 2 ** (bits - 1):
            raise FieldError(f"must fit in {bits} bits")
        return int(value)

    return check_whole


def _boolean(value: Any) -> bool:  # noqa: ANN401
    if isinstance(value, bool):
        return value
    raise FieldError(f"must be true or false, not {json_type(value)}")


def _string(value: Any) -> str:  # noqa: ANN401
    if isinstance(value, str):
        return value
    raise FieldError(f"must be a string, not {json_type(value)}")


def _binary(value: Any) -> bytes:  # noqa: ANN401
    try:
        return base64.b64decode(_string(value), validate=True)
    except (binascii.Error, ValueError) as error:
        raise FieldError("must be a base64 string") from error


def _moment(value: Any) -> datetime:  # noqa: ANN401
    try:
        moment = datetime.fromisoformat(_string(value)).replace(tzinfo=None)
    except ValueError as error:
        raise FieldError("must be a time such as 2026-01-02T03:04:05") from error
    if moment.year not in YEARS:
        raise FieldError(f"must be a time of the years {YEARS[0]} to {YEARS[-1]}")
    return moment


def _anything(value: Any) -> Any:  # noqa: ANN401
    return value


_CHECKS: Final[dict[str, Callable[[Any], Any]]] = {
    "double": _number,
    "float": _number,
    "long": _whole(64),
    "integer": _whole(32),
    "boolean": _boolean,
    "string": _string,
    "binary": _binary,
    "datetime": _moment,
    "complex": _anything,
}

WANTED: Final = {
    "double": "a number",
    "float": "a number",
    "long": "a whole number",
    "integer": "a whole number",
    "boolean": "true or false",
    "string": "a string",
    "binary": "a base64 string",
    "datetime": "a time",
    "complex": "a value",
}
