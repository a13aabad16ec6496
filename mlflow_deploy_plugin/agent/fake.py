"""An outside for tests: processes and an Envoy that do what they are told, in memory and without a clock."""

import json
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mlflow_deploy_plugin.agent.envoy.bootstrap import Gateway
from mlflow_deploy_plugin.agent.plan import GatewayView, HostView
from mlflow_deploy_plugin.agent.processes import Launch, Running
from mlflow_deploy_plugin.errors import GatewayError


@dataclass(slots=True, kw_only=True)
class FakeProcesses:
    """Starts what it is told under made-up pids; ``end`` lets one die, SIGTERM and SIGKILL too."""

    launches: dict[int, Launch] = field(default_factory=dict)
    alive: dict[int, Running] = field(default_factory=dict)
    ends: dict[int, str] = field(default_factory=dict)
    signals: list[tuple[int, signal.Signals]] = field(default_factory=list)
    ignores_sigterm: bool = False
    memory: dict[int, int] = field(default_factory=dict)
    """Bytes by pid."""

    def start(self, launch: Launch) -> Running:
        """A new pid."""
        running = Running(pid=1000 + len(self.launches), born=1, record=launch.record)
        self.launches[running.pid] = launch
        self.alive[running.pid] = running
        return running

    def find(self, home: str) -> tuple[Running, ...]:
        """Those that live."""
        return tuple(running for running in self.alive.values() if running.record.get("home") == home)

    def exit_of(self, running: Running) -> str | None:
        """What :meth:`end` said."""
        return None if running.pid in self.alive else self.ends.get(running.pid, "exited")

    def signal(self, running: Running, number: signal.Signals) -> None:
        """Remember it, and end the process where the signal would."""
        self.signals.append((running.pid, number))
        if number is signal.SIGKILL or not self.ignores_sigterm:
            self.end(running.pid, f"killed by {number.name}")

    def memory_of(self, running: Running) -> int:
        """What :attr:`memory` says."""
        return self.memory.get(running.pid, 0)

    def end(self, pid: int, how: str = "exit code 1") -> None:
        """Let a process die."""
        self.alive.pop(pid, None)
        self.ends[pid] = how


@dataclass(slots=True, kw_only=True)
class FakeAdmin:
    """An Envoy that accepts every file at once and finds those hosts ready that ``ready`` names by port."""

    gateway: Gateway
    ready: set[int] = field(default_factory=set)
    all_ready: bool = True
    is_away: bool = False
    active: Mapping[str, int] = field(default_factory=dict)
    drains: int = 0

    def view(self) -> GatewayView:
        """What the files say."""
        names = [resource["name"] for resource in self._read("cds")["resources"]]
        return GatewayView(hosts={name: self._hosts(name) for name in names})

    def versions(self) -> Mapping[str, str]:
        """Those of the files."""
        return {kind: self._read(kind)["version_info"] for kind in ("lds", "rds", "cds")}

    def reopen_logs(self) -> None:
        """Nothing is logged."""

    def drain(self) -> None:
        """Count it."""
        self.drains += 1

    def active_requests(self) -> int:
        """The sum of ``active``."""
        return sum(self.active.values())

    def metrics(self) -> bytes:
        """One series."""
        self._read("rds")
        return b"envoy_http_downstream_rq_total 1\n"

    def _read(self, kind: str) -> dict[str, Any]:
        if self.is_away:
            raise GatewayError("Envoy does not answer")
        document: dict[str, Any] = json.loads(self.gateway.file(kind).read_text(encoding="utf-8"))
        return document

    def _hosts(self, name: str) -> dict[int, HostView]:
        path = self.gateway.folder / "eds" / f"{name}.json"
        if not path.exists():
            return {}
        (assignment,) = json.loads(path.read_text(encoding="utf-8"))["resources"]
        hosts = {}
        for host in assignment["endpoints"][0]["lb_endpoints"]:
            port = host["endpoint"]["address"]["socket_address"]["port_value"]
            is_healthy = host["health_status"] != "DRAINING" and (self.all_ready or port in self.ready)
            hosts[port] = HostView(is_healthy=is_healthy, active=self.active.get(name, 0))
        return hosts
