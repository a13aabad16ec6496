"""The agent's scrape address: ``/metrics``, ``/gateway`` (Envoy's own), ``/targets`` (where everything is found).

Loopback only, read only, in threads of its own: whatever happens here, the loop goes on. Where the wanted port is taken
a free one is used, and ``status.json`` names the one that answers.
"""

import json
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mlflow_deploy_plugin.agent.metrics import discovery
from mlflow_deploy_plugin.agent.metrics.collecting import Attempts, Snapshot, collect
from mlflow_deploy_plugin.agent.metrics.evidence import found_in
from mlflow_deploy_plugin.errors import GatewayError

if TYPE_CHECKING:
    from prometheus_client.core import Metric

LOOPBACK: Final = "127.0.0.1"
TEXT: Final = "text/plain; version=0.0.4; charset=utf-8"
JSON: Final = "application/json"
READ_TIMEOUT_S: Final = 10
POLL_S: Final = 0.1
"""Seconds that closing the address may take."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One HTTP answer."""

    status: int
    body: bytes
    content_type: str = TEXT


@dataclass(slots=True, kw_only=True)
class Exporter:
    """Shows the newest snapshot; :meth:`start` opens the address."""

    port: int
    """Wanted; 0: any."""
    evidence: Path
    """Folder that jobs leave evidence in."""
    ask_gateway: Callable[[], bytes]
    """Envoy's metrics in Prometheus' text; raises ``GatewayError`` while it is away."""
    address: str = ""
    """``HOST:PORT`` that answers; empty: none does."""
    snapshot: Snapshot | None = None
    """Replaced whole, never changed."""
    attempts: Attempts = field(default_factory=Attempts)
    """As above."""
    _server: ThreadingHTTPServer | None = None

    def start(self) -> None:
        """Answer from now on; where no port can be had, say so in the log and serve on."""
        for port in dict.fromkeys((self.port, 0)):
            try:
                self._server = ThreadingHTTPServer((LOOPBACK, port), _handler(self.answer))
            except OSError as error:
                _log.warning("metrics cannot be shown on %s:%s: %s", LOOPBACK, port, error.strerror or error)
                continue
            self.address = f"{LOOPBACK}:{self._server.server_port}"
            threading.Thread(target=self._server.serve_forever, args=(POLL_S,), daemon=True, name="metrics").start()
            _log.info("metrics on http://%s/metrics", self.address)
            return

    def stop(self) -> None:
        """Close the address."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()

    def answer(self, path: str) -> Answer:
        """What ``GET path`` gets."""
        match path.partition("?")[0]:
            case "/metrics":
                return self._metrics()
            case discovery.GATEWAY_PATH:
                return self._gateway()
            case "/targets":
                return self._targets()
            case _:
                return Answer(status=404, body=b"there are /metrics, /gateway and /targets\n")

    def _metrics(self) -> Answer:
        from prometheus_client.exposition import generate_latest  # noqa: PLC0415  off the agent's start

        if (snapshot := self.snapshot) is None:
            return Answer(status=503, body=b"the agent has not looked yet\n")
        families = collect(snapshot, self.attempts, found_in(self.evidence))
        return Answer(status=200, body=generate_latest(_Collected(families)))

    def _targets(self) -> Answer:
        if (snapshot := self.snapshot) is None:
            return Answer(status=503, body=b"the agent has not looked yet\n")
        listed = discovery.targets(self.address, snapshot.bentos, stage=snapshot.status.stage)
        return Answer(status=200, body=json.dumps(listed, indent=1).encode(), content_type=JSON)

    def _gateway(self) -> Answer:
        try:
            return Answer(status=200, body=self.ask_gateway())
        except GatewayError as error:
            return Answer(status=503, body=f"{error}\n".encode())


class _Collected:
    """What ``generate_latest`` asks of a registry."""

    def __init__(self, families: "list[Metric]") -> None:
        self._families = families

    def collect(self) -> "list[Metric]":
        return self._families


def _handler(answer: Callable[[str], Answer]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = READ_TIMEOUT_S

        def do_GET(self) -> None:
            try:
                found = answer(self.path)
            except Exception as error:  # noqa: BLE001  a scrape must not end in silence
                _log.exception("metrics")
                found = Answer(status=500, body=f"{type(error).__name__}: {error}\n".encode())
            self.send_response(found.status)
            self.send_header("content-type", found.content_type)
            self.send_header("content-length", str(len(found.body)))
            self.end_headers()
            self.wfile.write(found.body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  theirs
            _log.debug(format, *args)

    return Handler
