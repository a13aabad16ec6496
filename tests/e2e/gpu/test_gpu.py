"""The real thing, where a CUDA device is: precisions, graphs, no room, metrics, and the benchmark."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mlflow_deploy_plugin.packaging.gpu import detect
from mlflow_deploy_plugin.packaging.machine import ThisMachine
from mlflow_deploy_plugin.serving.faults import Fault, RequestError
from mlflow_deploy_plugin.serving.gpus import open_reader
from mlflow_deploy_plugin.serving.predictors.accelerators import CudaAccelerator
from mlflow_deploy_plugin.serving.predictors.base import Output
from mlflow_deploy_plugin.serving.predictors.checks import why_not_batch
from mlflow_deploy_plugin.serving.predictors.torch_module import TorchPredictor, prove
from mlflow_deploy_plugin.serving.request import Tensor
from mlflow_deploy_plugin.serving.signature import TensorSpec
from mlflow_deploy_plugin.spec.settings import ServingSettings

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device on this machine"),
]

ROOT = Path(__file__).parents[3]
DEVICE = "cuda:0"
SPEC = TensorSpec(name="", dtype="float32", shape=(-1, 64))
SAMPLE = Tensor(array=np.random.default_rng(0).normal(size=(8, 64)).astype("float32"))


def network(hidden: int = 512) -> Any:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(64, hidden), torch.nn.ReLU(), torch.nn.Linear(hidden, 10)).eval()


class Wrapper:
    """The pyfunc's part: the same module on the same device, with pageable copies."""

    name = "pyfunc"

    def __init__(self) -> None:
        self.module = network().to(DEVICE)

    def predict(self, payload: Any, params: Any, wants: Any) -> Output:  # noqa: ARG002
        with torch.no_grad():
            return Output(self.module(torch.from_numpy(payload.array).to(DEVICE)).cpu().numpy())

    def stream(self, payload: Any, params: Any) -> Any:
        raise NotImplementedError


def make(module: Any = None) -> TorchPredictor:
    module = network().to(DEVICE) if module is None else module
    return TorchPredictor(plain=Wrapper(), module=module, device=CudaAccelerator(DEVICE), spec=SPEC)


def served(**settings: Any) -> Any:
    base = make()
    expected = base.plain.predict(SAMPLE, None, "prediction").prediction
    return prove(base, SAMPLE, expected, settings=ServingSettings(**settings))


@pytest.mark.parametrize(
    "settings",
    [
        {"precision": "fp32"},
        {"precision": "tf32"},
        {"precision": "bf16"},
        {"precision": "fp16"},
        {"cuda_graphs": "on", "max_batch_size": 16},
        {"cuda_graphs": "on", "precision": "bf16", "max_batch_size": 16},
        {"torch_compile": "on", "max_batch_size": 4},
    ],
    ids=lambda settings: "-".join(map(str, settings.values())),
)
def test_each_form_serves_and_batches_of_every_size_come_back_in_order(settings: dict[str, Any]) -> None:
    loaded = served(**settings)
    assert loaded.fallbacks == ()
    assert loaded.predictor.name == "torch", loaded.reason
    assert len(loaded.predictor.recorded) == (len(loaded.predictor.sizes) if "cuda_graphs" in settings else 0)
    generator = np.random.default_rng(1)
    for rows in (1, 3, 16, 5, 40, 2):
        payload = Tensor(array=generator.normal(size=(rows, 64)).astype("float32"))
        found = loaded.predictor.predict(payload, None, "prediction").prediction
        expected = loaded.predictor.plain.predict(payload, None, "prediction").prediction
        np.testing.assert_allclose(found, expected, atol=0.05 * np.abs(expected).max())


@pytest.mark.parametrize("precision", ["tf32", "bf16", "fp16"])
def test_rows_that_round_otherwise_in_company_are_batched_all_the_same(precision: str) -> None:
    module = network(hidden=4096).to(DEVICE)
    base = make(module)
    base.plain.module = module
    expected = base.plain.predict(SAMPLE, None, "prediction").prediction
    loaded = prove(base, SAMPLE, expected, settings=ServingSettings(precision=precision))
    assert precision in loaded.reason
    assert why_not_batch(loaded.judge, SAMPLE) == ""


def test_pinned_memory_is_kept_from_batch_to_batch() -> None:
    predictor = make()
    for rows in (8, 4, 8):
        predictor.predict(Tensor(array=SAMPLE.array[:rows]), None, "prediction")
    (held,) = predictor.device._inputs.values()
    assert held.is_pinned()
    assert held.shape == (8, 64)


class Hungry(torch.nn.Module):
    """Takes a share of the device's free memory for each row."""

    def __init__(self, rows: int) -> None:
        super().__init__()
        self.rows = rows

    def forward(self, batch: Any) -> Any:
        free, _ = torch.cuda.mem_get_info()
        needed = int(free / self.rows) * len(batch)
        held = torch.empty(needed, dtype=torch.uint8, device=batch.device)
        return batch.sum(dim=1, keepdim=True) + held[:1].float() * 0


def test_a_batch_that_finds_no_room_is_answered_in_halves_and_a_row_that_finds_none_is_503() -> None:
    predictor = make(Hungry(rows=3))
    found = predictor.predict(SAMPLE, None, "prediction").prediction
    np.testing.assert_allclose(found[:, 0], SAMPLE.array.sum(axis=1), rtol=1e-4, atol=1e-4)
    greedy = make(lambda batch: torch.empty(1 << 60, device=batch.device))
    with pytest.raises(RequestError, match="no room") as told:
        greedy.predict(SAMPLE, None, "prediction")
    assert told.value.fault is Fault.UNAVAILABLE
    assert len(make().predict(SAMPLE, None, "prediction").prediction) == 8, "the process lives and serves"


def test_the_metrics_read_the_device() -> None:
    pytest.importorskip("pynvml", reason="nvidia-ml-py is not installed")
    readings = open_reader(os.environ).read()
    assert len(readings) == torch.cuda.device_count()
    assert all(0 < one.used_bytes < one.total_bytes and 0 <= one.utilization <= 1 for one in readings)


def machine(**environment: str) -> ThisMachine:
    return ThisMachine(environment=environment, bento=lambda _: Path(), pids=lambda _: ())


def test_what_a_device_has_left_is_read_by_number_and_by_name() -> None:
    pytest.importorskip("pynvml", reason="nvidia-ml-py is not installed")
    assert detect({}).count == torch.cuda.device_count()
    assert len(machine().gpus()) == torch.cuda.device_count()
    name = f"GPU-{torch.cuda.get_device_properties(0).uuid}"
    (before,) = machine(CUDA_VISIBLE_DEVICES=name).gpus()
    held = torch.empty(4 << 30, dtype=torch.uint8, device=DEVICE)
    (after,) = machine(CUDA_VISIBLE_DEVICES="0").gpus()
    assert before - after > held.numel() // 2, "others may give some back meanwhile, but not as much"
    assert machine(CUDA_VISIBLE_DEVICES="").gpus() == ()


@pytest.mark.timeout(600)
def test_the_benchmark_beside_the_bare_loop() -> None:
    command = [sys.executable, str(ROOT / "docs/gpu/throughput.py"), "--device", DEVICE, "--seconds", "5", "--graphs"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    print(done.stdout)  # noqa: T201  the figures are what it is run for
    assert told["server"]["batches"] > 100
