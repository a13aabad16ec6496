"""``run-local``: one Bento in the foreground, without repository, agent or gateway.

The Bento's processes stay in this process's group, so that a Ctrl-C or a signal to the group reaches them too, and the
kernel ends them should this process be killed. Standard output stays free: everything is said on standard error.
"""

import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Final, NoReturn

from mlflow_deploy_plugin.config.keys import RunLocalConfig
from mlflow_deploy_plugin.errors import AgentError, ConfigError, ModelError
from mlflow_deploy_plugin.packaging import Packaged, PackagingOptions
from mlflow_deploy_plugin.packaging.gpu import VISIBLE, detect, require
from mlflow_deploy_plugin.spec.names import require_label
from mlflow_deploy_plugin.targets.doors import Doors

LAUNCH: Final = "mlflow_deploy_plugin.serving.launch"
BACKLOG: Final = 2048
STOP_S: Final = 15.0
POLL_S: Final = 0.1
_PR_SET_PDEATHSIG: Final = 1  # linux/prctl.h


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """How one process of a Bento is started."""

    command: tuple[str, ...]
    environment: Mapping[str, str]
    folder: Path


def serve_in_foreground(name: str, model_uri: str, config: RunLocalConfig, *, doors: Doors) -> None:
    """Serve until a signal or the Bento itself ends it.

    Raises:
        ConfigError: the port is taken, or the machine has too few GPUs.
        ModelError: the model does not start; its own words are on standard error.
    """
    require_label(name, what="deployment")
    gpus = _gpus(config)
    options = PackagingOptions(env_manager=config.env_manager, reference=config.reference, compile=config.compile)
    packaged = doors.packager.package(model_uri, options)
    with _listening(config) as listener, _terminable():
        address = listener.getsockname()
        launches = [_launch(name, packaged, config, listener, gpus=gpu) for gpu in gpus]
        _serve(launches, listener, url=f"http://{_shown(address[0])}:{address[1]}", wait_s=config.wait_s, doors=doors)


def _serve(launches: Sequence[Launch], listener: socket.socket, *, url: str, wait_s: float, doors: Doors) -> None:
    processes = [_start(launch, listener) for launch in launches]
    try:
        _await_ready(processes, url, wait_s)
        sys.stderr.write(f"serving {launches[0].environment['MODELSERVE_DEPLOYMENT']} at {url}/invocations\n")
        while all(process.poll() is None for process in processes):
            time.sleep(POLL_S)
        raise ModelError(f"the model's process ended with status {_ended(processes)}; its words are above")
    except KeyboardInterrupt:
        doors.say("interrupted; stopping")
    finally:
        _stop(processes)


def _gpus(config: RunLocalConfig) -> list[str]:
    """``CUDA_VISIBLE_DEVICES`` of each worker."""
    if not config.gpu:
        return [""] * config.workers
    granted = require(config.gpu, workers=config.workers, replicas=1, found=detect(os.environ))
    listed = [device.strip() for device in os.environ.get(VISIBLE, "").split(",") if device.strip()]
    devices = (listed or [str(index) for index in range(granted)])[:granted]
    return [devices[worker % granted] if granted else "" for worker in range(config.workers)]


@contextmanager
def _listening(config: RunLocalConfig) -> Iterator[socket.socket]:
    try:
        listener = socket.create_server((config.host, config.port), backlog=BACKLOG)
    except OSError as error:
        raise ConfigError(
            f"cannot listen on {config.host}:{config.port} ({error.strerror or error}); use -C port=0 for a free port"
        ) from error
    with listener:
        yield listener


def _launch(name: str, packaged: Packaged, config: RunLocalConfig, listener: socket.socket, *, gpus: str) -> Launch:
    source = packaged.path / "src"
    environment = {
        **os.environ,
        **config.serving_environment(endpoint=name, deployment=name, stage="local"),
        "PYTHONPATH": str(source),
        "CUDA_VISIBLE_DEVICES": gpus,
    }
    python = str(packaged.python or sys.executable)
    command = (python, "-m", LAUNCH, "--bento", str(source), "--fd", str(listener.fileno()))
    return Launch(command=command, environment=environment, folder=source)


def _start(launch: Launch, listener: socket.socket) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        launch.command,
        env=dict(launch.environment),
        cwd=launch.folder,
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr.fileno(),
        pass_fds=(listener.fileno(),),
        preexec_fn=_leave_signals_to_parent,  # noqa: PLW1509  two system calls, and no thread of ours runs yet
    )


def _leave_signals_to_parent() -> None:
    """Ctrl-C reaches the whole group; the parent answers it, so that a model that still loads prints no traceback."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _await_ready(processes: Sequence[subprocess.Popen[bytes]], url: str, wait_s: float) -> None:
    import httpx  # noqa: PLC0415  a light command must not pay for it

    until = time.monotonic() + wait_s
    with httpx.Client(trust_env=False, timeout=5.0) as client:
        while time.monotonic() < until:
            if any(process.poll() is not None for process in processes):
                raise ModelError(
                    f"the model did not start (status {_ended(processes)}); its words are above, -C env_manager=uv"
                    " runs it with its own requirements"
                )
            try:
                if client.get(f"{url}/readyz").is_success:
                    return
            except httpx.TransportError:
                pass
            time.sleep(POLL_S)
    raise AgentError(f"the model was not ready within {wait_s:g} s; raise -C wait_s, or read its words above")


def _ended(processes: Sequence[subprocess.Popen[bytes]]) -> int | None:
    return next((process.returncode for process in processes if process.poll() is not None), None)


def _stop(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        process.terminate()
    until = time.monotonic() + STOP_S
    for process in processes:
        try:
            process.wait(max(0.0, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM ends this as Ctrl-C does, with the status that a shell expects of it."""

    def end(number: int, _frame: FrameType | None) -> NoReturn:
        raise SystemExit(128 + number)

    try:
        earlier = signal.signal(signal.SIGTERM, end)
    except ValueError:  # not the main thread (MLflow's MCP server): whoever runs the thread owns the signals
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, earlier)


def _shown(host: str) -> str:
    return "127.0.0.1" if host == "0.0.0.0" else f"[{host}]" if ":" in host else host  # noqa: S104  shown, not bound
