"""Prometheus itself scrapes an exporter, and its counters are the observation of a canary."""

import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from mlflow_deploy_plugin.errors import ModelserveError, RetryLaterError
from pipelines.analysis.arms import Missing, RequestCounts
from pipelines.analysis.compare import compare
from pipelines.analysis.gates import ErrorRatioGate, QuantileGate
from pipelines.analysis.verdict import Failed
from pipelines.monitoring.counter_source import CounterObserver, Counters
from pipelines.monitoring.prometheus import HttpPrometheus
from pipelines.promotion.observation import Observation

PATIENCE_S = 60.0

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(shutil.which("prometheus") is None, reason="Debian package prometheus is missing"),
]


class Exporter:
    """Counters of two arms in Prometheus' text, as the Bentos and Envoy write them."""

    def __init__(self) -> None:
        self.failed = {"v3": 10, "v4": 10}
        self.answered = {"v3": 9000, "v4": 1000}
        self.scrapes = 0
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                owner.scrapes += 1
                body = owner.text().encode()
                self.send_response(200)
                self.send_header("Content-Type", "text/plain; version=0.0.4")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def text(self) -> str:
        lines = []
        for arm, answered in self.answered.items():
            failed, version, cluster = self.failed[arm], f'model_version="{arm}"', f'envoy_cluster_name="{arm}@0a1b"'
            lines += [
                f"model_ready{{{version}}} 1",
                f'model_requests_total{{{version},protocol="mlflow",route="/invocations",code="200"}} {answered}',
                f'model_requests_total{{{version},protocol="mlflow",route="/invocations",code="500"}} {failed}',
                f"envoy_cluster_membership_total{{{cluster}}} 1",
                f"envoy_cluster_upstream_rq_completed{{{cluster}}} {answered + failed}",
                f'envoy_cluster_upstream_rq_xx{{{cluster},envoy_response_code_class="5"}} {failed}',
                *self.buckets("model_prediction_latency_seconds_bucket", version, arm, unit=0.001),
                *self.buckets("envoy_cluster_upstream_rq_time_bucket", cluster, arm, unit=1.0),
            ]
        return "\n".join([*lines, ""])

    def buckets(self, name: str, labels: str, arm: str, *, unit: float) -> list[str]:
        """Every failed request took above 100 ms, every other at most 50 ms."""
        answered, failed = self.answered[arm], self.failed[arm]
        counted = {f"{50 * unit:g}": answered, f"{100 * unit:g}": answered, "+Inf": answered + failed}
        return [f'{name}{{{labels},le="{bound}"}} {count}' for bound, count in counted.items()]

    def serve(self, arm: str, *, answered: int, failed: int) -> None:
        self.answered[arm] += answered
        self.failed[arm] += failed

    def scraped(self, times: int = 2) -> None:
        """Wait until so many more scrapes have begun."""
        wanted = self.scrapes + times
        until(lambda: self.scrapes >= wanted)


def until(is_true: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not is_true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


@pytest.fixture
def exporter() -> Iterator[Exporter]:
    found = Exporter()
    yield found
    found.server.shutdown()
    found.server.server_close()


@pytest.fixture
def prometheus(exporter: Exporter, tmp_path: Path) -> Iterator[HttpPrometheus]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    target = f"127.0.0.1:{exporter.server.server_address[1]}"
    config = tmp_path / "prometheus.yml"
    config.write_text(
        "global: {scrape_interval: 200ms, scrape_timeout: 200ms}\n"
        f"scrape_configs: [{{job_name: bentos, static_configs: [{{targets: ['{target}']}}]}}]\n"
    )
    process = subprocess.Popen(
        [
            "prometheus",
            f"--config.file={config}",
            f"--storage.tsdb.path={tmp_path / 'tsdb'}",
            f"--web.listen-address=127.0.0.1:{port}",
            "--log.level=error",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    client = HttpPrometheus(url=f"http://127.0.0.1:{port}")
    try:
        until(lambda: _sees(client))
        yield client
    finally:
        process.terminate()
        process.wait(timeout=30)


def _sees(client: HttpPrometheus) -> bool:
    try:
        return bool(client.query("model_ready", datetime.now(UTC)))
    except RetryLaterError:
        return False


def observed(prometheus: HttpPrometheus, began: datetime, counters: Counters) -> Observation:
    source = CounterObserver(prometheus=prometheus, changes=(began,), counters=counters, settle=timedelta(0))
    return source.observe(stable="v3", canary="v4", since=began, now=datetime.now(UTC))


def test_counters_that_prometheus_scraped_fail_a_bad_canary_until_they_are_reset(
    exporter: Exporter, prometheus: HttpPrometheus
) -> None:
    exporter.scraped()
    began = datetime.now(UTC)
    exporter.serve("v3", answered=891, failed=9)
    exporter.serve("v4", answered=90, failed=10)
    exporter.scraped()
    for counters in ("model", "envoy"):
        seen = observed(prometheus, began, counters)
        assert isinstance(seen.canary.errors, RequestCounts), seen.canary.errors
        assert (seen.stable.errors.requests.tolist(), seen.stable.errors.failures.tolist()) == ([900], [9])
        assert (seen.canary.errors.requests.tolist(), seen.canary.errors.failures.tolist()) == ([100], [10])
        for gate in (ErrorRatioGate(), QuantileGate(relative_margin=0.0)):
            verdict = compare(seen.stable, seen.canary, gate, alpha=0.01)
            assert isinstance(verdict, Failed), verdict
        assert seen.canary.latency.bounds_ms.tolist() == pytest.approx([50, 100])
        assert seen.canary.latency.counts.tolist() == [[90, 0, 10]]

    exporter.failed["v4"], exporter.answered["v4"] = 0, 0
    exporter.scraped()
    errors = observed(prometheus, began, "model").canary.errors
    assert isinstance(errors, Missing)
    assert "was reset" in errors.reason

    with pytest.raises(ModelserveError, match="refuses the query"):
        prometheus.query("sum(", datetime.now(UTC))
