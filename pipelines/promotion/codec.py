"""Decisions as JSON text and back: what is committed as evidence and what ``replay`` reads.

The text is canonical: the same values give the same bytes. Reading is strict, since people may hand in any file.

>>> from pipelines.promotion.drift.policy import DriftPolicy
>>> encode(DriftPolicy(alpha=0.05))[:15]
'{"alpha":0.05,"'
>>> decode(DriftPolicy, encode(DriftPolicy(alpha=0.05))).alpha
0.05
"""

import json
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, TypeVar

from pydantic import TypeAdapter, ValidationError

from mlflow_deploy_plugin.errors import ConfigError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

MAX_BYTES: Final = 10_000
"""Evidence that is committed stays below this."""

T = TypeVar("T")


def encode(value: "DataclassInstance") -> str:
    """Canonical JSON of a frozen dataclass: keys sorted, no spaces, a newline at the end."""
    return canonical(asdict(value))


def canonical(value: dict[str, Any]) -> str:
    r"""The one text of these values.

    >>> canonical({"b": 1, "a": 0.5})
    '{"a":0.5,"b":1}\n'
    """
    written = json.dumps(
        value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False, default=_moment
    )
    return written + "\n"


def decode(kind: type[T], text: str) -> T:
    """The value that :func:`encode` wrote.

    Raises:
        ConfigError: the text is no JSON, or not of this kind; the message names the first field at fault.
    """
    try:
        return TypeAdapter(kind).validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "file"
        raise ConfigError(f"{place}: {first['msg']}; replay takes a decision file of this version") from error


def _moment(value: Any) -> str:  # noqa: ANN401  json hands over whatever it cannot write
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} has no place in a decision")
