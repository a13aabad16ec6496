"""Columns that ``pandas.read_json`` guessed at, cast back to what the model's signature states.

``read_json`` turns ``"95120"`` into 95120, ``"2021-01-01"`` and epoch numbers into datetimes, and whole floats into
integers. Where the original can be told, it is restored; where several originals would have arrived alike, the
column is refused, because a guess would be a silently different prediction.
"""

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from mlflow_deploy_plugin.errors import ModelError
from mlflow_deploy_plugin.scoring.plain import to_plain

if TYPE_CHECKING:
    import pandas as pd

WAY_OUT: Final = "send the file unchanged with `modelserve predict`"
_EXACT_FLOAT: Final = 2**53  # beyond it neighbouring integers are one float
_EPOCH_UNITS: Final = ("s", "ms")  # finer ones are also what pandas gives to text and, before 3.0, to everything


def recast(column: "pd.Series[Any]", *, kind: str, name: str) -> list[Any]:
    """Plain values of ``column`` as MLflow's type ``kind`` (empty: unknown, nothing is cast).

    Raises:
        ModelError: what was written in the file cannot be told any more.
    """
    rule = _RULES.get(kind)
    return rule(column, name) if rule else _plain(column)


def _plain(column: "pd.Series[Any]") -> list[Any]:
    return [to_plain(value) for value in column.tolist()]


def _text(column: "pd.Series[Any]", name: str) -> list[Any]:
    if column.dtype.kind == "M":
        raise _lost(name, "text", "a date, and the spelling of a date cannot be told from it")
    return [_text_of(value, name) for value in _plain(column)]


def _text_of(value: object, name: str) -> str | None:
    match value:
        case None | str():
            return value
        case bool():
            raise _lost(name, "text", "a truth value")
        case int():
            return str(value)
        case float() if value.is_integer() and abs(value) < _EXACT_FLOAT:
            return str(int(value))  # a column of digits with a gap in it
        case _:
            raise _lost(name, "text", f"the number {value!r}, whose spelling cannot be told from it")


def _whole(column: "pd.Series[Any]", name: str) -> list[Any]:
    if column.dtype.kind == "M":
        return _epochs(column, name)
    return [_whole_of(value) for value in _plain(column)]


def _whole_of(value: object) -> object:
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < _EXACT_FLOAT else value


def _epochs(column: "pd.Series[Any]", name: str) -> list[Any]:
    import numpy as np  # noqa: PLC0415  pandas brought it

    unit, _ = np.datetime_data(column.to_numpy().dtype)
    if unit not in _EPOCH_UNITS:
        raise _lost(name, "a number", "a date whose unit cannot be told from it")
    return [None if moment is None else _ticks(moment, unit) for moment in _moments(column)]


def _ticks(moment: "pd.Timestamp", unit: str) -> int:
    return math.floor(moment.timestamp() * (1 if unit == "s" else 1000) + 0.5)


def _moments(column: "pd.Series[Any]") -> list[Any]:
    missing = column.isna().tolist()
    return [None if gap else value for gap, value in zip(missing, column.tolist(), strict=True)]


def _real(column: "pd.Series[Any]", name: str) -> list[Any]:
    return [float(v) if isinstance(v, int) and not isinstance(v, bool) else v for v in _whole(column, name)]


def _truth(column: "pd.Series[Any]", _name: str) -> list[Any]:
    return [bool(v) if v in (0, 1) and v is not None else v for v in _plain(column)]


def _lost(name: str, wanted: str, got: str) -> ModelError:
    return ModelError(
        f"column {name!r} is {wanted} to the model, but `mlflow deployments predict` has read it as {got}; {WAY_OUT}"
    )


_RULES: Final[Mapping[str, Callable[["pd.Series[Any]", str], list[Any]]]] = {
    "string": _text,
    "integer": _whole,
    "long": _whole,
    "float": _real,
    "double": _real,
    "boolean": _truth,
}
