"""Which device a worker's model runs on, in the words of its flavour. Pure but for counting GPUs where it must.

torch takes ``cuda:1``; transformers takes an integer and falls back to the *CPU* for anything else, so the same
environment variable of MLflow must be written per flavour. Sources: ``mlflow/pytorch/__init__.py`` (_load_pyfunc) and
``mlflow/transformers/__init__.py`` of MLflow 3.17.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from mlflow_deploy_plugin.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MLFLOW_DEVICE: Final = "MLFLOW_DEFAULT_PREDICTION_DEVICE"
DRIVERS: Final = (Path("/proc/driver/nvidia"), Path("/dev/nvidiactl"), Path("/dev/kfd"))
"""One of them is there where a driver of GPUs is that torch knows."""
TORCH_LOADERS: Final = frozenset({"mlflow.pytorch"})
INTEGER_LOADERS: Final = frozenset({"mlflow.transformers"})


def visible_gpus() -> int:
    """GPUs that torch sees; 0 without torch."""
    try:
        import torch  # noqa: PLC0415  heavy, and only a GPU flavour comes here
    except ImportError:
        return 0
    return int(torch.cuda.device_count())


def may_see_gpu(environment: Mapping[str, str]) -> bool:
    """Whether torch could find a GPU here, without asking it: its import costs seconds and memory.

    >>> may_see_gpu({"CUDA_VISIBLE_DEVICES": ""})
    False
    """
    return environment.get("CUDA_VISIBLE_DEVICES") != "" and any(path.exists() for path in DRIVERS)


def choose(device: str, *, worker: int, gpus: int) -> str:
    """The torch device of a worker. An empty ``device`` means the worker's own GPU, else the CPU.

    >>> choose("", worker=3, gpus=2), choose("cuda", worker=1, gpus=2), choose("", worker=0, gpus=0)
    ('cuda:1', 'cuda:1', 'cpu')

    Raises:
        ConfigError: a GPU is asked for that is not there.
    """
    if device in {"", "cuda", "auto"}:
        if gpus:
            return f"cuda:{worker % gpus}"
        if device == "cuda":
            raise ConfigError("device='cuda', but this process sees no GPU; use device=cpu or give the Bento one")
        return "cpu"
    if device.startswith("cuda:") and int(device.removeprefix("cuda:") or 0) >= gpus:
        raise ConfigError(f"device={device!r}, but this process sees {gpus} GPU(s); they count from cuda:0")
    return device


def mlflow_device(loader: str, device: str, *, worker: int, gpus: Callable[[], int] = visible_gpus) -> str | None:
    """The value of MLflow's device variable for a flavour; None where the flavour knows no device.

    >>> mlflow_device("mlflow.transformers", "cuda:1", worker=0, gpus=lambda: 2)
    '1'
    >>> mlflow_device("mlflow.sklearn", "", worker=0)
    """
    if loader in TORCH_LOADERS:
        return choose(device, worker=worker, gpus=gpus())
    if loader in INTEGER_LOADERS:
        chosen = choose(device, worker=worker, gpus=gpus())
        return "-1" if chosen == "cpu" else chosen.removeprefix("cuda:")
    return None
