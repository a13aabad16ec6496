"""What is left on a machine, read from files as the kernel writes them."""

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from mlflow_deploy_plugin.packaging.machine import Free, ThisMachine

MIB = 1024 * 1024


def machine(root: Path, pids: tuple[int, ...] = ()) -> ThisMachine:
    return ThisMachine(environment={}, bento=lambda tag: root / tag, pids=lambda _: pids, root=root)


def write(root: Path, **files: str) -> None:
    for name, text in files.items():
        path = root / name.replace("__", "/").replace("_DOT_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_the_kernel_says_what_is_available(tmp_path: Path) -> None:
    write(tmp_path, proc__meminfo="MemTotal: 9000 kB\nMemAvailable:   2048 kB\nHugePages_Total: 0\n")
    assert machine(tmp_path).host() == Free(2 * MIB, "MemAvailable of /proc/meminfo")


def test_the_tightest_cgroup_counts_and_its_cache_can_be_had_back(tmp_path: Path) -> None:
    write(tmp_path, proc__meminfo="MemAvailable: 999999 kB\n", proc__self__cgroup="0::/a/b\n")
    top = "sys__fs__cgroup__a"
    write(tmp_path, **{f"{top}__memory_DOT_max": f"{10 * MIB}\n", f"{top}__memory_DOT_current": f"{9 * MIB}\n"})
    write(tmp_path, **{f"{top}__memory_DOT_stat": f"anon 5\ninactive_file {2 * MIB}\nactive_file {MIB}\n"})
    write(tmp_path, **{f"{top}__b__memory_DOT_max": "max\n", f"{top}__b__memory_DOT_current": "1\n"})
    assert machine(tmp_path).host() == Free(4 * MIB, "the cgroup's memory.max")


def test_version_1_of_cgroups_is_read_too(tmp_path: Path) -> None:
    folder = "sys__fs__cgroup__memory"
    limit, use = f"{folder}__memory_DOT_limit_in_bytes", f"{folder}__memory_DOT_usage_in_bytes"
    write(tmp_path, **{limit: str(5 * MIB), use: str(2 * MIB)})
    assert machine(tmp_path).host() == Free(3 * MIB, "the cgroup's memory.limit_in_bytes")


def test_a_machine_that_says_nothing_is_not_guessed(tmp_path: Path) -> None:
    found = machine(tmp_path, pids=(1,))
    assert (found.host(), found.model_bytes("churn"), found.worker_bytes("churn")) == (None, 0, 0)


def test_a_model_is_as_large_as_its_files(tmp_path: Path) -> None:
    write(tmp_path, churn__src__model__a="12345", churn__src__model__deep__b="678", churn__src__other="x" * 99)
    assert machine(tmp_path).model_bytes("churn") == 8


def test_the_largest_process_speaks_for_its_bento(tmp_path: Path) -> None:
    write(tmp_path, proc__7__status="Name: python\nVmRSS:     64 kB\n", proc__8__status="VmRSS: 32 kB\n")
    assert machine(tmp_path, pids=(7, 8, 9)).worker_bytes("churn") == 64 * 1024


class NvmlError(Exception):
    """As the library's."""


def device(index: int) -> int:
    if index > 1:
        raise NvmlError
    return index


NVML = SimpleNamespace(
    NVMLError=NvmlError,
    nvmlInit=lambda: None,
    nvmlDeviceGetCount=lambda: 2,
    nvmlDeviceGetHandleByIndex=device,
    nvmlDeviceGetHandleByUUID=lambda uuid: device(int(uuid.removeprefix("GPU-"))),
    nvmlDeviceGetMemoryInfo=lambda handle: SimpleNamespace(free=(handle + 1) * MIB),
)


@pytest.mark.parametrize(
    ("visible", "free"),
    [(None, (MIB, 2 * MIB)), ("1", (2 * MIB,)), ("GPU-0, GPU-1", (MIB, 2 * MIB)), ("", ()), ("7", ())],
)
def test_nvml_says_what_the_devices_that_we_may_use_have_left(visible: str | None, free: tuple[int, ...]) -> None:
    environment = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    here = ThisMachine(environment=environment, bento=Path, pids=lambda _: (), library=NVML)
    assert here.gpus() == free


def test_this_machine_knows_its_own_memory() -> None:
    here = ThisMachine(environment={}, bento=Path, pids=lambda _: (os.getpid(),))
    left = here.host()
    assert left is not None
    assert left.bytes > 0
    assert here.worker_bytes("any") > 10 * MIB
