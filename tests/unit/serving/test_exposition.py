"""The metrics: what is counted, how it reads, and how it stays right with several workers."""

import json
import os
import shutil
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from mlflow_deploy_plugin.serving import exposition
from mlflow_deploy_plugin.serving.codecs.base import Totals
from mlflow_deploy_plugin.serving.faults import Fault
from mlflow_deploy_plugin.serving.gpus import NvmlReader, Reading, open_reader
from mlflow_deploy_plugin.serving.metrics import LATENCY_BOUNDS, Metrics, RouteKey

LABELS = exposition.Labels(model_version='odd"name', endpoint="churn")
IDLE = exposition.Gauges(in_flight=0, waiting_rows=0, is_ready=True)


def families(found: exposition.Series) -> dict[str, Any]:
    return {family.name: family for family in text_string_to_metric_families(exposition.text(found).decode())}


def test_totals_are_of_all_workers() -> None:
    parts = []
    for _ in range(2):
        metrics = Metrics()
        metrics.batch(rows=3, seconds=0.5, prediction=[1, 2, 3])
        metrics.answered([RouteKey("rest", "/predict", 200)], latencies_s=[1.0], queues_s=[0.25], codecs_s=[0.125])
        metrics.failed(RouteKey("rest", "/predict", 500), Fault.MODEL_FAILED, latency_s=2.0)
        metrics.failed(RouteKey("rest", "/predict", 422), Fault.INVALID, latency_s=4.0)
        parts.append(exposition.series(metrics, LABELS, IDLE))
    totals = exposition.totals(exposition.merge(parts))
    assert totals == Totals(
        requests=2, requests_s=2.0, errors=2, errors_s=4.0, queue_s=0.5, batches=2, compute_s=1.0, rows=6
    )


def test_every_bounded_series_is_there_from_the_start() -> None:
    found = families(exposition.series(Metrics(["no", "yes"]), LABELS, IDLE))
    predictions = {
        (sample.labels["prediction_class"], sample.labels["status"]): sample.value
        for sample in found["model_predictions"].samples
    }
    assert predictions == {
        ("no", "success"): 0,
        ("yes", "success"): 0,
        ("other", "success"): 0,
        ("none", "error"): 0,
    }
    assert len(found["model_rejected"].samples) == len(Fault)
    drops = {(one.labels["table"], one.labels["reason"]): one.value for one in found["model_log_dropped"].samples}
    assert drops["predictions", "disk_full"] == drops["labels", "queue_full"] == 0
    assert found["model_ready"].samples[0].labels["model_version"] == 'odd"name'
    assert "0.1" in {sample.labels.get("le") for sample in found["model_prediction_latency_seconds"].samples}
    assert 0.1 in LATENCY_BOUNDS


def test_histograms_are_cumulative_and_classes_are_counted() -> None:
    metrics = Metrics([0, 1])
    metrics.batch(rows=3, seconds=0.002, prediction=np.array([0, 1, 1]))
    metrics.answered([RouteKey("rest", "/predict", 200)], latencies_s=[0.1], queues_s=[0.001], codecs_s=[0.0002])
    found = exposition.series(metrics, LABELS, IDLE)
    latency = families(found)["model_prediction_latency_seconds"].samples
    below = {sample.labels["le"]: sample.value for sample in latency if sample.name.endswith("_bucket")}
    assert (below["0.075"], below["0.1"], below["+Inf"]) == (0, 1, 1)
    assert metrics.predictions == [1, 2, 0]


def test_a_class_that_is_called_other_is_counted() -> None:
    metrics = Metrics(["no", "other", "yes"])
    metrics.batch(rows=4, seconds=0.002, prediction=np.array(["other", "other", "yes", "surprise"]))
    counted = families(exposition.series(metrics, LABELS, IDLE))["model_predictions"].samples
    by_class = {(one.labels["prediction_class"], one.labels["status"]): one.value for one in counted}
    assert by_class == {("no", "success"): 0, ("other", "success"): 3, ("yes", "success"): 1, ("none", "error"): 0}


def test_of_many_classes_the_first_have_series_and_the_rest_is_other() -> None:
    metrics = Metrics(range(20_000))
    metrics.batch(rows=4, seconds=0.002, prediction=np.array([0, 99, 100, 19_999]))
    counted = families(exposition.series(metrics, LABELS, IDLE))["model_predictions"].samples
    by_class = {one.labels["prediction_class"]: one.value for one in counted if one.labels["status"] == "success"}
    assert len(by_class) == 101
    assert (by_class["0"], by_class["99"], by_class["other"], sum(by_class.values())) == (1, 1, 2, 4)


def test_only_faults_of_the_server_count_against_the_model() -> None:
    metrics = Metrics()
    key = RouteKey("rest", "/predict", 422)
    metrics.failed(key, Fault.INVALID, latency_s=0.1)
    assert (metrics.errors, sum(metrics.latency.counts)) == (0, 0)
    metrics.failed(key, Fault.TIMED_OUT, latency_s=0.1)
    assert (metrics.errors, sum(metrics.latency.counts)) == (1, 1)


def test_workers_of_one_address_are_summed_and_the_dead_keep_their_counters_only(tmp_path: Path) -> None:
    shared = exposition.Shared(tmp_path, family=4)
    alive, dead = 1, 2**22 + 1  # process 1 always lives; no process has a number beyond the kernel's most
    counter, gauge = 'model_predictions_total{a="b"}', 'model_in_flight{a="b"}'
    for pid in (alive, dead):
        (tmp_path / f"modelserve-4-{pid}.json").write_text(json.dumps({counter: 5, gauge: 2}))
    (tmp_path / "modelserve-4-7.draft").write_text("{")
    own = {counter: 1.0, gauge: 1.0}
    shared.write(own)
    assert exposition.merge([own, *shared.others()]) == {counter: 11.0, gauge: 3.0}


