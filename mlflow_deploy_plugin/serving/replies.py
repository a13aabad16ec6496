"""Answers as ASGI messages, and the answers to paths that nobody serves."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from mlflow_deploy_plugin.serving.codecs.base import JSON, Answer, Call, Reply
from mlflow_deploy_plugin.serving.faults import Fault, RequestError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from mlflow_deploy_plugin.serving.request import Caller
    from mlflow_deploy_plugin.serving.router import NoRoute
    from mlflow_deploy_plugin.serving.streams import StreamReply

    Send = Callable[[dict[str, Any]], Awaitable[None]]


def no_route(match: NoRoute, method: str, path: str, headers: Mapping[bytes, bytes], caller: Caller) -> Reply:
    """In the words of the protocol that the path belongs to; else in those of FastAPI, which MLflow's server speaks."""
    extra = ((b"allow", ", ".join(match.allowed).encode()),) if match.allowed else ()
    fault = Fault.WRONG_METHOD if match.allowed else Fault.UNKNOWN_PATH
    if match.speaker is None:
        detail = b"Method Not Allowed" if match.allowed else b"Not Found"
        return Reply(fault.value, JSON, b'{"detail":"%s"}' % detail, extra)
    route = Answer(path=path, answer=_unanswered, methods=match.allowed)
    error = RequestError(fault, f"{method} {path[:200]!r} is not offered; /openapi.json lists what is")
    reply = match.speaker.encode_error(error, Call(method, route, {}, headers, b"", b"", caller))
    return reply._replace(headers=(*reply.headers, *extra))


def _unanswered(call: Call) -> Reply:
    raise RequestError(Fault.UNKNOWN_PATH, f"{call.route.path!r} is not offered")


async def send_whole(reply: Reply, extra: list[tuple[bytes, bytes]], send: Send) -> None:
    """Send an answer that is known whole; ``extra`` are the headers of every answer."""
    headers = [
        (b"content-type", reply.content_type),
        (b"content-length", b"%d" % len(reply.body)),
        *extra,
        *reply.headers,
    ]
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body})


async def send_stream(reply: StreamReply, extra: list[tuple[bytes, bytes]], send: Send) -> None:
    """Send an answer piece by piece."""
    headers = [(b"content-type", reply.content_type), (b"cache-control", b"no-cache"), *extra]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    async with contextlib.aclosing(reply.chunks) as chunks:
        async for chunk in chunks:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
    await send({"type": "http.response.body", "body": b""})
