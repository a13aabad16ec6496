"""A worker whose device has no memory for what it is asked: the row that finds none is told so, the others are served.

Runs on the CPU too, where an allocation that no address space holds stands for a full device.
"""

import argparse
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import cloudpickle
import httpx
import numpy as np
import psutil
import pytest
import torch

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

SCRIPT = Path(__file__).parents[3] / "docs/gpu/throughput.py"
ROWS = 64
GREEDY = 1000.0
"""A first value above it asks for more memory than there can be."""
DEVICES = [
    pytest.param("cpu"),
    pytest.param(
        "cuda:0",
        marks=[
            pytest.mark.gpu,
            pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device on this machine"),
        ],
    ),
]


class Hungry(torch.nn.Module):
    """Takes a fortieth of the memory for each row, and everything for a greedy one."""

    def __init__(self, total: int, greedy: float) -> None:
        super().__init__()
        self.row_bytes = total // 40
        self.greedy = greedy

    def forward(self, batch: Any) -> Any:
        needed = self.row_bytes * len(batch)
        if bool((batch[:, 0] > self.greedy).any()):
            needed = 1 << 60
        held = torch.empty(needed, dtype=torch.uint8, device=batch.device)
        return batch[:, :1] * 2 + held[:0].sum()


@pytest.fixture(scope="module")
def script() -> ModuleType:
    """``docs/gpu/throughput.py``, which knows how to pack a model and to start the launcher."""
    spec = importlib.util.spec_from_file_location("throughput", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(params=DEVICES)
def worker(request: pytest.FixtureRequest, script: ModuleType, tmp_path: Path) -> Iterator[tuple[str, str, Path]]:
    """Device, address and log of a served :class:`Hungry`."""
    device: str = request.param
    total = torch.cuda.mem_get_info()[1] if device.startswith("cuda") else psutil.virtual_memory().total
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    bento = script.make_bento(tmp_path, Hungry(total, GREEDY))
    cloudpickle.unregister_pickle_by_value(sys.modules[__name__])
    options = argparse.Namespace(device=device, precision="fp32", compile=False, graphs=False, rows=ROWS, connections=1)
    with script.server(bento, options) as address:
        yield device, address, tmp_path / "log"


def ask(address: str, rows: np.ndarray[Any, Any]) -> httpx.Response:
    return httpx.post(f"http://{address}/invocations", json={"inputs": rows.tolist()}, timeout=120)


def test_a_row_that_finds_no_room_is_503_and_the_worker_goes_on(
    worker: tuple[str, str, Path], script: ModuleType
) -> None:
    device, address, log = worker
    rows = np.random.default_rng(0).normal(size=(ROWS, script.WIDTH)).astype("float32")
    for _ in range(2):
        told = ask(address, rows)
        assert told.status_code == 200, told.text
        np.testing.assert_allclose(np.ravel(told.json()["predictions"]), rows[:, 0] * 2, rtol=1e-5)
        greedy = rows[:1].copy()
        greedy[0, 0] = GREEDY + 1
        refused = ask(address, greedy)
        assert refused.status_code == 503, refused.text
        assert "retry-after" in refused.headers
        assert f"no room on {device} for even one row" in refused.text
    if device.startswith("cuda"):
        assert "running them in halves" in log.read_text()
        metrics = httpx.get(f"http://{address}/metrics", timeout=30).text
        assert "model_gpu_memory_used_bytes{" in metrics
        assert "model_gpu_utilization_ratio{" in metrics
