"""Bodies that TorchServe takes: one item or several, as JSON or as files of a form. Pure."""

from __future__ import annotations

from email.message import Message
from email.parser import BytesParser
from email.policy import HTTP
from typing import TYPE_CHECKING, Any, Final

from mlflow_deploy_plugin.serving.faults import Fault, RequestError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlflow_deploy_plugin.serving.signature import Signature

WRAPPERS: Final = ("data", "body", "instances")
"""Keys under which clients of TorchServe's handlers put their items."""


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
    is_many = isinstance(value, list) and _depth(value) >= _row_depth(signature) + 1
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


def _depth(value: Any) -> int:  # noqa: ANN401
    """Nesting of a value, an object as one level; by the first element, since what is ragged is refused later."""
    depth = 0
    while isinstance(value, list):
        depth += 1
        value = value[0] if value else None
    return depth + isinstance(value, dict)


def form_files(headers: Mapping[bytes, bytes], body: bytes) -> list[bytes]:
    """The parts of a form that are named ``data`` or ``body``, or all where none is.

    Raises:
        RequestError: MALFORMED.
    """
    head = b"content-type: " + headers.get(b"content-type", b"") + b"\r\n\r\n"
    message = BytesParser(policy=HTTP).parsebytes(head + body)
    parts = message.get_payload()
    if not isinstance(parts, list) or message.defects:
        raise RequestError(Fault.MALFORMED, "the body is no form: its parts do not end as its content type says")
    named = [(_name(part), part.get_payload(decode=True)) for part in parts if isinstance(part, Message)]
    files = [content for _, content in named if isinstance(content, bytes)]
    chosen = [content for name, content in named if name in WRAPPERS and isinstance(content, bytes)]
    if not files:
        raise RequestError(Fault.MALFORMED, "the form has no part named 'data'")
    return chosen or files


def _name(part: Message) -> str:
    name = part.get_param("name", "", header="content-disposition")
    return name if isinstance(name, str) else ""
