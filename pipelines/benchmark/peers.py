"""The servers of others, each in an environment of its own and asked in its own protocol, batching where it can.

Left out: Ray Serve and KServe's server, which listen on every address of the machine whatever they are told.
"""

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Final

from pipelines.benchmark.environments import Environments, Wanted, same_as_here
from pipelines.benchmark.stage import HOST, Placed, SubjectError, free_ports, launch
from pipelines.benchmark.subjects import SERVERS, Ground, Subject, Wires, mlflow_wire
from pipelines.benchmark.wires import MODEL, OIP_BINARY, OIP_JSON, PLAIN, TORCHSERVE, Format, Wire

_LIBRARIES: Final = ("scikit-learn", "torch")

Command = Callable[[Ground, Path], tuple[str, ...]]
"""From the ground and the environment's ``bin`` folder to a command; may write files on the ground."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A server that others wrote."""

    name: str
    about: str
    package: str
    """Whose version names it."""
    requirements: tuple[str, ...]
    wires: Wires
    command: Command
    program: str = ""
    """A program outside Python that it needs."""
    python: Path | None = None
    """Interpreter that it must run on where there is one; else that of our version."""


def subject(peer: Peer, environments: Environments) -> Subject:
    """The subject that installs the peer when it is first started."""

    def placed(ground: Ground) -> tuple[Placed, ...]:
        binaries = _binaries(peer, environments)
        path = f"{binaries}:/usr/local/bin:/usr/bin:/bin"
        environment = {
            "PATH": path,
            "BENCHMARK_MODEL": str(ground.prepared.folder),
            "BENTOML_HOME": str(ground.folder / "bentoml"),
            "BENTOML_DO_NOT_TRACK": "True",
            "DO_NOT_TRACK": "1",
            "MLFLOW_DISABLE_TELEMETRY": "true",
        }
        command = peer.command(ground, binaries)
        return (Placed(launch=launch(command, folder=ground.folder, log=peer.name, environment=environment)),)

    return Subject(
        name=peer.name,
        about=peer.about,
        wires=peer.wires,
        placed=placed,
        version=lambda: f"{peer.package} {environments.version(_wanted(peer), peer.package)}",
    )


def _binaries(peer: Peer, environments: Environments) -> Path:
    if peer.program and shutil.which(peer.program) is None:
        raise SubjectError(f"needs {peer.program}, which is not installed")
    return environments.bin(_wanted(peer))


def _wanted(peer: Peer) -> Wanted:
    wanted = Wanted(name=peer.name, requirements=(*same_as_here(*_LIBRARIES), *peer.requirements))
    return replace(wanted, python=str(peer.python)) if peer.python and peer.python.exists() else wanted


def _json_alone(wire: Wire) -> Wires:
    return lambda work, format_: wire if format_ == "json" else None  # noqa: ARG005  every work


def _oip(work: str, format_: Format) -> Wire | None:  # noqa: ARG001  every work
    return OIP_JSON if format_ == "json" else OIP_BINARY


def _oip_json_alone(work: str, format_: Format) -> Wire | None:  # noqa: ARG001  every work
    return OIP_JSON if format_ == "json" else None


def _script(name: str, *, extra_ports: int = 0) -> Command:
    """A program of ``servers/`` that is told folder and ports."""

    def command(ground: Ground, binaries: Path) -> tuple[str, ...]:
        ports = (ground.port, *free_ports(extra_ports))
        return (str(binaries / "python"), str(SERVERS / name), str(ground.prepared.folder), *map(str, ports))

    return command


def _mlflow(ground: Ground, binaries: Path) -> tuple[str, ...]:
    model = str(ground.prepared.model)
    where = ("--host", HOST, "--port", str(ground.port), "--workers", "1")
    return (str(binaries / "mlflow"), "models", "serve", "-m", model, "--env-manager", "local", *where)


def _bentoml(service: str) -> Command:
    def command(ground: Ground, binaries: Path) -> tuple[str, ...]:
        where = ("--working-dir", str(SERVERS), "--host", HOST, "--port", str(ground.port))
        return (str(binaries / "python"), "-m", "bentoml", "serve", f"bentoml_service:{service}", *where)

    return command


def _bentoml_batch(work: str, format_: Format) -> Wire | None:  # noqa: ARG001  every work
    """Its batchable API answers an array, not an object."""
    return replace(PLAIN, read=TORCHSERVE.read) if format_ == "json" else None


def _mlserver(ground: Ground, binaries: Path) -> tuple[str, ...]:
    for name in ("models.py", "mlserver_runtime.py"):
        shutil.copyfile(SERVERS / name, ground.folder / name)
    grpc_port, metrics_port = free_ports(2)
    settings = {
        "host": HOST,
        "http_port": ground.port,
        "grpc_port": grpc_port,
        "metrics_port": metrics_port,
        "parallel_workers": 0,
        "debug": False,
    }
    model = {
        "name": MODEL,
        "implementation": "mlserver_runtime.Runtime",
        "parameters": {"uri": str(ground.prepared.folder)},
    }
    (ground.folder / "settings.json").write_text(json.dumps(settings), encoding="utf-8")
    (ground.folder / "model-settings.json").write_text(json.dumps(model), encoding="utf-8")
    return (str(binaries / "mlserver"), "start", str(ground.folder))


