"""Bodies that TorchServe takes: one item or several, as JSON or as files of a form. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from mlflow_deploy_plugin.serving.faults import Fault, RequestError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlflow_deploy_plugin.serving.signature import Signature

WRAPPERS: Final = ("data", "body", "instances")
"""Keys under which clients of TorchServe's handlers put their items."""
MAX_HEAD: Final = 8192
"""Bytes of the headers of one part."""

_BOUNDARY: Final = re.compile(rb'boundary=(?:"(?P<quoted>[^"]{1,70})"|(?P<bare>[^\s;"]{1,70}))', re.IGNORECASE)
_NAME: Final = re.compile(rb'[;\s]name="?([^";]*)', re.IGNORECASE)


def media_type(headers: Mapping[bytes, bytes]) -> str:
    """Content type without its parameters, in lower case; empty where there is none."""
    return headers.get(b"content-type", b"").decode("latin-1").partition(";")[0].strip().lower()


def item_rows(value: Any, signature: Signature) -> tuple[list[Any], bool]:  # noqa: ANN401  any JSON value
    """The rows of a JSON body, and whether the client sent an array of items rather than one.

    Raises:
        RequestError: INVALID; there is no item.
    """
    if isinstance(value, dict) and len(value) == 1 and not _is_column(next(iter(value)), signature):
        (key,) = value
        value = value[key] if key in WRAPPERS else value
    is_many = isinstance(value, list) and (_depth(value) > _row_depth(signature) or _holds_records(value, signature))
    is_lone_column = not isinstance(value, (list, dict)) and len(signature.columns) == 1
    rows = value if is_many else [[value] if is_lone_column and not signature.is_from_type_hint else value]
    if not rows:
        raise RequestError(Fault.INVALID, "the body has no item; send at least one")
    return rows, is_many


def _is_column(name: str, signature: Signature) -> bool:
    return any(spec.name == name for spec in signature.inputs)


def _row_depth(signature: Signature) -> int:
    """How deep one row is nested: a list of columns by one, a tensor by its dimensions but the first, a value not."""
    if signature.is_from_type_hint:
        return 0
    if signature.tensors:
        return len(signature.tensors[0].shape) - 1
    return 1


def _holds_records(value: list[Any], signature: Signature) -> bool:
    """Whether an array holds objects, each of which names the tensors of one item."""
    return bool(signature.tensors) and bool(value) and isinstance(value[0], dict)


def _depth(value: Any) -> int:  # noqa: ANN401
    """Nesting of a value, an object as one level; by the first element, since what is ragged is refused later."""
    depth = 0
    while isinstance(value, list):
        depth += 1
        value = value[0] if value else None
    return depth + isinstance(value, dict)


def form_files(headers: Mapping[bytes, bytes], body: bytes) -> list[bytes]:
    """The parts of a form that are named ``data`` or ``body``, or all where none is.

    RFC 7578, read in one pass: the parser of Python's ``email`` takes time that grows with the square of a header.

    Raises:
        RequestError: MALFORMED.
    """
    matched = _BOUNDARY.search(headers.get(b"content-type", b""))
    if matched is None:
        raise RequestError(Fault.MALFORMED, "the content type of a form must name its boundary")
    mark = b"\r\n--" + (matched["quoted"] or matched["bare"])
    _, *pieces = (b"\r\n" + body).split(mark)
    if not pieces or not pieces[-1].startswith(b"--"):
        raise RequestError(Fault.MALFORMED, "the body is no form: its parts do not end as its content type says")
    parts = [_part(piece) for piece in pieces[:-1]]
    if not parts:
        raise RequestError(Fault.MALFORMED, "the form has no part named 'data'")
    return [content for name, content in parts if name in WRAPPERS] or [content for _, content in parts]


def _part(piece: bytes) -> tuple[str, bytes]:
    """Name and content of one part, from after its boundary."""
    head, blank, content = piece.partition(b"\r\n\r\n")
    if not blank or len(head) > MAX_HEAD or not head.startswith(b"\r\n"):
        raise RequestError(
            Fault.MALFORMED, f"each part of a form must have headers of at most {MAX_HEAD} bytes, and a blank line"
        )
    names = [_NAME.search(line) for line in head.split(b"\r\n") if line.lower().startswith(b"content-disposition:")]
    return next((name[1].decode("latin-1") for name in names if name), ""), content
