"""GPUs: how many this machine shows us, and which worker gets which.

A replica gets whole devices of its own (``nvidia.com/gpu`` of its manifest); its workers divide them, or share them
where there are fewer devices than workers. Where none is free, a new generation of a deployment takes over the devices
of the one that it replaces, since both must run for a while: the memory must hold both models then.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from mlflow_deploy_plugin.manifests.model import Deployment

VISIBLE: Final = "CUDA_VISIBLE_DEVICES"


def _count(environment: Mapping[str, str]) -> int:
    from mlflow_deploy_plugin.packaging.gpu import detect  # noqa: PLC0415  0.1 s that an agent without GPUs saves

    return detect(environment).count


def visible_gpus(
    environment: Mapping[str, str], *, count: Callable[[Mapping[str, str]], int] = _count
) -> tuple[str, ...]:
    """The values of ``CUDA_VISIBLE_DEVICES`` that can be given to a process, in order.

    >>> visible_gpus({"CUDA_VISIBLE_DEVICES": "2,5"}, count=lambda _: 2)
    ('2', '5')
    >>> visible_gpus({}, count=lambda _: 1)
    ('0',)
    """
    found = count(environment)
    stated = environment.get(VISIBLE)
    names = [name.strip() for name in stated.split(",")] if stated is not None else map(str, range(found))
    return tuple(name for name in names if name)[:found]


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """Devices of one replica."""

    deployment: str
    unit: str
    replica: int
    devices: tuple[str, ...]


def replica_of(deployment: Deployment, slot: int) -> int:
    """Which replica the process ``slot`` belongs to."""
    return slot // deployment.workers


def devices_for(
    deployment: Deployment, unit: str, slot: int, *, visible: tuple[str, ...], holdings: Iterable[Holding]
) -> tuple[str, ...] | None:
    """The devices of the replica that ``slot`` belongs to; ``None`` where there are too few."""
    count, replica = deployment.resources.gpu, replica_of(deployment, slot)
    held = tuple(holdings)
    for holding in held:
        if (holding.unit, holding.replica) == (unit, replica):
            return holding.devices
    taken = {device for holding in held for device in holding.devices}
    predecessors = {
        device
        for holding in held
        if holding.deployment == deployment.name and holding.unit != unit
        for device in holding.devices
    } - {device for holding in held if holding.unit == unit for device in holding.devices}
    free = [device for device in visible if device not in taken]
    usable = [*free, *(device for device in visible if device in predecessors)]
    return tuple(usable[:count]) if len(usable) >= count else None


def share_of(deployment: Deployment, slot: int, devices: tuple[str, ...]) -> tuple[str, ...]:
    """The part of its replica's devices that the worker ``slot`` sees."""
    index = slot % deployment.workers
    return devices[index :: deployment.workers] or (devices[index % len(devices)],)