def _torchserve(ground: Ground, binaries: Path) -> tuple[str, ...]:
    """The archive lies open in the model store, which TorchServe allows and which needs no archiver."""
    store = ground.folder / "store"
    archive = store / MODEL
    (archive / "MAR-INF").mkdir(parents=True)
    for source in (SERVERS / "models.py", SERVERS / "torchserve_handler.py", ground.prepared.folder / "weights.npz"):
        shutil.copyfile(source, archive / source.name)
    model = {"modelName": MODEL, "handler": "torchserve_handler.py:handle", "modelVersion": "1.0"}
    manifest = {"createdOn": "01/01/2026 00:00:00", "runtime": "python", "model": model, "archiverVersion": "0.12.0"}
    (archive / "MAR-INF" / "MANIFEST.json").write_text(json.dumps(manifest), encoding="utf-8")
    (ground.folder / "config.properties").write_text(_torchserve_config(ground, store), encoding="utf-8")
    config = ("--ts-config", str(ground.folder / "config.properties"), "--model-store", str(store))
    return (str(binaries / "torchserve"), "--start", "--foreground", "--no-config-snapshots", *config)


def _torchserve_config(ground: Ground, store: Path) -> str:
    management, metrics, grpc, grpc_management = free_ports(4)
    worker = {"defaultVersion": True, "marName": MODEL, "minWorkers": 1, "maxWorkers": 1, "batchSize": 64}
    models = {MODEL: {"1.0": {**worker, "maxBatchDelay": 5, "responseTimeout": 120}}}
    lines = {
        "inference_address": f"http://{HOST}:{ground.port}",
        "management_address": f"http://{HOST}:{management}",
        "metrics_address": f"http://{HOST}:{metrics}",
        "grpc_inference_address": HOST,
        "grpc_management_address": HOST,
        "grpc_inference_port": grpc,
        "grpc_management_port": grpc_management,
        "disable_token_authorization": "true",
        "model_store": store,
        "load_models": MODEL,
        "number_of_netty_threads": 1,
        "job_queue_size": 1000,
        "models": json.dumps(models),
    }
    return "".join(f"{name}={value}\n" for name, value in lines.items())


_PEERS: Final = (
    Peer(
        name="fastapi",
        about="FastAPI on uvicorn, an async function that calls the model",
        package="fastapi",
        requirements=("fastapi", "uvicorn[standard]"),
        wires=_json_alone(PLAIN),
        command=_script("fastapi_server.py"),
    ),
    Peer(
        name="mlflow",
        about="mlflow models serve, one worker",
        package="mlflow",
        requirements=same_as_here("mlflow"),
        wires=mlflow_wire,
        command=_mlflow,
    ),
    Peer(
        name="bentoml",
        about="bentoml serve of an @api",
        package="bentoml",
        requirements=same_as_here("bentoml"),
        wires=_json_alone(PLAIN),
        command=_bentoml("Plain"),
    ),
    Peer(
        name="bentoml-batch",
        about="bentoml serve of a batchable @api, max_batch_size 64, max_latency_ms 1000",
        package="bentoml",
        requirements=same_as_here("bentoml"),
        wires=_bentoml_batch,
        command=_bentoml("Batchable"),
    ),
    Peer(
        name="mlserver",
        about="MLServer, parallel_workers 0, a runtime of its own",
        package="mlserver",
        requirements=("mlserver",),
        wires=_oip_json_alone,
        command=_mlserver,
    ),
    Peer(
        name="torchserve",
        about="TorchServe, one worker, batchSize 64, maxBatchDelay 5 ms",
        package="torchserve",
        requirements=("torchserve", "pyyaml", "psutil", "setuptools", "packaging", "requests"),
        wires=_json_alone(TORCHSERVE),
        command=_torchserve,
        program="java",
    ),
    Peer(
        name="litserve",
        about="LitServe, max_batch_size 64, batch_timeout 1 ms",
        package="litserve",
        requirements=("litserve",),
        wires=_json_alone(PLAIN),
        command=_script("litserve_server.py"),
    ),
    Peer(
        name="triton",
        about="Triton's Python backend by PyTriton, max_batch_size 64 and its dynamic batcher",
        package="nvidia-pytriton",
        requirements=("nvidia-pytriton",),
        wires=_oip,
        command=_script("triton_server.py", extra_ports=2),
        # The wheel's stub embeds an early 3.11, which cannot read the standard library of a late one.
        python=Path("/usr/bin/python3"),
    ),
)
PEERS: Final[Mapping[str, Peer]] = MappingProxyType({peer.name: peer for peer in _PEERS})
"""Every peer by its name."""
