"""gRPC beside HTTP: one server for each worker, on an address of its own, in front of the same engine.

Knows no protocol: a codec declares a path for each method, takes the message's bytes and gives the answer's bytes and
gRPC's status. What the services of a protocol offer beside that is answered UNIMPLEMENTED. A client that cancels or
whose deadline is over cancels the call's task, and with it its place in the queue, before it costs a batch.

Every call carries ``x-model-version`` and ``x-request-id``, and echoes ``x-model-assigned``, in the initial metadata of
an answer and in the trailing metadata of an error.
"""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Final, NoReturn, Protocol

os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")  # nothing here forks but to become another program

import grpc
import grpc.aio

from mlflow_deploy_plugin.errors import ModelserveError
from mlflow_deploy_plugin.serving.caller import read_caller
from mlflow_deploy_plugin.serving.codecs.base import Call, Explain, Infer, Reply
from mlflow_deploy_plugin.serving.codecs.grpc_status import MESSAGE, STATUS, refusal
from mlflow_deploy_plugin.serving.faults import Fault, RequestError
from mlflow_deploy_plugin.serving.metrics import RouteKey

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mlflow_deploy_plugin.serving.codecs.base import Answer, Codec
    from mlflow_deploy_plugin.serving.engine import Engine
    from mlflow_deploy_plugin.serving.metrics import Metrics
    from mlflow_deploy_plugin.serving.request import Caller

    Metadata = tuple[tuple[str, str], ...]

_CODES: Final = {code.value[0]: code for code in grpc.StatusCode}
_logger = logging.getLogger("modelserve.grpc")


class Context(Protocol):
    """What is asked of ``grpc.aio.ServicerContext``, which has no types."""

    def cancelled(self) -> bool:
        """Whether the client has gone, or its deadline is over."""

    def invocation_metadata(self) -> Sequence[tuple[str, str | bytes]] | None:
        """What the client sent beside its message."""

    async def send_initial_metadata(self, metadata: Metadata) -> None:
        """Begin the answer."""

    async def abort(self, code: object, details: str, trailing_metadata: Metadata = ()) -> NoReturn:
        """End the call with an error."""


class GrpcServer:
    """The gRPC side of one worker."""

    def __init__(self, codecs: Sequence[Codec], *, engine: Engine, metrics: Metrics, deployment: str) -> None:
        offered = [(codec, route) for codec in codecs for route in codec.routes()]
        self._methods = {route.path: (codec, route) for codec, route in offered if not isinstance(route, Explain)}
        self._services = {path.rpartition("/")[0] for path in self._methods}
        self._engine = engine
        self._metrics = metrics
        self._deployment = deployment
        self._server: grpc.aio.Server | None = None

    async def start(self, address: str, *, max_body_bytes: int, is_shared: bool = False) -> int:
        """Listen on ``HOST:PORT``; the port. ``is_shared``: several workers have this address.

        Raises:
            ModelserveError: the address cannot be had.
        """
        options = [
            ("grpc.max_receive_message_length", max_body_bytes),
            ("grpc.max_send_message_length", -1),
            ("grpc.so_reuseport", int(is_shared)),
        ]
        server = grpc.aio.server(options=options)
        server.add_generic_rpc_handlers((self,))  # gRPC asks :meth:`service`
        try:
            port = int(server.add_insecure_port(address))
        except RuntimeError as error:
            raise ModelserveError(
                f"cannot listen for gRPC on {address!r}: {error}; use another grpc_address"
            ) from error
        await server.start()
        self._server = server
        _logger.info("listening for gRPC on %s", f"{address.rpartition(':')[0]}:{port}")
        return port

    async def stop(self, grace_s: float) -> None:
        """No new calls; those in flight are finished, or cancelled after ``grace_s`` seconds."""
        if self._server is not None:
            await self._server.stop(grace_s)

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        """What answers a method; None where its service is not known at all."""
        path = handler_call_details.method
        if path in self._methods:
            codec, route = self._methods[path]

            async def answer(body: bytes, context: Context) -> bytes:
                return await self._answer(codec, route, body, context)

            return grpc.unary_unary_rpc_method_handler(answer)
        if path.rpartition("/")[0] in self._services:
            return grpc.stream_stream_rpc_method_handler(_not_offered)
        return None

    async def _answer(self, codec: Codec, route: Infer | Answer, body: bytes, context: Context) -> bytes:
        headers = _headers(context)
        caller = read_caller(headers)
        call = Call("POST", route, {}, headers, b"", body, caller)
        if isinstance(route, Infer):
            reply = await self._engine.answer(codec, call, context.cancelled)
        else:
            reply = self._known(codec, route, call)
        if not isinstance(reply, Reply):  # a codec without streams asked for one
            raise TypeError(f"{codec.name} has no streams")
        return await self._send(reply, caller, context)

    def _known(self, codec: Codec, route: Answer, call: Call) -> Reply:
        """An answer that needs no model."""
        try:
            reply = route.answer(call)
        except RequestError as error:
            reply = codec.encode_error(error, call)
            self._metrics.failed(RouteKey(codec.name, route.path, reply.status), error.fault, latency_s=0.0)
            return reply
        self._metrics.requests[RouteKey(codec.name, route.path, reply.status)] += 1
        return reply

    async def _send(self, reply: Reply, caller: Caller, context: Context) -> bytes:
        said = dict(reply.headers)
        metadata = self._metadata(reply, caller)
        if STATUS in said:
            code = _CODES[int(said[STATUS])]
            await context.abort(code, said.get(MESSAGE, b"").decode("utf-8", "replace"), metadata)
        await context.send_initial_metadata(metadata)
        return reply.body

    def _metadata(self, reply: Reply, caller: Caller) -> Metadata:
        entries = [("x-model-version", self._deployment), ("x-request-id", caller.request_id)]
        if caller.assigned:
            entries.append(("x-model-assigned", caller.assigned))
        if caller.trace is not None:
            entries.extend(caller.trace.headers())
        entries += [(name.decode(), text.decode()) for name, text in reply.headers if name not in {STATUS, MESSAGE}]
        return tuple(entries)


def _headers(context: Context) -> Mapping[bytes, bytes]:
    entries = context.invocation_metadata() or ()
    return {key.encode(): value if isinstance(value, bytes) else value.encode() for key, value in entries}


async def _not_offered(requests: object, context: Context) -> None:  # noqa: ARG001  not worth reading
    error = RequestError(
        Fault.WRONG_METHOD, "this server does not offer the method; docs/protocols.md lists those it does"
    )
    said = dict(refusal(error).headers)
    await context.abort(_CODES[int(said[STATUS])], said[MESSAGE].decode())
