"""How a worker is started: from a Bento in the store to a command and an environment."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from mlflow_deploy_plugin.agent.processes import Launch
from mlflow_deploy_plugin.agent.threads import thread_environment
from mlflow_deploy_plugin.agent.units import Unit, grpc_port
from mlflow_deploy_plugin.config.home import Home
from mlflow_deploy_plugin.errors import AgentError, ConfigError, PackagingError
from mlflow_deploy_plugin.spec.grpc import ADDRESS
from mlflow_deploy_plugin.spec.settings import PREFIX
from mlflow_deploy_plugin.spec.sockets import SOCKET, socket_name

_QUIET = {"BENTOML_DO_NOT_TRACK": "True", "DO_NOT_TRACK": "1", "MLFLOW_DISABLE_TELEMETRY": "true"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where one worker runs."""

    slot: int
    port: int
    """Of HTTP; gRPC's is the one beside."""
    devices: tuple[str, ...] = ()
    """Its GPUs."""
    record: Mapping[str, Any]


class Launcher(Protocol):
    """Turns a unit and a place into something to start."""

    def __call__(self, unit: Unit, place: Place) -> Launch:
        """The launch; raises ``AgentError`` where the unit cannot run on this machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BentoLauncher:
    """Starts Bentos of the store by the serving room's own launcher, from the code inside the Bento."""

    home: Home

    def __call__(self, unit: Unit, place: Place) -> Launch:
        """See :class:`Launcher`.

        Raises:
            AgentError: the Bento or its environment is not on this machine.
        """
        # 0.1 s that the agent's start saves: its status is there before its first Bento.
        from mlflow_deploy_plugin.packaging.environment import python  # noqa: PLC0415
        from mlflow_deploy_plugin.packaging.store import SOURCE, find, read_spec  # noqa: PLC0415

        tag = unit.deployment.model.bento
        try:
            bento = find(self.home, tag)
            spec = read_spec(bento) if bento else None
            interpreter = python(self.home, spec) if spec else None
        except (ConfigError, PackagingError) as error:
            raise AgentError(str(error)) from error
        if bento is None or spec is None:
            raise AgentError(
                f"Bento {tag} is not in the store {self.home.bentos};"
                " create the deployment on this machine, or bring the Bento here by 'bentoml import'"
            )
        source = bento / SOURCE
        beside = {"socket": socket_name(place.port)} if spec.has_socket else {}
        named = {SOCKET: beside["socket"]} if beside else {}
        return Launch(
            command=(
                str(interpreter or sys.executable),
                *("-m", "mlflow_deploy_plugin.serving.launch"),
                *("--bento", str(source), "--host", "127.0.0.1", "--port", str(place.port)),
            ),
            cwd=source,
            environment={**worker_environment(unit, place, home=self.home), **named, "PYTHONPATH": str(source)},
            log=log_of(self.home, unit, place.slot),
            record={**place.record, **beside},
        )


def worker_environment(unit: Unit, place: Place, *, home: Home) -> dict[str, str]:
    """What a worker sees: this process's variables, the manifest's, and what only the agent knows.

    The threads of its mathematics follow its ``cpu``, unless the manifest or the agent's own environment says more.
    """
    deployment = unit.deployment
    return {
        **thread_environment(deployment.resources.cpu, workers=deployment.workers),
        **{name: text for name, text in os.environ.items() if name not in {"PYTHONPATH", "PYTHONHOME"}},
        **_QUIET,
        **deployment.environment,
        f"{PREFIX}ENDPOINT": deployment.endpoint,
        f"{PREFIX}DEPLOYMENT": deployment.name,
        f"{PREFIX}STAGE": deployment.stage,
        f"{PREFIX}EVENTS_DIR": str(home.events),
        f"{PREFIX}LOG_RAW_DIR": str(home.raw),
        ADDRESS: f"127.0.0.1:{grpc_port(place.port)}",
        f"{PREFIX}LOG_KEY_FILE": str(home.log_key),
        "BENTOML_HOME": str(home.bentoml),
        "CUDA_VISIBLE_DEVICES": ",".join(place.devices),
    }


def log_of(home: Home, unit: Unit, slot: int) -> Path:
    """Where the output of the process ``slot`` of a deployment goes, whatever its generation."""
    return home.logs / f"{unit.deployment.name}-{slot}.log"
