"""How much a message of protobuf holds, found out on the wire, before any of it becomes an object.

An empty message within a message weighs two bytes on the wire and a hundred once it is read: a body within its limit of
bytes could ask for half a gigabyte. Counting needs no memory, and ends at the first field too many. Pure.

After https://protobuf.dev/programming-guides/encoding/.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, Final

MESSAGE_VALUES: Final = 16
"""What a message within a message counts for, in values of eight bytes."""
LEAST_BYTES: Final = 2
"""Of a field on the wire."""
_VARINT, _EIGHT_BYTES, _LENGTH, _FOUR_BYTES = 0, 1, 2, 5
_FIXED: Final = {_EIGHT_BYTES: 8, _FOUR_BYTES: 4}
_MORE: Final = 0x80
"""Set in each byte of a number but its last."""
_LONGEST: Final = 70
"""Bits of a number, seven in each byte."""


Level = Mapping[int, "Level | None"]
"""Fields that hold messages, by number; None: messages of plain fields, whose elements their reader counts."""


@cache
def level_of(descriptor: Any) -> Level:  # noqa: ANN401  protobuf's descriptors have no types
    """What is worth a look in messages of one kind, none of which holds its own kind."""
    kinds = {field.number: field.message_type for field in descriptor.fields if field.message_type is not None}
    return {number: level_of(kind) or None for number, kind in kinds.items()}


def values_in(body: bytes, level: Level, *, enough: int) -> int:
    """Fields of a message and of those within it, where each that is a message counts for :data:`MESSAGE_VALUES`.

    What lies within messages of plain fields is not counted. The count ends early above ``enough``, and of a body that
    is malformed it may be any.

    >>> from mlflow_deploy_plugin.serving.codecs.protobuf import message_types
    >>> kinds = message_types("example", {"Book": {"page": "1 repeated Page"}, "Page": {"number": "1 int32"}})
    >>> body = kinds["Book"](page=[{"number": 7}] * 3).SerializeToString()
    >>> values_in(body, level_of(kinds["Book"].DESCRIPTOR), enough=100)
    48
    """
    count, at, end = 0, 0, len(body)
    outer: list[tuple[Level, int]] = []
    """Levels that are left for one within them, and where they end."""
    while count <= enough:
        if at >= end:
            if not outer:
                break
            level, end = outer.pop()
            continue
        tag, at = _number(body, at)
        count += 1
        kind, field = tag & 7, tag >> 3
        if kind == _LENGTH:
            size, at = _number(body, at)
            if field in level:
                count += MESSAGE_VALUES - 1
            inner = level.get(field)
            if inner is None:
                at += size
            else:
                outer.append((level, end))
                level, end = inner, min(at + size, end)
        elif kind == _VARINT:
            _, at = _number(body, at)
        else:
            at += _FIXED.get(kind, 0)  # the others begin and end a group, which has no bytes of its own
    return count


def _number(body: bytes, at: int) -> tuple[int, int]:
    """A number of variable length, and where it ends; what is cut off ends with the body."""
    number = shift = 0
    while at < len(body) and shift < _LONGEST:
        byte = body[at]
        at += 1
        number |= (byte & ~_MORE) << shift
        if byte < _MORE:
            break
        shift += 7
    return number, at
