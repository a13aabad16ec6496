"""The counters in Prometheus' text, merged over the workers of one Bento where several share an address.

Each worker that shares an address writes a snapshot into a common folder (:class:`Shared`), and whoever is scraped
answers for all. Counters of a worker that died stay, since a counter never falls; its gauges do not.
"""

from __future__ import annotations

import json
import os
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mlflow_deploy_plugin.serving.codecs.base import Totals
from mlflow_deploy_plugin.serving.faults import Fault
from mlflow_deploy_plugin.serving.metrics import NONE, Histogram, Metrics

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from mlflow_deploy_plugin.serving.gpus import Reading

CONTENT_TYPE: Final = b"text/plain; version=0.0.4; charset=utf-8"

ERROR: Final = "error"
"""``status`` of a request that the model failed."""

Series = dict[str, float]
"""``name{labels}`` → value."""

HELP: Final = {
    "model_predictions_total": ("counter", "Rows predicted, and requests that the model failed"),
    "model_prediction_latency_seconds": ("histogram", "From the request received to its answer encoded"),
    "model_error_seconds_total": ("counter", "Latency of the requests that the model failed, in all"),
    "model_queue_seconds": ("histogram", "Waiting for the model"),
    "model_compute_seconds": ("histogram", "One call of the model"),
    "model_codec_seconds": ("histogram", "Decoding and encoding of one request"),
    "model_batch_rows": ("histogram", "Rows of one call of the model"),
    "model_requests_total": ("counter", "Requests by protocol, route and status; that of gRPC in the words of HTTP"),
    "model_rejected_total": ("counter", "Requests without a prediction, by reason"),
    "model_log_dropped_total": ("counter", "Events that the prediction log lost"),
    "model_in_flight": ("gauge", "Requests that are being answered"),
    "model_waiting_rows": ("gauge", "Rows that wait for the model"),
    "model_ready": ("gauge", "Workers whose warm-up was answered and that do not drain"),
    "model_gpu_memory_used_bytes": ("gauge", "Memory in use on a GPU of this worker, by whomever"),
    "model_gpu_memory_total_bytes": ("gauge", "Memory of a GPU of this worker"),
    "model_gpu_utilization_ratio": ("gauge", "Share of time in which a GPU of this worker computed"),
}
OF_DEVICES: Final = ("model_gpu_memory_used_bytes", "model_gpu_memory_total_bytes", "model_gpu_utilization_ratio")
"""What workers that share a device say alike: they are not summed."""
STALE_S: Final = 30.0
"""Age of a snapshot, written every second, whose gauges are believed no more: another process may bear the number."""
GAUGES: Final = ("model_in_flight", "model_waiting_rows", "model_ready", *OF_DEVICES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """Labels that every series of this Bento carries."""

    model_version: str
    endpoint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Gauges:
    """What is true of one worker at this moment."""

    in_flight: int
    waiting_rows: int
    is_ready: bool
    gpus: Sequence[Reading] = ()


def series(metrics: Metrics, labels: Labels, gauges: Gauges) -> Series:
    """All series of one worker; every bounded label set is there from the start, at 0."""
    version, endpoint = {"model_version": labels.model_version}, {"endpoint": labels.endpoint}
    found: Series = {}
    for label, count in metrics.by_class().items():
        found[_key("model_predictions_total", {**version, "prediction_class": label, "status": "success"})] = count
    found[_key("model_predictions_total", {**version, "prediction_class": NONE, "status": ERROR})] = metrics.errors
    _histogram(found, "model_prediction_latency_seconds", {**version, **endpoint}, metrics.latency)
    found[_key("model_error_seconds_total", version)] = metrics.errors_s
    _histogram(found, "model_queue_seconds", version, metrics.queue)
    _histogram(found, "model_compute_seconds", version, metrics.compute)
    _histogram(found, "model_codec_seconds", version, metrics.codec)
    _histogram(found, "model_batch_rows", version, metrics.batch_rows)
    for key, count in metrics.requests.items():
        route = {"protocol": key.protocol, "route": key.route, "code": str(key.code)}
        found[_key("model_requests_total", {**version, **route})] = count
    for fault in Fault:
        reason = fault.name.lower()
        found[_key("model_rejected_total", {**version, "reason": reason})] = metrics.rejected[reason]
    for (table, cause), count in metrics.log_dropped.items():
        found[_key("model_log_dropped_total", {**version, "table": table, "reason": cause})] = count
    found[_key("model_in_flight", version)] = gauges.in_flight
    found[_key("model_waiting_rows", version)] = gauges.waiting_rows
    found[_key("model_ready", version)] = int(gauges.is_ready)
    for reading in gauges.gpus:
        device = {**version, "gpu": reading.gpu}
        found[_key("model_gpu_memory_used_bytes", device)] = reading.used_bytes
        found[_key("model_gpu_memory_total_bytes", device)] = reading.total_bytes
        found[_key("model_gpu_utilization_ratio", device)] = reading.utilization
    return found


def merge(parts: Iterable[Series]) -> Series:
    """Sums over workers; of devices that they may share, the largest word.

    >>> merge([{"a": 1}, {"a": 2, "b": 3}])
    {'a': 3, 'b': 3}
    """
    total: Series = {}
    for part in parts:
        for key, value in part.items():
            known = total.get(key, 0)
            total[key] = max(known, value) if key.startswith("model_gpu_") else known + value
    return total


def totals(found: Series) -> Totals:
    """What one Bento has done, of the merged series of its workers."""
    sums: defaultdict[str, float] = defaultdict(float)
    for key, value in found.items():
        sums[key.partition("{")[0]] += value
    errors = sum(value for key, value in found.items() if _is_error(key))
    return Totals(
        requests=int(sums["model_codec_seconds_count"]),
        requests_s=sums["model_prediction_latency_seconds_sum"] - sums["model_error_seconds_total"],
        errors=int(errors),
        errors_s=sums["model_error_seconds_total"],
        queue_s=sums["model_queue_seconds_sum"],
        batches=int(sums["model_compute_seconds_count"]),
        compute_s=sums["model_compute_seconds_sum"],
        rows=int(sums["model_batch_rows_sum"]),
    )


def _is_error(key: str) -> bool:
    return key.startswith("model_predictions_total{") and key.endswith(f'status="{ERROR}"}}')


def text(found: Series) -> bytes:
    """Prometheus' text format."""
    by_family: dict[str, list[str]] = {}
    for key, value in found.items():
        by_family.setdefault(_family(key), []).append(f"{key} {_number(value)}")
    lines: list[str] = []
    for name, (kind, about) in HELP.items():
        if name in by_family:
            lines += [f"# HELP {name} {about}.", f"# TYPE {name} {kind}", *by_family[name]]
    return ("\n".join(lines) + "\n").encode()


def _family(key: str) -> str:
    name = key.partition("{")[0]
    if name in HELP:
        return name
    return name.rpartition("_")[0]  # _bucket, _sum, _count of a histogram


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(float(value))


def _key(name: str, labels: Mapping[str, str]) -> str:
    inner = ",".join(f'{label}="{_escaped(value)}"' for label, value in labels.items())
    return f"{name}{{{inner}}}"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _histogram(found: Series, name: str, labels: Mapping[str, str], histogram: Histogram) -> None:
    below = 0
    for bound, count in zip((*histogram.bounds, float("inf")), histogram.counts, strict=True):
        below += count
        edge = "+Inf" if bound == float("inf") else f"{bound:.12g}" if bound != int(bound) else f"{bound:.1f}"
        found[_key(f"{name}_bucket", {**labels, "le": edge})] = below
    found[_key(f"{name}_sum", labels)] = histogram.total
    found[_key(f"{name}_count", labels)] = below


@dataclass(frozen=True, slots=True)
class Shared:
    """A folder in which the workers of one address leave their snapshots, one file per process.

    The folder may be another server's too, since BentoML gives all servers of a BENTOML_HOME the same one and empties
    it at each start: a snapshot bears the process that started the worker, and its children alone are counted together.
    """

    folder: Path
    family: int = field(default_factory=os.getppid)
    """Process that started the workers of this address."""

    def write(self, found: Series) -> None:
        """Leave this worker's snapshot."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"modelserve-{self.family}-{os.getpid()}.json"
        draft = path.with_suffix(".draft")
        draft.write_text(json.dumps(found), encoding="utf-8")
        draft.replace(path)

    def others(self) -> list[Series]:
        """The snapshots of all other workers; of dead ones without their gauges."""
        found = []
        for path in self.folder.glob(f"modelserve-{self.family}-*.json"):
            pid = int(path.stem.rpartition("-")[2])
            if pid == os.getpid():
                continue
            try:
                snapshot: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
                is_fresh = time.time() - path.stat().st_mtime < STALE_S
            except (OSError, ValueError):  # it goes away with its worker
                continue
            if not (is_fresh and _is_alive(pid)):
                snapshot = {key: value for key, value in snapshot.items() if _family(key) not in GAUGES}
            found.append(snapshot)
        return found


def _is_alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()
