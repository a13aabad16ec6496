"""HTTP/1.1 of the lean launcher: uvicorn's own protocol, with a short way for the requests that are nearly all.

A request to predict that arrives whole in one read goes from the parser to the engine, and its answer to the socket in
one write, with no scope, task or event in between; that is half of what HTTP costs. Whatever is not that (another
route, a body that comes in pieces, an old client, one that pipelines or does not read) goes uvicorn's way through the
ASGI application, and both ways give the same answers: the tests hold them side by side.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, Protocol

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from mlflow_deploy_plugin.serving.codecs.base import Reply
from mlflow_deploy_plugin.serving.replies import send_stream

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from uvicorn.config import Config
    from uvicorn.server import ServerState

    from mlflow_deploy_plugin.serving.router import InferMatch
    from mlflow_deploy_plugin.serving.streams import StreamReply

    Headers = list[tuple[bytes, bytes]]
    Say = Callable[[Reply | StreamReply, Headers], None]

REMEMBERED: Final = 1024
"""Addresses; a scanner's random ones only push others out."""


class Application(Protocol):
    """What the short way asks of the ASGI application."""

    def infers(self, path: str) -> InferMatch | None:
        """The route of a POST to ``path``, where it runs the model."""

    def begin(
        self, match: InferMatch, headers: Mapping[bytes, bytes], body: bytes, is_gone: Callable[[], bool], say: Say
    ) -> None:
        """Answer by one call of ``say``, with the reply and the headers that every answer carries."""


class ShortCycle:
    """One request on the short way; to uvicorn's code it looks like a cycle of its own."""

    __slots__ = ("_protocol", "disconnected", "headers", "keep_alive", "response_complete")

    def __init__(self, protocol: ShortProtocol, headers: Headers) -> None:
        self._protocol = protocol
        self.headers = headers
        self.disconnected = False
        self.keep_alive = True
        self.response_complete = False

    @property
    def message_event(self) -> ShortCycle:
        """Nobody waits for one."""
        return self

    def set(self) -> None:
        """An event that nobody waits for."""

    def is_gone(self) -> bool:
        """Whether the client has hung up."""
        return self.disconnected

    def say(self, reply: Reply | StreamReply, headers: Headers) -> None:
        """Answer."""
        self._protocol.say(self, reply, headers)


