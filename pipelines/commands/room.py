"""Whether what a tick starts (a version that enters a stage, a baseline) fits beside what runs already."""

from collections.abc import Callable, Iterator
from datetime import datetime

from mlflow_deploy_plugin import manifests
from mlflow_deploy_plugin.agent.limits import MIB
from mlflow_deploy_plugin.manifests.model import Deployment, Endpoint, Files
from mlflow_deploy_plugin.targets import fitting
from mlflow_deploy_plugin.targets.base import DeploymentTarget
from pipelines.commands.committing import Wish

WAY_OUT = '; `promote --override "why"` goes on all the same, and the commit says why'


def require(target: DeploymentTarget, wish: Wish, read: Callable[[], Files], *, now: datetime) -> None:
    """Refuse a wish whose processes do not fit; nothing is read or applied where nobody knows the machine.

    Args:
        target: where they would start.
        wish: what would be committed.
        read: the tree that it would be applied to.
        now: the time of the wish.

    Raises:
        ConfigError: they do not; the message says what is needed, what is left, and the way out.
    """
    if (machine := target.machine()) is None:
        return
    files = read()
    after, _ = wish.apply(files, now=now)
    old, new = (manifests.find_endpoint(tree, target.stage_name, wish.endpoint) for tree in (files, after))
    fitting.require_room(_started(old, new), machine, way_out=WAY_OUT)


def require_between(target: DeploymentTarget, old: Endpoint | None, new: Endpoint | None) -> None:
    """Refuse a change of an endpoint whose processes do not fit.

    Raises:
        ConfigError: as :func:`require`.
    """
    fitting.require_room(_started(old, new), target.machine(), way_out=WAY_OUT)


def lines(target: DeploymentTarget, old: Endpoint | None, new: Endpoint | None) -> Iterator[str]:
    """What starts and what that asks for, for people; nothing where nothing starts."""
    starting, machine = _started(old, new), target.machine()
    if not starting:
        return
    told = ", ".join(f"{one.name} ({one.replicas} x {_asked(one)})" for one in starting)
    left = machine.host() if machine else None
    if machine is None:
        yield f"starts: {told}; where it runs is not this machine, so whether it fits is for its scheduler to say"
    else:
        room = f"{left.bytes // MIB:,} MiB are left ({left.source})" if left else "nobody says what is left"
        yield f"starts: {told}; {room}"


def _started(old: Endpoint | None, new: Endpoint | None) -> tuple[Deployment, ...]:
    return fitting.started(old.deployments if old else {}, new.deployments if new else {})


def _asked(deployment: Deployment) -> str:
    asked = deployment.resources
    gpus = f" and {asked.gpu} GPU{'s' * (asked.gpu > 1)}" if asked.gpu else ""
    return f"{asked.memory or 'undeclared'} memory{gpus}"
