"""The door to Envoy's admin address: a socket in Envoy's folder that only this user may open.

Nothing else asks Envoy anything. One short connection for each question, so it may be used from several threads.
"""

import http.client
import json
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Protocol

from mlflow_deploy_plugin.agent.envoy.bootstrap import ADMIN_SOCKET
from mlflow_deploy_plugin.agent.plan import GatewayView, HostView
from mlflow_deploy_plugin.errors import GatewayError
from mlflow_deploy_plugin.spec.sockets import port_beside

TIMEOUT_S: Final = 2.0
_VERSIONS: Final = "version_text$"
_METRICS: Final = r"^(http\.gateway\.downstream_|cluster\.[^.]+\.(upstream_rq|upstream_cx_active|membership_))"
_OK: Final = 200


class Admin(Protocol):
    """What the agent asks Envoy."""

    def view(self) -> GatewayView:
        """Clusters and hosts, now."""

    def versions(self) -> Mapping[str, str]:
        """``version_info`` of the file that Envoy accepted last, by kind: ``lds``, ``rds``, ``cds``."""

    def reopen_logs(self) -> None:
        """Open log files anew."""

    def drain(self) -> None:
        """Take leave of clients: every answer closes its connection, then the listeners close."""

    def active_requests(self) -> int:
        """Requests of clients that are under way."""

    def metrics(self) -> bytes:
        """Statistics in Prometheus' text."""


class SocketAdmin:
    """The admin address of a running Envoy.

    Every verb raises ``GatewayError`` where Envoy does not answer.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def view(self) -> GatewayView:
        """Clusters that are past their warm-up, and their hosts."""
        document = self._document("/clusters?format=json")
        return GatewayView(hosts={one["name"]: _hosts(one) for one in document.get("cluster_statuses", ())})

    def versions(self) -> Mapping[str, str]:
        """Versions of LDS, RDS and CDS that are in force."""
        stats = self._stats(_VERSIONS)
        prefixes = {"lds": "listener_manager.lds", "rds": "http.gateway.rds.gateway", "cds": "cluster_manager.cds"}
        return {kind: str(stats.get(f"{prefix}.version_text", "")) for kind, prefix in prefixes.items()}

    def reopen_logs(self) -> None:
        """Open log files anew."""
        self._ask("POST", "/reopen_logs")

    def drain(self) -> None:
        """Answers close their connections from now on; after the drain time the listeners close."""
        self._ask("POST", "/healthcheck/fail")
        self._ask("POST", "/drain_listeners?graceful")

    def active_requests(self) -> int:
        """Requests of clients that are under way."""
        return sum(map(int, self._stats("^http.gateway.downstream_rq_active$").values()))

    def metrics(self) -> bytes:
        """Statistics of the gateway and of the units' clusters, in Prometheus' text."""
        return self._ask("GET", f"/stats/prometheus?usedonly&filter={_METRICS}")

    def _stats(self, pattern: str) -> Mapping[str, Any]:
        document = self._document(f"/stats?format=json&filter={pattern}")
        return {one["name"]: one.get("value", 0) for one in document["stats"] if "name" in one}

    def _document(self, path: str) -> Mapping[str, Any]:
        body = self._ask("GET", path)
        try:
            document: Mapping[str, Any] = json.loads(body)
        except ValueError as error:
            raise GatewayError(f"Envoy answers {path} with no JSON: {body[:200]!r}") from error
        return document

    def _ask(self, method: str, path: str) -> bytes:
        try:
            with _connected(self._folder / ADMIN_SOCKET) as connection:
                connection.request(method, path)
                answer = connection.getresponse()
                body = answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise GatewayError(f"Envoy does not answer at {self._folder / ADMIN_SOCKET}: {error}") from error
        if answer.status != _OK:
            raise GatewayError(f"Envoy answers {answer.status} to {method} {path}: {body[:200]!r}")
        return body


@contextmanager
def _connected(path: Path) -> Iterator[http.client.HTTPConnection]:
    """A connection to the socket at ``path``, however long that is: the name that the system sees is short."""
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    plug = socket.socket(socket.AF_UNIX)
    connection = http.client.HTTPConnection("envoy", timeout=TIMEOUT_S)
    try:
        plug.settimeout(TIMEOUT_S)
        plug.connect(f"/proc/self/fd/{folder}/{path.name}")
        connection.sock = plug
        yield connection
    finally:
        connection.close()
        plug.close()
        os.close(folder)


def _hosts(status: Mapping[str, Any]) -> dict[int, HostView]:
    return {
        _port(one["address"]): HostView(
            is_healthy=one["health_status"] == {"eds_health_status": "HEALTHY"}, active=_active(one)
        )
        for one in status.get("host_statuses", ())
    }


def _port(address: Mapping[str, Any]) -> int:
    """Of a worker, however Envoy reaches it."""
    if "pipe" in address:
        return port_beside(address["pipe"]["path"].removeprefix("@"))
    return int(address["socket_address"]["port_value"])


def _active(host: Mapping[str, Any]) -> int:
    counted = {"rq_active", "rq_pending_active"}
    return sum(int(stat.get("value", 0)) for stat in host["stats"] if stat["name"] in counted)
