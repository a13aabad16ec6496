"""Envoy itself writes the raw log: what it says of retries, dead canaries, cut answers and absent clients."""

import json
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pyarrow.dataset as ds
import pytest

from mlflow_deploy_plugin.agent.access_log import FIELD, PART, route_tags, unreached_log, upstream_log
from mlflow_deploy_plugin.agent.attempts import AttemptLog, Conversion

pytestmark = pytest.mark.e2e
TYPES = "type.googleapis.com/envoy.extensions"
ENVOY = Path(__file__).parents[3] / ".venv" / "bin" / "envoy"


class Model(BaseHTTPRequestHandler):
    """Answers 200; ``canary`` fails, cuts or stalls when the path says so."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        fault = self.path.rpartition("/")[2] if self.server.name == "canary" else ""  # type: ignore[attr-defined]
        if fault == "reset":
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True
            return
        if fault == "slow":
            time.sleep(1.0)
        self.send_response(500 if fault == "error" else 200)
        self.send_header("content-length", "100" if fault == "cut" else "2")
        self.end_headers()
        self.wfile.write(b"{}")
        if fault == "cut":
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True

    def log_message(self, *_: object) -> None:
        return


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def cluster(name: str, *ports: int) -> dict[str, Any]:
    hosts = [
        {
            "endpoint": {
                "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
                "hostname": name,
            }
        }
        for port in ports
    ]
    load = {"cluster_name": name, "endpoints": [{"lb_endpoints": hosts}] if hosts else []}
    return {"name": name, "type": "STATIC", "connect_timeout": "1s", "load_assignment": load}


def composite(name: str, *members: str) -> dict[str, Any]:
    config = {
        "@type": "type.googleapis.com/envoy.extensions.clusters.composite.v3.ClusterConfig",
        "clusters": [{"name": member} for member in members],
    }
    return {
        "name": name,
        "connect_timeout": "1s",
        "lb_policy": "CLUSTER_PROVIDED",
        "cluster_type": {"name": "envoy.clusters.composite", "typed_config": config},
    }


def route(prefix: str, target: str, *, assigned: str = "", override: str = "") -> dict[str, Any]:
    assign = {"header": {"key": "x-model-assigned", "value": assigned}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
    return {
        "match": {"prefix": prefix},
        **route_tags(endpoint="churn", commit="abc123", override=override),
        "route": {
            "cluster": target,
            "timeout": "5s",
            "retry_policy": {"retry_on": "5xx,connect-failure,reset,refused-stream", "num_retries": 1},
        },
        "request_headers_to_add": [assign] if assigned else [],
    }


@dataclass
class Gateway:
    """A running Envoy with the agent's log beside it."""

    log: AttemptLog
    port: int
    admin: int
    statuses: list[int] = field(default_factory=list)

    def post(self, path: str, **headers: str) -> int:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        request = Request(f"http://127.0.0.1:{self.port}{path}", data=b"{}", headers=named)
        try:
            with urlopen(request, timeout=10) as response:  # noqa: S310
                response.read()
                return int(response.status)
        except HTTPError as error:
            error.close()
            return error.code

    def reopen(self) -> None:
        with urlopen(Request(f"http://127.0.0.1:{self.admin}/reopen_logs", method="POST"), timeout=5):
            pass

    def converted(self) -> list[dict[str, Any]]:
        time.sleep(0.3)  # two flush intervals
        self.log.rotate_and_convert(self.reopen)
        table = ds.dataset(self.log.events_dir / "attempts", partitioning="hive").to_table()
        return sorted(table.to_pylist(), key=lambda row: (row["time"], row["attempt"]))


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    servers = {}
    for name in ("stable", "canary"):
        server = servers[name] = ThreadingHTTPServer(("127.0.0.1", 0), Model)
        server.name = name  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, daemon=True).start()
    log = AttemptLog(raw_dir=tmp_path / "raw", events_dir=tmp_path / "events", stage="production")
    log.prepare()
    gateway = Gateway(log=log, port=free_port(), admin=free_port())
    config = tmp_path / "envoy.json"
    config.write_text(json.dumps(bootstrap(gateway, {n: s.server_address[1] for n, s in servers.items()})))
    options = ["--disable-hot-restart", "--concurrency", "2", "-l", "error", "--file-flush-interval-msec", "100"]
    process = subprocess.Popen([ENVOY, "-c", config, *options])
    try:
        wait_ready(gateway.admin)
        yield gateway
    finally:
        process.terminate()
        process.wait(10)
        for server in servers.values():
            server.shutdown()
            server.server_close()


def wait_ready(admin: int) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            with urlopen(f"http://127.0.0.1:{admin}/ready", timeout=1):
                return
        except OSError:
            time.sleep(0.1)
    pytest.fail("Envoy did not become ready in 20 s")


