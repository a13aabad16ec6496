"""The converter as the agent runs it: a process of its own, which may be killed at any time and ends with the agent."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from mlflow_deploy_plugin.agent.predictions import PredictionTables
from mlflow_deploy_plugin.serving.events import open_recorder
from mlflow_deploy_plugin.serving.record import Batch
from mlflow_deploy_plugin.serving.request import Caller, Matrix
from mlflow_deploy_plugin.serving.signature import Column, Signature
from mlflow_deploy_plugin.spec.settings import ServingSettings

pytestmark = pytest.mark.e2e


def tables_of(home: Path) -> PredictionTables:
    tables = PredictionTables(raw_dir=home / "raw", events_dir=home / "events", log=home / "converter.log")
    tables.prepare()
    return tables


def log(home: Path, first: int, rows: int) -> None:
    """A worker that answers ``rows`` requests and ends."""
    settings = ServingSettings(endpoint="churn", events_dir=str(home / "events"), log_raw_dir=str(home / "raw"))
    recorder = open_recorder(settings, signature=Signature(inputs=(Column(name="x", type="double"),)), model_digest="d")
    numbers = np.arange(first, first + rows, dtype=float)
    recorder.record_batch(
        Batch(
            callers=[Caller(str(int(number))) for number in numbers],
            times=[time.time()] * rows,
            protocols=["mlflow"] * rows,
            latencies_ms=[1.0] * rows,
            payload=Matrix(values=numbers.reshape(-1, 1), columns=("x",)),
            output=numbers,
        )
    )
    recorder.close()


def known(home: Path) -> list[int]:
    paths = (home / "events").rglob("[!.]*.parquet")
    return sorted(int(one) for path in paths for one in pq.ParquetFile(path).read()["request_id"].to_pylist())


def until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


def test_a_converter_that_is_killed_is_replaced_and_nothing_is_lost_or_doubled(tmp_path: Path) -> None:
    tables = tables_of(tmp_path)
    for turn in range(3):
        log(tmp_path, 100 * turn, 100)
        assert tables.convert() == 100
        assert tables._child is not None
        tables._child.send_signal(signal.SIGKILL)
        tables._child.wait()
    tables.stop()
    assert known(tmp_path) == list(range(300))
    assert [*(tmp_path / "raw").glob("*.raw*")] == []


def test_it_ends_with_whoever_asked_however_that_ended(tmp_path: Path) -> None:
    log(tmp_path, 0, 10)
    asks = (
        "import sys, time; from pathlib import Path; from mlflow_deploy_plugin.agent.predictions import *;"
        "home = Path(sys.argv[1]); tables = PredictionTables(raw_dir=home / 'raw', events_dir=home / 'events',"
        " log=home / 'log'); tables.convert(); print(tables._child.pid, flush=True); time.sleep(60)"
    )
    asking = subprocess.Popen([sys.executable, "-c", asks, tmp_path], stdout=subprocess.PIPE, text=True)
    assert asking.stdout is not None
    pid = int(asking.stdout.readline())
    assert not is_gone(pid)
    asking.kill()
    asking.communicate()
    until(lambda: is_gone(pid))
    assert known(tmp_path) == list(range(10))


def test_alone_it_converts_now_and_then_and_once_more_in_the_end(tmp_path: Path) -> None:
    log(tmp_path, 0, 10)
    command = [sys.executable, "-m", "mlflow_deploy_plugin.serving.events.convert", "--every", "0.1"]
    alone = subprocess.Popen([*command, "--raw", tmp_path / "raw", "--events", tmp_path / "events"])
    until(lambda: known(tmp_path) == list(range(10)))
    os.kill(alone.pid, signal.SIGSTOP)
    log(tmp_path, 10, 10)
    alone.send_signal(signal.SIGTERM)
    os.kill(alone.pid, signal.SIGCONT)
    assert alone.wait(30) == 0
    assert known(tmp_path) == list(range(20))
