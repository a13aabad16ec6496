"""Whether what a commit starts fits beside what runs already: old, new and baseline at once. Pure but for the machine.

Counted is what starts: deployments that are new, that get another model, or more replicas. What runs already is in what
the machine says is left. A need is, in this order: the memory that the deployment declares; what a running process of
the same Bento has; the size of its model, below which none of its processes can be. So what is refused does not fit,
and what is let through may yet be too large. On a GPU a model in half precision is loaded whole first: one and a half
times its size.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Final

from mlflow_deploy_plugin.agent.limits import MIB, quantity_bytes
from mlflow_deploy_plugin.agent.units import Unit
from mlflow_deploy_plugin.errors import ConfigError
from mlflow_deploy_plugin.manifests.model import Deployment
from mlflow_deploy_plugin.packaging.gpu import Gpus
from mlflow_deploy_plugin.packaging.machine import Machine
from mlflow_deploy_plugin.spec.settings import ServingSettings

HALF: Final = 1.5
"""Times its size that a model takes while it is brought to half precision."""


def started(before: Mapping[str, Deployment], after: Mapping[str, Deployment]) -> tuple[Deployment, ...]:
    """Deployments of which processes start, each with the number of replicas that start."""
    found = []
    for name, deployment in after.items():
        old = before.get(name)
        runs = old.replicas if old is not None and Unit.of(old).key == Unit.of(deployment).key else 0
        if deployment.replicas > runs:
            found.append(replace(deployment, replicas=deployment.replicas - runs))
    return tuple(found)


def require_room(deployments: Iterable[Deployment], machine: Machine | None, *, way_out: str = "") -> None:
    """Refuse what does not fit; ``way_out`` ends the message, where there is one more.

    Raises:
        ConfigError: it does not; the message says what is needed, what is left, and the way out.
    """
    if obstacle := next(obstacles(tuple(deployments), machine), ""):
        raise ConfigError(obstacle + way_out)


def obstacles(deployments: tuple[Deployment, ...], machine: Machine | None) -> Iterator[str]:
    """Why they do not fit; nothing where they do, or where they run elsewhere.

    >>> list(obstacles((), None))
    []
    """
    if machine is None or not deployments:
        return
    yield from _host_obstacles(deployments, machine)
    for deployment in deployments:
        if obstacle := gpu_obstacle(deployment, machine):
            yield obstacle


def _host_obstacles(deployments: tuple[Deployment, ...], machine: Machine) -> Iterator[str]:
    needs = [(deployment, *_host_need(deployment, machine)) for deployment in deployments]
    total, left = sum(need for _, need, _ in needs), machine.host()
    if left is None or total <= left.bytes:
        return
    told = ", ".join(f"{one.name} {_mib(need)} by {source}" for one, need, source in needs if need)
    yield (
        f"memory: {told} need at least {_mib(total)} together, and this machine has {_mib(left.bytes)} left"
        f" ({left.source}); remove a deployment, ask for fewer -C replicas or -C workers, or let -C memory say what a"
        " replica needs"
    )


def _host_need(deployment: Deployment, machine: Machine) -> tuple[int, str]:
    if stated := deployment.resources.memory:
        return deployment.replicas * quantity_bytes(stated), "its declared memory"
    processes, bento = deployment.replicas * deployment.workers, deployment.model.bento
    if measured := machine.worker_bytes(bento):
        return processes * measured, "what a running process has"
    return processes * machine.model_bytes(bento), "the size of its model"


def gpu_obstacle(deployment: Deployment, machine: Machine) -> str:
    """Why its GPUs are too small or too few; empty: they are not, or nobody can say."""
    count, free = deployment.resources.gpu, machine.gpus()
    if not count or not free:
        return ""
    is_half = ServingSettings.from_environment(deployment.environment).precision in {"bf16", "fp16"}
    sharing = -(-deployment.workers // count)
    need = int(machine.model_bytes(deployment.model.bento) * (HALF if is_half else 1)) * sharing
    wanted, fitting = count * deployment.replicas, sum(left >= need for left in free)
    if fitting >= wanted:
        return ""
    return (
        f"GPU memory: {deployment.name} needs {wanted} GPU{'s' * (wanted > 1)} with at least {_mib(need)} left each"
        f" ({sharing} x the size of its model{', one and a half times for half precision' if is_half else ''}), and"
        f" {', '.join(map(_mib, sorted(free, reverse=True)))} are left; stop what runs there, or let it run on the CPU"
        " with -C gpu=0"
    )


def untaken(found: Gpus, others: Iterable[Deployment]) -> Gpus:
    """The GPUs that no other deployment has: each replica has devices of its own."""
    taken = {one.name: one.resources.gpu * one.replicas for one in others if one.resources.gpu}
    if not taken or not found.count:
        return found
    told = ", ".join(f"{name} {count}" for name, count in taken.items())
    left = max(0, found.count - sum(taken.values()))
    return Gpus(count=left, source=f"{found.source} counts {found.count}; taken: {told}")


def _mib(count: int) -> str:
    """Bytes as people read them.

    >>> _mib(3 * 1024 * 1024)
    '3 MiB'
    """
    return f"{-(-count // MIB):,} MiB"
