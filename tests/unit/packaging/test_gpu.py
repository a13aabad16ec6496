import pytest

from mlflow_deploy_plugin.errors import ConfigError
from mlflow_deploy_plugin.packaging.gpu import Gpus, detect, require


def _machine(count: int) -> Gpus:
    return Gpus(count=count, source="NVML")


def test_enough_gpus_are_granted() -> None:
    assert require(2, workers=2, replicas=2, found=_machine(4)) == 2
    assert require(0, workers=4, replicas=1, found=_machine(0)) == 0


def test_too_few_are_refused_with_what_was_found_and_the_way_out() -> None:
    with pytest.raises(ConfigError, match=r"needs 2 GPUs, this machine has 1 \(NVML\); -C gpu=auto"):
        require(1, workers=1, replicas=2, found=_machine(1))


def test_a_worker_never_shares_a_gpu_that_was_asked_for() -> None:
    with pytest.raises(ConfigError, match="workers=1"):
        require(1, workers=2, replicas=1, found=_machine(8))


@pytest.mark.parametrize(
    ("found", "workers", "replicas", "granted"), [(0, 1, 1, 0), (1, 2, 1, 1), (8, 2, 3, 2), (1, 1, 2, 0)]
)
def test_auto_takes_what_is_there(found: int, workers: int, replicas: int, granted: int) -> None:
    assert require("auto", workers=workers, replicas=replicas, found=_machine(found)) == granted


@pytest.mark.parametrize(
    ("visible", "count"),
    [("", 0), ("-1", 0), ("0", 1), ("0,1", 2), ("1, 0", 2), ("0,7,1", 1), ("GPU-8932f937", 1), ("0,1,0,1,0", 4)],
)
def test_the_devices_that_cuda_is_shown_are_the_ones_that_count(visible: str, count: int) -> None:
    assert detect({"CUDA_VISIBLE_DEVICES": visible}, (lambda: _machine(4),)).count == count


def test_the_first_probe_that_knows_is_believed() -> None:
    assert detect({}, (lambda: None, lambda: _machine(2), lambda: _machine(3))).count == 2


def test_a_machine_without_a_driver_has_none() -> None:
    found = detect({}, (lambda: None,))
    assert found.count == 0
    assert "no NVIDIA driver" in found.source


def test_the_real_probes_answer_on_any_machine() -> None:
    assert detect({}).count >= 0
