"""Message classes from a table of their fields: what a protocol's ``.proto`` says, without generated code.

A pool of our own: a process that also holds a client's generated classes of the same names has both in peace.

>>> book = message_types("example", {"Book": {"title": "1 string", "pages": "2 repeated int64", "notes": "3 map Note"},
...                                  "Note": {"text": "1 string kind"}})
>>> book["Book"].FromString(book["Book"](title="x", pages=[1, 2]).SerializeToString()).pages[1]
2
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from mlflow_deploy_plugin.serving.body import BYTES_PER_VALUE
from mlflow_deploy_plugin.serving.codecs import wire
from mlflow_deploy_plugin.serving.faults import Fault, RequestError

if TYPE_CHECKING:
    from collections.abc import Mapping

Fields = dict[str, str]
"""Field → ``NUMBER [repeated|map] TYPE [ONEOF]``. A type is a scalar of protobuf or a message of the same table; a map
has strings for keys. An enum is declared as the ``int32`` that it is on the wire."""

_FIELD: Final = re.compile(r"(?P<number>\d+) (?:(?P<label>repeated|map) )?(?P<type>[\w.]+)(?: (?P<oneof>\w+))?")
_Proto: Final = descriptor_pb2.FieldDescriptorProto
_SCALARS: Final = {
    "bool": _Proto.TYPE_BOOL,
    "bytes": _Proto.TYPE_BYTES,
    "double": _Proto.TYPE_DOUBLE,
    "float": _Proto.TYPE_FLOAT,
    "int32": _Proto.TYPE_INT32,
    "int64": _Proto.TYPE_INT64,
    "string": _Proto.TYPE_STRING,
    "uint32": _Proto.TYPE_UINT32,
    "uint64": _Proto.TYPE_UINT64,
}


def message_types(package: str, table: Mapping[str, Fields]) -> dict[str, Any]:
    """A class for each message of ``table``."""
    file = descriptor_pb2.FileDescriptorProto(name=f"{package}.proto", package=package, syntax="proto3")
    for name, fields in table.items():
        message = file.message_type.add(name=name)
        for field, text in fields.items():
            _add_field(message, field, text, package)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.{name}")) for name in table}


def parse(kind: Any, body: bytes, *, max_values: int) -> Any:  # noqa: ANN401  classes are made at run time
    """The message that ``body`` holds, unless it has more than ``max_values`` fields (see :mod:`.wire`).

    Raises:
        RequestError: MALFORMED or TOO_LARGE.
    """
    may_have_more = len(body) // wire.LEAST_BYTES * wire.MESSAGE_VALUES > max_values
    if may_have_more and wire.values_in(body, wire.level_of(kind.DESCRIPTOR), enough=max_values) > max_values:
        raise RequestError(
            Fault.TOO_LARGE,
            f"the message has more than {max_values} fields (one for each {BYTES_PER_VALUE} bytes of max_body_bytes; a"
            f" message within it counts for {wire.MESSAGE_VALUES}): send it in parts",
        )
    try:
        return kind.FromString(body)
    except DecodeError as error:
        raise RequestError(Fault.MALFORMED, f"the message is no {kind.DESCRIPTOR.name}: {error}") from error


def refuse_many(values: int, *, at_most: int, otherwise: str) -> None:
    """Hold the elements of repeated fields to as many values as a text body may have; ``otherwise``: how more travel.

    Raises:
        RequestError: TOO_LARGE.
    """
    if values > at_most:
        raise RequestError(
            Fault.TOO_LARGE,
            f"the tensors have {values} values or more; at most {at_most} are read at once from typed fields (one for"
            f" each {BYTES_PER_VALUE} bytes of max_body_bytes): send them in parts, or as {otherwise}",
        )


def numbers(values: Any, dtype: np.dtype[Any]) -> np.ndarray:  # noqa: ANN401  a repeated field
    """The array of a repeated field, whose own type may be wider than ``dtype``.

    >>> numbers([1, 2], np.dtype("int8")).dtype.name
    'int8'

    Raises:
        OverflowError: a value does not fit; NumPy 1 would wrap it in silence.
    """
    if dtype.kind not in "iu" or dtype.itemsize > 2:  # noqa: PLR2004  the field itself keeps the others
        return np.array(list(values), dtype=dtype)
    wide, limits = np.array(list(values), dtype=np.int64), np.iinfo(dtype)
    if ((wide < limits.min) | (wide > limits.max)).any():
        raise OverflowError(f"{dtype.name} holds {limits.min} to {limits.max}")
    return wide.astype(dtype)


def _add_field(message: Any, name: str, text: str, package: str) -> None:  # noqa: ANN401
    found = _FIELD.fullmatch(text)
    if found is None:
        raise ValueError(f"field {name!r} is described by {text!r}; write NUMBER [repeated|map] TYPE [ONEOF]")
    number, kind = int(found["number"]), found["type"]
    if found["label"] == "map":
        entry = message.nested_type.add(name=f"{name.title().replace('_', '')}Entry")
        entry.options.map_entry = True
        _add_field(entry, "key", "1 string", package)
        _add_field(entry, "value", f"2 {kind}", package)
        kind = f"{message.name}.{entry.name}"
    field = message.field.add(name=name, number=number)
    field.label = _Proto.LABEL_REPEATED if found["label"] else _Proto.LABEL_OPTIONAL
    if kind in _SCALARS:
        field.type = _SCALARS[kind]
    else:
        field.type, field.type_name = _Proto.TYPE_MESSAGE, f".{package}.{kind}"
    if found["oneof"]:
        field.oneof_index = _oneof(message, found["oneof"])


def _oneof(message: Any, name: str) -> int:  # noqa: ANN401
    known = [one.name for one in message.oneof_decl]
    if name not in known:
        message.oneof_decl.add(name=name)
        known.append(name)
    return known.index(name)