def bootstrap(gateway: Gateway, ports: dict[str, int]) -> dict[str, Any]:
    def listen(port: int) -> dict[str, Any]:
        return {"socket_address": {"address": "127.0.0.1", "port_value": port}}

    routes = [
        route("/pin", "canary", override="canary"),
        route("/dead", "with-dead", assigned="dead"),
        route("/nobody", "empty", assigned="empty"),
        route("/unhealthy", "with-empty", assigned="empty"),
        route("/", "with-canary", assigned="canary"),
    ]
    router = {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router",
        "upstream_log": upstream_log(str(gateway.log.path)),
    }
    manager = {
        "@type": f"{TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "gateway",
        "access_log": unreached_log(str(gateway.log.path)),
        "route_config": {
            "virtual_hosts": [
                {"name": "all", "domains": ["*"], "include_request_attempt_count": True, "routes": routes}
            ]
        },
        "http_filters": [{"name": "envoy.filters.http.router", "typed_config": router}],
    }
    chain = {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
    clusters = [
        cluster("stable", ports["stable"]),
        cluster("canary", ports["canary"]),
        cluster("dead", free_port()),
        cluster("empty"),
        composite("with-canary", "canary", "stable"),
        composite("with-dead", "dead", "stable"),
        composite("with-empty", "empty", "stable"),
    ]
    return {
        "admin": {"address": listen(gateway.admin)},
        "static_resources": {
            "clusters": clusters,
            "listeners": [{"name": "gateway", "address": listen(gateway.port), "filter_chains": [chain]}],
        },
    }


def told(rows: list[dict[str, Any]]) -> list[tuple[str, int, int, str]]:
    return [(row["deployment"], row["attempt"], row["status"], row["flags"]) for row in rows]


def test_a_request_is_told_with_its_user_and_commit(gateway: Gateway) -> None:
    assert gateway.post("/ok", x_user_id="ann") == 200
    (row,) = gateway.converted()
    assert (row["user_id"], row["assigned"], row["override"], row["commit"], row["endpoint"], row["stage"]) == (
        "ann", "canary", "", "abc123", "churn", "production",
    )  # fmt: skip
    assert told([row]) == [("canary", 1, 200, "")]
    assert 0 < row["latency_ms"] < 1000
    assert abs(row["time"].timestamp() - time.time()) < 30


def test_the_canarys_error_stays_on_the_canary_when_stable_answers(gateway: Gateway) -> None:
    assert gateway.post("/error") == 200
    rows = gateway.converted()
    assert told(rows) == [("canary", 1, 500, ""), ("stable", 2, 200, "")]
    assert rows[0]["request_id"] == rows[1]["request_id"] != ""


def test_a_process_that_is_gone_is_an_attempt_without_an_answer(gateway: Gateway) -> None:
    assert gateway.post("/dead") == 200
    assert told(gateway.converted()) == [("dead", 1, 0, "UF"), ("stable", 2, 200, "")]


def test_a_process_that_dies_of_the_request_is_told(gateway: Gateway) -> None:
    assert gateway.post("/reset") == 200
    assert told(gateway.converted()) == [("canary", 1, 0, "UC"), ("stable", 2, 200, "")]


def test_a_canary_without_hosts_is_blamed_although_envoy_passes_over_it(gateway: Gateway) -> None:
    assert gateway.post("/unhealthy") == 200
    assert told(gateway.converted()) == [("empty", 0, 0, "UH"), ("stable", 1, 200, "")]


def test_an_endpoint_without_any_host_is_told_by_the_other_log(gateway: Gateway) -> None:
    assert gateway.post("/nobody") == 503
    assert told(gateway.converted()) == [("empty", 1, 0, "UH")]


def test_an_answer_cut_short_carries_a_flag(gateway: Gateway) -> None:
    with pytest.raises(Exception, match="IncompleteRead"):
        gateway.post("/cut")
    ((deployment, attempt, status, flags),) = told(gateway.converted())
    assert (deployment, attempt, status) == ("canary", 1, 200)
    assert flags in {"UPE", "UC"}


def test_a_client_that_leaves_is_no_error_of_the_model(gateway: Gateway) -> None:
    with socket.create_connection(("127.0.0.1", gateway.port)) as client:
        client.sendall(b"POST /slow HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}")
        time.sleep(0.2)
    assert told(gateway.converted()) == [("canary", 1, 0, "DC")]


def test_an_override_is_assigned_by_nobody(gateway: Gateway) -> None:
    assert gateway.post("/pin/ok", x_model_assigned="forged", x_user_id="") == 200
    (row,) = gateway.converted()
    assert (row["override"], row["assigned"], row["user_id"]) == ("canary", "", "")


def test_no_header_can_write_another_field_of_the_log(gateway: Gateway) -> None:
    for byte in (FIELD, PART, "\n"):
        with socket.create_connection(("127.0.0.1", gateway.port), timeout=10) as client:
            client.sendall(f"POST /ok HTTP/1.1\r\nhost: x\r\nx-user-id: a{byte}b\r\ncontent-length: 0\r\n\r\n".encode())
            assert client.recv(100).startswith(b"HTTP/1.1 400 ")
    assert gateway.post("/ok", x_user_id='tab\tand "quotes"') == 200
    (row,) = gateway.converted()
    assert row["user_id"] == 'tab\tand "quotes"'


def test_no_attempt_is_lost_or_doubled_while_files_turn_over_under_load(gateway: Gateway) -> None:
    sent: list[int] = []

    def send() -> None:
        sent.extend(gateway.post("/ok") for _ in range(150))

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    total = Conversion()
    while any(thread.is_alive() for thread in threads):
        total += gateway.log.rotate_and_convert(gateway.reopen)
        time.sleep(0.05)
    rows = gateway.converted()
    assert sent == [200] * 600
    assert len(rows) == len({row["request_id"] for row in rows}) == 600
    assert total.dropped == 0
