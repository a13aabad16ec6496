"""What this machine has left for another model: host memory, memory of its GPUs, and what models took so far.

Host memory is the least that anybody says: the kernel (``MemAvailable``) and every cgroup above this process, whose
limit a container feels first. GPUs are asked through NVML; where it is not installed nothing is known of them.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

from mlflow_deploy_plugin.packaging.gpu import VISIBLE
from mlflow_deploy_plugin.spec.bento import MODEL_FOLDER

_KIB: Final = 1024
_LIMITS: Final = {"memory.max": "memory.current", "memory.limit_in_bytes": "memory.usage_in_bytes"}
"""A cgroup's limit and its use, by version 2 and by version 1."""
_UNLIMITED: Final = 1 << 60


class Free(NamedTuple):
    """Memory that is left."""

    bytes: int
    source: str
    """Who says so."""


class Machine(Protocol):
    """What is left on the machine that deployments start on."""

    def host(self) -> Free | None:
        """Memory of the host; ``None``: nobody can say."""
        ...

    def gpus(self) -> tuple[int, ...]:
        """Free bytes of each GPU that our processes may use; empty: there is none, or nobody can say."""
        ...

    def model_bytes(self, bento: str) -> int:
        """Size of the model in a Bento, by its tag; 0: it is not here."""
        ...

    def worker_bytes(self, bento: str) -> int:
        """What the largest running process of a Bento has of the host's memory; 0: none runs."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class FakeMachine:
    """Says what a test wrote."""

    free: Free | None = None
    free_gpus: tuple[int, ...] = ()
    models: Mapping[str, int] = field(default_factory=dict)
    workers: Mapping[str, int] = field(default_factory=dict)

    def host(self) -> Free | None:
        """As given."""
        return self.free

    def gpus(self) -> tuple[int, ...]:
        """As given."""
        return self.free_gpus

    def model_bytes(self, bento: str) -> int:
        """As given."""
        return self.models.get(bento, 0)

    def worker_bytes(self, bento: str) -> int:
        """As given."""
        return self.workers.get(bento, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class ThisMachine:
    """The machine that this process runs on."""

    environment: Mapping[str, str]
    bento: Callable[[str], Path]
    """Folder of a Bento by its tag."""
    pids: Callable[[str], tuple[int, ...]]
    """Processes of a Bento."""
    root: Path = Path("/")
    library: Any = None
    """pynvml, or what stands for it in a test."""

    def host(self) -> Free | None:
        """The least that the kernel and the cgroups say."""
        found = [*self._kernel(), *self._cgroups()]
        return min(found, default=None)

    def gpus(self) -> tuple[int, ...]:
        """By NVML, of those that ``CUDA_VISIBLE_DEVICES`` lets us use."""
        if (library := self.library or _nvml()) is None:
            return ()
        try:
            library.nvmlInit()
            listed = self.environment.get(VISIBLE)
            count = int(library.nvmlDeviceGetCount())
            names = [str(index) for index in range(count)] if listed is None else listed.split(",")
            return tuple(_free(library, name.strip()) for name in names if name.strip())
        except library.NVMLError:
            return ()

    def model_bytes(self, bento: str) -> int:
        """All files of the model's folder."""
        folder = self.bento(bento) / "src" / MODEL_FOLDER
        return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else 0

    def worker_bytes(self, bento: str) -> int:
        """Resident memory, as the kernel counts it."""
        return max((self._resident(pid) for pid in self.pids(bento)), default=0)

    def _kernel(self) -> Iterator[Free]:
        told = _fields(self.root / "proc/meminfo")
        if "MemAvailable" in told:
            yield Free(told["MemAvailable"] * _KIB, "MemAvailable of /proc/meminfo")

    def _cgroups(self) -> Iterator[Free]:
        top = self.root / "sys/fs/cgroup"
        for folder in (*self._own_cgroups(top), top, top / "memory"):
            for limit, use in _LIMITS.items():
                allowed, used = _number(folder / limit), _number(folder / use)
                if allowed is None or used is None or allowed >= _UNLIMITED:
                    continue
                yield Free(max(0, allowed - used + _cached(folder)), f"the cgroup's {limit}")

    def _own_cgroups(self, top: Path) -> Iterator[Path]:
        """The cgroup of version 2 that this process is in, and those above it."""
        with suppress(OSError):
            for line in (self.root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines():
                number, _, name = line.partition("::")
                if number == "0" and name.startswith("/"):
                    own = top / name.strip("/")
                    yield from (folder for folder in (own, *own.parents) if top in folder.parents)

    def _resident(self, pid: int) -> int:
        return _fields(self.root / f"proc/{pid}/status").get("VmRSS", 0) * _KIB


def _cached(cgroup: Path) -> int:
    """Files in a cgroup's memory: the kernel gives that back before it refuses any."""
    stat = _fields(cgroup / "memory.stat")
    return sum(stat.get(f"total_{name}", stat.get(name, 0)) for name in ("active_file", "inactive_file"))


def _nvml() -> Any:  # noqa: ANN401  a library without types
    try:
        import pynvml  # type: ignore[import-untyped]  # noqa: PLC0415  nvidia-ml-py, an extra
    except ImportError:
        return None
    return pynvml


def _free(library: Any, name: str) -> int:  # noqa: ANN401
    if name.isdecimal():
        handle = library.nvmlDeviceGetHandleByIndex(int(name))
    else:
        handle = library.nvmlDeviceGetHandleByUUID(name)
    return int(library.nvmlDeviceGetMemoryInfo(handle).free)


def _fields(path: Path) -> dict[str, int]:
    """``name: number`` or ``name number``, a line each; nothing where the file cannot be read."""
    found: dict[str, int] = {}
    with suppress(OSError):
        for line in path.read_text(encoding="utf-8").splitlines():
            name, *rest = line.replace(":", " ").split()
            if rest and rest[0].isdecimal():
                found[name] = int(rest[0])
    return found


def _number(path: Path) -> int | None:
    try:
        text = path.read_text(encoding="utf-8").strip()
    except OSError:
        return None
    return int(text) if text.isdecimal() else None
