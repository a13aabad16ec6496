"""From what the agent knows to what it says: the endpoints and deployments of ``status.json``. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from mlflow_deploy_plugin.agent.envoy.routes import Served
from mlflow_deploy_plugin.agent.plan import GatewayView, Pending, Refusal, Trial, Worker
from mlflow_deploy_plugin.agent.status import DeploymentStatus, EndpointStatus, State, WorkerState, WorkerStatus
from mlflow_deploy_plugin.agent.units import Unit, deployment_of
from mlflow_deploy_plugin.manifests.model import Deployment, Endpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """All that the words are made of."""

    address: str
    """URL of the gateway."""
    applied: Mapping[str, Served]
    pending: Mapping[str, Pending]
    refused: Mapping[str, Refusal]
    workers: tuple[Worker, ...]
    trials: Mapping[str, Trial]
    gateway: GatewayView | None
    was_ready: Callable[[int], bool]
    is_looping: Callable[[str], bool]
    restarts: Callable[[str, int], int]
    devices: Callable[[int], tuple[str, ...]]


def endpoints(scene: Scene) -> dict[str, EndpointStatus]:
    """What the gateway splits."""
    return {
        name: EndpointStatus(
            url=f"{scene.address}/endpoints/{name}",
            weights=dict(served.endpoint.route.weights),
            stable=served.endpoint.route.stable,
            commit=served.commit,
        )
        for name, served in sorted(scene.applied.items())
    }


def deployments(scene: Scene) -> dict[str, DeploymentStatus]:
    """Every deployment that is served, on its way, refused or leaving; of one that is replaced, the one that serves."""
    told: dict[str, DeploymentStatus] = {}
    for served in scene.applied.values():
        _tell(scene, told, served.endpoint)
    for pending in scene.pending.values():
        _tell(scene, told, pending.endpoint)
    for refusal in scene.refused.values():
        for name, deployment in refusal.endpoint.deployments.items():
            told.setdefault(name, _status(scene, deployment, "failed", refusal.reason))
    for worker in scene.workers:
        name = deployment_of(worker.unit)
        told.setdefault(name, DeploymentStatus(endpoint="", state="draining", workers=_workers(scene, worker.unit)))
    return dict(sorted(told.items()))


def waiting(pending: Mapping[str, Pending]) -> dict[str, str]:
    """What each endpoint on its way waits for."""
    return {name: ", ".join(one.waits_for) or "its routes" for name, one in sorted(pending.items())}


def _tell(scene: Scene, told: dict[str, DeploymentStatus], endpoint: Endpoint) -> None:
    for name, deployment in endpoint.deployments.items():
        if name not in told:
            told[name] = _status(scene, deployment, *_state(scene, deployment))


def _state(scene: Scene, deployment: Deployment) -> tuple[State, str]:
    unit = Unit.of(deployment).key
    need = deployment.replicas * deployment.workers
    ready = sum(_worker_state(scene, worker) == "ready" for worker in scene.workers if worker.unit == unit)
    trial = scene.trials.get(unit, Trial())
    if ready >= need:
        return "ready", ""
    if trial.obstacle:
        return "failed", trial.obstacle
    if scene.is_looping(unit):
        return "failed", trial.reason
    return ("ready" if ready else "starting"), f"{ready} of {need} processes ready"


def _status(scene: Scene, deployment: Deployment, state: State, reason: str) -> DeploymentStatus:
    unit = Unit.of(deployment).key
    gpus = {device: None for worker in scene.workers if worker.unit == unit for device in scene.devices(worker.pid)}
    return DeploymentStatus(
        endpoint=deployment.endpoint,
        state=state,
        reason=reason,
        model_uri=deployment.model.uri,
        bento=deployment.model.bento,
        workers=_workers(scene, unit),
        gpus=tuple(gpus),
    )


def _workers(scene: Scene, unit: str) -> tuple[WorkerStatus, ...]:
    return tuple(
        WorkerStatus(
            pid=worker.pid,
            port=worker.port,
            state=_worker_state(scene, worker),
            restarts=scene.restarts(worker.unit, worker.slot),
        )
        for worker in sorted(scene.workers, key=lambda worker: worker.slot)
        if worker.unit == unit
    )


def _worker_state(scene: Scene, worker: Worker) -> WorkerState:
    if worker.is_stopping:
        return "stopping"
    if worker.draining_s is not None:
        return "draining"
    host = scene.gateway.hosts.get(worker.unit, {}).get(worker.port) if scene.gateway else None
    if host is not None and host.is_healthy:
        return "ready"
    return "unready" if scene.was_ready(worker.pid) and scene.gateway else "starting"
