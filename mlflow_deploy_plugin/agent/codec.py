"""Frozen dataclasses to JSON and back, by their own type hints. Pure.

For what the agent writes for itself and its clients. Reading ignores keys that it does not know and fills absent ones
with their defaults, so that an agent and a client of neighbouring versions understand each other.
"""

import functools
import types
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from datetime import datetime
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")


def to_document(value: Any) -> Any:  # noqa: ANN401  any value of the agent's
    """What ``json.dumps`` takes.

    >>> from mlflow_deploy_plugin.manifests.model import Backend
    >>> to_document((Backend(deployment="a", weight=1000),))
    [{'deployment': 'a', 'weight': 1000}]
    """
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_document(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): to_document(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_document(item) for item in value]
    return value.isoformat() if isinstance(value, datetime) else value


def from_document(kind: type[T], document: Any) -> T:  # noqa: ANN401  whatever JSON gave
    """The ``kind`` that :func:`to_document` wrote.

    >>> from mlflow_deploy_plugin.manifests.model import Backend
    >>> from_document(Backend, {"deployment": "a", "weight": 10, "later": 1})
    Backend(deployment='a', weight=10)

    Raises:
        KeyError, TypeError, ValueError, AttributeError: it is not of that shape.
        ConfigError: a value breaks the rule of its class.
    """
    value: T = _read(kind, document)
    return value


def _read(kind: Any, document: Any) -> Any:  # noqa: ANN401  types are values here
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in {Union, types.UnionType}:
        present = next(one for one in arguments if one is not types.NoneType)
        return None if document is None else _read(present, document)
    if origin is tuple:
        return tuple(_read(arguments[0], item) for item in document)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return {key: _read(arguments[1], item) for key, item in document.items()}
    if kind is datetime:
        return datetime.fromisoformat(document)
    return _read_dataclass(kind, document) if is_dataclass(kind) else document


@functools.cache
def _hints(kind: Any) -> Mapping[str, Any]:  # noqa: ANN401
    """Costs a millisecond, and a client that waits reads fifty times a second."""
    return get_type_hints(kind)


def _read_dataclass(kind: Any, document: Mapping[str, Any]) -> Any:  # noqa: ANN401
    hints = _hints(kind)
    needed = [f for f in fields(kind) if f.default is MISSING and f.default_factory is MISSING]
    if absent := [f.name for f in needed if f.name not in document]:
        raise KeyError(absent[0])
    return kind(**{f.name: _read(hints[f.name], document[f.name]) for f in fields(kind) if f.name in document})
