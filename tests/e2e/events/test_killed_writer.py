"""A process that logs is killed without warning, or stopped with one: what readers find afterwards."""

import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mlflow_deploy_plugin.serving.events.convert import Converter
from pipelines.monitoring.event_summaries import Window
from pipelines.monitoring.events import EventStore

pytestmark = pytest.mark.e2e

FLUSH_S = 0.2

# Logs a numbered prediction every millisecond and prints its number once it was handed over; SIGTERM closes the log.
BENTO = f"""
import itertools, signal, sys, time
import numpy as np
from mlflow_deploy_plugin.serving.events import open_recorder
from mlflow_deploy_plugin.serving.record import Prediction
from mlflow_deploy_plugin.serving.request import Caller, Matrix
from mlflow_deploy_plugin.serving.signature import Column, Signature
from mlflow_deploy_plugin.spec.settings import ServingSettings

settings = ServingSettings(
    endpoint="churn", deployment="v3", stage="production", events_dir=sys.argv[1], log="full", log_flush_s={FLUSH_S},
    log_raw_dir=sys.argv[2],
)
log = open_recorder(settings, signature=Signature(inputs=(Column(name="x", type="double"),)), model_digest="d")

def stop(*_):
    log.close()
    sys.exit(0)

signal.signal(signal.SIGTERM, stop)
for number in itertools.count():
    log.record(Prediction(
        caller=Caller(request_id=str(number), assigned="v3"), time=time.time(), protocol="mlflow", status="success",
        latency_ms=1.0, rows=1, payload=Matrix(values=np.array([[float(number)]]), columns=("x",)),
        output=np.array([float(number)]),
    ))
    print(number, time.time(), flush=True)
    time.sleep(0.001)
"""


def run_until_ended(
    events: Path, end: Callable[[subprocess.Popen[str]], None], *, raw: Path | str = ""
) -> list[tuple[int, float]]:
    """What the process said it had handed over: numbers and times. What lies ``raw`` in the end is converted."""
    process = subprocess.Popen([sys.executable, "-c", BENTO, events, raw], stdout=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 30
    while not any([*events.rglob("*.parquet"), *events.rglob("*.raw")]) and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(3 * FLUSH_S)
    end(process)
    output, _ = process.communicate(timeout=20)
    if raw:
        assert not any(events.rglob("*.parquet"))
        assert Converter(Path(raw), events).turn().bad == ()
    lines = [line.split() for line in output.splitlines()]
    return [(int(line[0]), float(line[1])) for line in lines if len(line) == 2]


def logged(events: Path) -> tuple[set[int], tuple[str, ...]]:
    now = datetime.now(UTC)
    window = Window(stage="production", endpoint="churn", begin=now - timedelta(hours=1), end=now + timedelta(hours=1))
    with EventStore(events) as store:
        rows = store.features(window)
    assert (rows.frame["x"] == rows.frame["prediction"]).all()
    return set(rows.frame["x"].astype(int)), rows.unreadable


@pytest.mark.parametrize("raw", ["", "raw"])
@pytest.mark.parametrize("attempt", range(3))
def test_a_killed_process_loses_at_most_the_flush_interval(tmp_path: Path, attempt: int, raw: str) -> None:
    def kill_at_some_moment(process: subprocess.Popen[str]) -> None:
        time.sleep(attempt * FLUSH_S / 3)
        process.send_signal(signal.SIGKILL)

    handed = run_until_ended(tmp_path, kill_at_some_moment, raw=raw and tmp_path / raw)
    killed_at = handed[-1][1]
    kept, unreadable = logged(tmp_path)
    assert unreadable == ()
    lost = [(number, moment) for number, moment in handed if number not in kept]
    oldest_loss_s = max((killed_at - moment for _, moment in lost), default=0.0)
    # One interval, and the time that a flush in progress takes; who lets this process wait lets its flush wait.
    moments = [moment for _, moment in handed]
    starved_s = max(after - before for before, after in itertools.pairwise(moments))
    assert oldest_loss_s < FLUSH_S + 1.0 + 5 * starved_s
    assert len(kept) > 100


@pytest.mark.parametrize("raw", ["", "raw"])
def test_a_stop_with_warning_loses_nothing(tmp_path: Path, raw: str) -> None:
    handed = run_until_ended(tmp_path, lambda process: process.send_signal(signal.SIGTERM), raw=raw and tmp_path / raw)
    kept, _ = logged(tmp_path)
    assert {number for number, _ in handed} <= kept
    assert list(tmp_path.rglob("*.tmp")) == []


@pytest.mark.parametrize("raw", ["", "raw"])
def test_a_full_disk_does_not_stop_predictions(tmp_path: Path, raw: str) -> None:
    """A file-size limit of nothing is what a full disk is to a writer, and needs no rights to set up."""
    limited = BENTO.replace(
        "import itertools", "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))\nimport itertools", 1
    )
    process = subprocess.Popen(
        [sys.executable, "-c", limited, tmp_path, raw and tmp_path / raw],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )
    time.sleep(4)
    process.send_signal(signal.SIGTERM)
    output, errors = process.communicate(timeout=20)
    assert process.returncode == 0
    assert len(output.splitlines()) > 100
    assert "events of table predictions were dropped" in errors
    assert "Traceback" not in errors
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
