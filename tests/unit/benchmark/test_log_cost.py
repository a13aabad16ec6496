"""docs/log/cost.py: what the log costs is told by neighbouring slices of one process."""

import json
import runpy
import signal
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlflow_deploy_plugin.serving.events.predictions import PredictionLog
from mlflow_deploy_plugin.serving.record import Batch
from mlflow_deploy_plugin.serving.request import Caller, Matrix

FOLDER = Path(__file__).parents[3] / "docs" / "log"


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    return runpy.run_path(str(FOLDER / "cost.py"))


@pytest.fixture
def switched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Any]:
    monkeypatch.setenv("LOG_COST_FILE", str(tmp_path / "slices.json"))
    return runpy.run_path(str(FOLDER / "switched.py"))


def batch(rows: int) -> Batch:
    payload = Matrix(values=np.zeros((rows, 1)), columns=("x",))
    return Batch([Caller(str(n)) for n in range(rows)], [1.0] * rows, ["mlflow"] * rows, [1.0] * rows, payload, None)


def test_what_drifts_from_pair_to_pair_is_not_told_as_the_logs(script: dict[str, Any]) -> None:
    pairs = [script["Pair"](off=off, on=off + 2.0) for off in (20.0, 40.0, 50.0, 90.0, 100.0)]
    runs = [script["Run"](16, pairs, 0.5, 1.0), script["Run"](16, pairs, 0.5, 2.0)]
    assert script["table"](runs).splitlines()[-1] == (
        "| 16 | 10 | 60.0 | +2.00 ± 0.00 | +0.50 | +4.2% | +1.50 | +6.7% |"
    )


def test_the_error_of_a_mean_without_its_ends_is_that_of_many_draws(script: dict[str, Any]) -> None:
    law = statistics.NormalDist(0, 3)
    draws = [law.samples(60, seed=seed) for seed in range(400)]
    told = [script["trimmed_mean"](draw) for draw in draws]
    true = statistics.stdev(mean for mean, _ in told)
    assert statistics.mean(error for _, error in told) == pytest.approx(true, rel=0.1)


def test_neighbours_of_one_state_and_idle_slices_are_no_pair(script: dict[str, Any]) -> None:
    slices = [
        (True, 100, 0.002), (False, 100, 0.001),
        (False, 100, 0.003), (True, 50, 0.002),
        (True, 100, 0.001), (False, 3, 0.001),
        (True, 100, 0.001), (True, 100, 0.001),
        (True, 100, 0.001),
    ]  # fmt: skip
    assert script["pairs_of"](slices) == [pytest.approx((10.0, 20.0)), pytest.approx((30.0, 40.0))]


def test_runs_of_an_earlier_call_are_counted_with(script: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "runs.json"
    assert script["kept"](file) == []
    runs = [script["Run"](1, [script["Pair"](off=100.0, on=103.0)], 0.5, 1.0)]
    file.write_text(json.dumps(runs))
    assert script["kept"](file) == runs


def test_every_other_slice_logs_and_all_are_counted(
    switched: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    logged: list[int] = []
    now = [0.0]
    monkeypatch.setattr(PredictionLog, "record_batch", lambda _log, one: logged.append(len(one.callers)))
    scope = switched["Switch"].record_batch.__globals__
    monkeypatch.setitem(scope, "perf_counter", lambda: now[0])
    monkeypatch.setitem(scope, "thread_time", lambda: now[0] / 2)
    switch = switched["Switch"]()
    for nth in range(9):
        switch.record_batch(None, batch(nth + 1))
        now[0] += 1.01 * switched["SLICE_S"]
    assert logged == [1, 4, 5, 8, 9]
    switch.tell(signal.SIGUSR1, None)
    slices = json.loads((tmp_path / "slices.json").read_text())
    assert [one[:2] for one in slices] == [[is_on, nth + 1] for nth, is_on in enumerate([True, False, False, True] * 2)]
    assert [one[2] for one in slices] == pytest.approx([0.505 * switched["SLICE_S"]] * 8)
    switch.record_batch(None, batch(20))
    assert logged[-1] == 20
