"""JSON bodies of requests, and the errors of protocols that have no words of their own. Pure."""

from __future__ import annotations

from typing import Any

import orjson

from mlflow_deploy_plugin.serving.codecs.base import JSON, Reply
from mlflow_deploy_plugin.serving.faults import Fault, RequestError


def loads(body: bytes) -> Any:  # noqa: ANN401  any JSON value
    """The JSON value.

    Raises:
        RequestError: MALFORMED; orjson refuses NaN, broken UTF-8 and nesting deeper than 1,024.
    """
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise RequestError(Fault.MALFORMED, f"the body is not JSON: {error}") from error


def loads_object(body: bytes) -> dict[str, Any]:
    """The JSON object.

    Raises:
        RequestError: MALFORMED.
    """
    document = loads(body)
    if isinstance(document, dict):
        return document
    raise RequestError(Fault.MALFORMED, f"the body must be a JSON object, not {json_type(document)}")


def json_type(value: Any) -> str:  # noqa: ANN401
    """What a JSON value is, in JSON's words.

    >>> json_type([]), json_type(None), json_type(1.5)
    ('an array', 'null', 'a number')
    """
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, (int, float)):
        return "a number"
    kind = type(value).__name__
    return {"str": "a string", "list": "an array", "dict": "an object"}.get(kind, kind)


def error_reply(error: RequestError, *, status: int | None = None) -> Reply:
    """``{"error": {"code", "message"}}``, and Retry-After where the error knows one."""
    body = orjson.dumps({"error": {"code": error.fault.name.lower(), "message": error.message}})
    return Reply(status or error.fault.value, JSON, body, retry_headers(error))


def retry_headers(error: RequestError) -> tuple[tuple[bytes, bytes], ...]:
    """``Retry-After`` in whole seconds, where the error knows one."""
    if error.retry_after_s is None:
        return ()
    return ((b"retry-after", str(max(1, round(error.retry_after_s))).encode()),)