def test_a_number_that_another_process_bears_now_revives_no_gauge(tmp_path: Path) -> None:
    path = tmp_path / "modelserve-4-1.json"
    path.write_text(json.dumps({'model_ready{a="b"}': 1, 'model_queue_seconds_count{a="b"}': 3}))
    os.utime(path, (0, time.time() - 2 * exposition.STALE_S))
    assert exposition.Shared(tmp_path, family=4).others() == [{'model_queue_seconds_count{a="b"}': 3}]


def test_another_server_of_the_same_folder_is_not_counted_and_may_empty_it(tmp_path: Path) -> None:
    ours, theirs = exposition.Shared(tmp_path / "shared", family=4), exposition.Shared(tmp_path / "shared", family=5)
    theirs.write({"a": 3})
    ours.write({"a": 1})
    assert exposition.Shared(tmp_path / "shared", family=4).others() == []
    shutil.rmtree(tmp_path / "shared")  # as BentoML does when another server starts
    ours.write({"a": 2})
    assert ours.others() == []


ODD = 'cafe\\\n"quoted"'


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed: apt-get install prometheus")
def test_promtool_finds_nothing_to_mend() -> None:
    metrics = Metrics(["yes", ODD])
    metrics.batch(rows=2, seconds=0.01, prediction=np.array(["yes", ODD]))
    metrics.answered([RouteKey("rest", "/predict", 200)], latencies_s=[0.01], queues_s=[0.0], codecs_s=[0.001])
    metrics.failed(RouteKey("rest", "/predict", 500), Fault.MODEL_FAILED, latency_s=0.1)
    metrics.dropped("predictions", "disk_full", 2)
    text = exposition.text(exposition.series(metrics, LABELS, IDLE))
    checked = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, check=False)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")
    classes = families(exposition.series(metrics, LABELS, IDLE))["model_predictions"].samples
    assert ODD in {sample.labels["prediction_class"] for sample in classes}


def test_paths_that_scanners_try_make_no_series(talk: Any, serving: Any) -> None:
    async def scan(client: Any) -> str:
        for number in range(50):
            await client.get(f"/admin/{number}")
            await client.post(f"/v2/models/m{number}/infer", content=b"{}")
        return str((await client.get("/metrics")).text)

    text = talk(serving.application(), scan)
    assert sum(line.startswith("model_requests_total") for line in text.splitlines()) == 1


READING = Reading(gpu="GPU-1", used_bytes=3 * 2**30, total_bytes=80 * 2**30, utilization=0.25)


def test_a_gpu_is_told_once_however_many_workers_share_it() -> None:
    gauges = exposition.Gauges(in_flight=1, waiting_rows=0, is_ready=True, gpus=[READING])
    one = exposition.series(Metrics(), LABELS, gauges)
    found = families(exposition.merge([one, one]))
    assert [found[name].samples[0].value for name in exposition.OF_DEVICES] == [3 * 2**30, 80 * 2**30, 0.25]
    assert found["model_gpu_utilization_ratio"].samples[0].labels["gpu"] == "GPU-1"
    assert found["model_in_flight"].samples[0].value == 2


class Library:
    """Stands for pynvml with two devices."""

    class NVMLError(Exception):
        pass

    def __init__(self, *, is_away: bool = False) -> None:
        self.is_away = is_away

    def nvmlInit(self) -> None:  # noqa: N802  its name
        if self.is_away:
            raise self.NVMLError("Driver Not Loaded")

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return 2

    def nvmlDeviceGetHandleByIndex(self, index: int) -> str:  # noqa: N802
        return f"GPU-{index}"

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> str:  # noqa: N802
        return uuid

    def nvmlDeviceGetUUID(self, handle: str) -> str:  # noqa: N802
        return handle

    def nvmlDeviceGetMemoryInfo(self, handle: str) -> Any:  # noqa: ARG002, N802
        if self.is_away:
            raise self.NVMLError("GPU is lost")
        return SimpleNamespace(used=1, total=2)

    def nvmlDeviceGetUtilizationRates(self, handle: str) -> Any:  # noqa: ARG002, N802
        return SimpleNamespace(gpu=50)


@pytest.mark.parametrize(
    ("visible", "names"),
    [(None, ["GPU-0", "GPU-1"]), ("1", ["GPU-1"]), ("GPU-abc, 0", ["GPU-abc", "GPU-0"])],
)
def test_the_gpus_that_cuda_shows_are_read(visible: str | None, names: list[str]) -> None:
    readings = NvmlReader(visible, Library()).read()
    assert [reading.gpu for reading in readings] == names
    assert {(reading.used_bytes, reading.total_bytes, reading.utilization) for reading in readings} == {(1, 2, 0.5)}


def test_a_driver_that_is_not_there_or_goes_away_costs_only_its_metrics() -> None:
    assert NvmlReader(None, Library(is_away=True)).read() == ()
    library = Library()
    reader = NvmlReader(None, library)
    assert len(reader.read()) == 2
    library.is_away = True
    assert reader.read() == ()


def test_a_worker_that_sees_no_gpu_asks_nobody() -> None:
    assert open_reader({"CUDA_VISIBLE_DEVICES": "-1"}).read() == ()
    assert isinstance(open_reader({}), NvmlReader)