class ShortProtocol(HttpToolsProtocol):  # type: ignore[misc]  # mypy does not follow uvicorn
    """One connection."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        application: Application,
        routes: dict[bytes, InferMatch | None],
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._application = application
        self._routes = routes
        self._match: InferMatch | None = None
        """Of the request that is being read, while it may go the short way."""
        self._body = b""
        self.owes: object | None = self
        """What stands for the request line and headers that have not arrived whole; None: nothing is owed."""
        self._heard = 0.0
        self._idle: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Begin; with one timer for as long as the connection lasts, where uvicorn makes one per request."""
        super().connection_made(transport)
        self._heard = self.loop.time()
        self._idle = self.loop.call_later(self.timeout_keep_alive, self._close_if_idle)

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        if self._idle is not None:
            self._idle.cancel()
        super().connection_lost(exc)

    def _close_if_idle(self) -> None:
        is_busy = self.cycle is not None and not self.cycle.response_complete
        rest_s = self.timeout_keep_alive - (0.0 if is_busy else self.loop.time() - self._heard)
        if rest_s > 0:
            self._idle = self.loop.call_later(rest_s, self._close_if_idle)
        elif not self.transport.is_closing():
            self.transport.close()

    def data_received(self, data: bytes) -> None:
        """Read. What has not arrived whole by the end of it goes the long way."""
        self._heard = self.loop.time()
        super().data_received(data)
        if self._match is not None:
            body, self._match = self._body, None
            if not self.transport.is_closing():  # else it was no HTTP, and has been told so
                self._go_the_long_way()
                if body:
                    super().on_body(body)

    def on_message_begin(self) -> None:
        """A request begins; its scope is made where it is needed."""
        self.url = b""
        self.headers: Headers = []
        self.owes = self.headers
        self.expect_100_continue = False
        self._body = b""

    def on_headers_complete(self) -> None:
        """Choose the way."""
        self.owes = None
        self._match = self._short_match()
        if self._match is None:
            self._go_the_long_way()

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        if self._match is None:
            super().on_body(body)
        else:
            self._body = self._body + body if self._body else body

    def on_message_complete(self) -> None:
        """The request is here."""
        match, self._match = self._match, None
        if match is None:
            super().on_message_complete()
            return
        cycle = ShortCycle(self, self.headers)
        self.cycle = cycle
        self._application.begin(match, dict(self.headers), self._body, cycle.is_gone, cycle.say)

    def _short_match(self) -> InferMatch | None:
        parser = self.parser
        is_plain = (
            (self.cycle is None or self.cycle.response_complete)
            and not self.expect_100_continue
            and not self.flow.write_paused
            and parser.get_method() == b"POST"
            and parser.get_http_version() == "1.1"
            and parser.should_keep_alive()
            and not parser.should_upgrade()
        )
        if not is_plain:
            return None
        try:
            return self._routes[self.url]
        except KeyError:
            return self._remember(self.url)

    def _remember(self, url: bytes) -> InferMatch | None:
        is_plain = url.startswith(b"/") and not any(mark in url for mark in (b"?", b"%", b"#"))
        found = self._application.infers(url.decode("ascii")) if is_plain and url.isascii() else None
        if len(self._routes) >= REMEMBERED:
            self._routes.clear()
        self._routes[url] = found
        return found

    def _go_the_long_way(self) -> None:
        """As if uvicorn had read the request so far."""
        url, headers, expects = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url, self.expect_100_continue = url, expects
        self.headers.extend(headers)  # the scope has this very list
        super().on_headers_complete()

    def say(self, cycle: ShortCycle, reply: Reply | StreamReply, headers: Headers) -> None:
        """Write the answer to a request that came the short way."""
        if not isinstance(reply, Reply):
            self._stream(cycle, reply, headers)
            return
        cycle.response_complete = True
        if cycle.disconnected or self.transport.is_closing():
            return
        is_last = not cycle.keep_alive or (b"connection", b"close") in headers
        if is_last and (b"connection", b"close") not in headers:
            headers.append((b"connection", b"close"))
        content = [
            *(STATUS_LINE[reply.status], b"content-type: ", reply.content_type),
            *(b"\r\ncontent-length: ", b"%d" % len(reply.body), b"\r\n"),
        ]
        for name, value in (*self.server_state.default_headers, *headers, *reply.headers):
            content += (name, b": ", value, b"\r\n")
        content += (b"\r\n", reply.body)
        self.transport.write(b"".join(content))
        if is_last:
            self.transport.close()
        self._said()

    def _said(self) -> None:
        if self.pipeline or self.flow.read_paused:
            super().on_response_complete()
        else:
            self.server_state.total_requests += 1

    def _stream(self, cycle: ShortCycle, reply: StreamReply, headers: Headers) -> None:
        """An answer in pieces needs what uvicorn knows of flow."""
        long = RequestResponseCycle(
            scope={"method": "POST", "headers": cycle.headers},  # all that it asks for
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=False,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=False,
            keep_alive=cycle.keep_alive,
            on_response=self.on_response_complete,
        )
        long.more_body = False
        long.disconnected = cycle.disconnected
        if self.cycle is cycle:
            self.cycle = long
        task = self.loop.create_task(send_stream(reply, headers, long.send))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)


def protocol(application: Application) -> Callable[..., ShortProtocol]:
    """What uvicorn takes for its ``http``."""
    routes: dict[bytes, InferMatch | None] = {}

    def make(
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> ShortProtocol:
        return ShortProtocol(config, server_state, app_state, _loop, application=application, routes=routes)

    return make
