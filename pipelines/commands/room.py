"""Whether what a tick starts (a version that enters a stage, a baseline) fits beside what runs already."""

from collections.abc import Iterator
from datetime import datetime

from mlflow_deploy_plugin import manifests
from mlflow_deploy_plugin.agent.limits import MIB
from mlflow_deploy_plugin.errors import ConfigError
from mlflow_deploy_plugin.manifests.model import Deployment, Files
from mlflow_deploy_plugin.targets import fitting
from mlflow_deploy_plugin.targets.base import DeploymentTarget
from pipelines.commands.committing import Wish

WAY_OUT = '; `promote --override "why"` goes on all the same, and the commit says why'


def require(target: DeploymentTarget, wish: Wish, files: Files, *, now: datetime) -> None:
    """Refuse a wish whose processes do not fit.

    Raises:
        ConfigError: they do not; the message says what is needed, what is left, and the way out.
    """
    if obstacle := next(fitting.obstacles(_started(target, wish, files, now), target.machine()), ""):
        raise ConfigError(obstacle + WAY_OUT)


def lines(target: DeploymentTarget, wish: Wish, files: Files, *, now: datetime) -> Iterator[str]:
    """What starts and what that asks for, for people; nothing where nothing starts."""
    starting, machine = _started(target, wish, files, now), target.machine()
    if not starting:
        return
    told = ", ".join(f"{one.name} ({one.replicas} x {_asked(one)})" for one in starting)
    left = machine.host() if machine else None
    if machine is None:
        yield f"starts: {told}; where it runs is not this machine, so whether it fits is for its scheduler to say"
    else:
        room = f"{left.bytes // MIB:,} MiB are left ({left.source})" if left else "nobody says what is left"
        yield f"starts: {told}; {room}"


def _started(target: DeploymentTarget, wish: Wish, files: Files, now: datetime) -> tuple[Deployment, ...]:
    after, _ = wish.apply(files, now=now)
    stage, name = target.stage_name, wish.endpoint
    old, new = (manifests.find_endpoint(tree, stage, name) for tree in (files, after))
    return fitting.started(old.deployments if old else {}, new.deployments if new else {})


def _asked(deployment: Deployment) -> str:
    asked = deployment.resources
    gpus = f" and {asked.gpu} GPU{'s' * (asked.gpu > 1)}" if asked.gpu else ""
    return f"{asked.memory or 'undeclared'} memory{gpus}"
