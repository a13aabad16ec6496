"""The address that Alertmanager posts to: one request after another, small bodies, JSON alone, a token if it is open.

Knows HTTP and nothing of alerts: :class:`Receiver` hands over a body and sends back what it is given. A browser cannot
post here unasked, since only ``application/json`` is taken, for which it would have to ask first.
"""

import hmac
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final

MAX_BODY: Final = 1024 * 1024
READ_TIMEOUT_S: Final = 10
PATH: Final = "/alerts"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One HTTP answer. Alertmanager sends again after a 5xx, and never after anything else."""

    status: int
    text: str


class _OfSix(ThreadingHTTPServer):
    address_family = socket.AF_INET6


class Receiver:
    """A listener on ``host:port``; ``act`` is called for one body at a time.

    Raises:
        OSError: the address cannot be had.
    """

    def __init__(self, host: str, port: int, *, token: str, act: Callable[[bytes], Reply]) -> None:
        self._turn = threading.Lock()
        self._token = token
        self._act = act
        self._server = (_OfSix if ":" in host else ThreadingHTTPServer)((host, port), _handler(self.reply))
        self._server.daemon_threads = True

    @property
    def address(self) -> str:
        """``HOST:PORT`` that listens."""
        host = str(self._server.server_address[0])
        return f"{f'[{host}]' if ':' in host else host}:{self._server.server_port}"

    def serve(self) -> None:
        """Listen until :meth:`stop`, or an interrupt."""
        try:
            self._server.serve_forever(poll_interval=0.1)
        finally:
            self._server.server_close()

    def stop(self) -> None:
        """End :meth:`serve`; from another thread."""
        self._server.shutdown()

    def reply(self, path: str, content_type: str, authorization: str, body: bytes) -> Reply:
        """What ``POST path`` gets."""
        if path != PATH:
            return Reply(status=404, text=f"post to {PATH}")
        if self._token and not hmac.compare_digest(authorization.encode(), f"Bearer {self._token}".encode()):
            return Reply(status=401, text="the token is missing or wrong")
        if content_type.partition(";")[0].strip().lower() != "application/json":
            return Reply(status=415, text=f"content type {content_type!r} is not application/json")
        with self._turn:
            return self._act(body)


def _handler(reply: Callable[[str, str, str, bytes], Reply]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = READ_TIMEOUT_S

        def do_GET(self) -> None:
            known = self.path == "/healthz"
            self._send(Reply(status=200, text="alive") if known else Reply(status=404, text=f"post to {PATH}"))

        def do_POST(self) -> None:
            length = self.headers.get("content-length", "")
            if not length.isdecimal():
                self._send(Reply(status=411, text="say content-length"))
            elif int(length) > MAX_BODY:
                self._send(Reply(status=413, text=f"{length} bytes are more than {MAX_BODY}"))
            else:
                kind, who = self.headers.get("content-type", ""), self.headers.get("authorization", "")
                self._send(reply(self.path, kind, who, self.rfile.read(int(length))))

        def _send(self, answer: Reply) -> None:
            body = f"{answer.text}\n".encode()
            self.send_response(answer.status)
            self.send_header("content-type", "text/plain; charset=utf-8")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  theirs
            """What is done is said by whoever does it."""

    return Handler
