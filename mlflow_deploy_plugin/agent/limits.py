"""How much memory a worker may have, and which of them is told to end for having more. Pure.

``-C memory`` is the memory of one replica. A cluster's kernel ends a container that takes more; on one machine the
agent does it, and more gently: the worker is asked to finish what it has begun, and its successor starts when it is
gone. One worker of a deployment at a time, because those that leak alike reach their limit together.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from mlflow_deploy_plugin.errors import AgentError

if TYPE_CHECKING:
    from mlflow_deploy_plugin.manifests.model import Deployment

_QUANTITY: Final = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(m|k|[MGTPE]|[KMGTPE]i|[eE][+-]?\d+)?")
_POWERS: Final = "KMGTPE"
MIB: Final = 1024 * 1024


def quantity_bytes(text: str) -> int:
    """A quantity as Kubernetes writes it, in bytes.

    >>> quantity_bytes("2Gi"), quantity_bytes("1.5M"), quantity_bytes("1e3")
    (2147483648, 1500000, 1000)

    Raises:
        AgentError: it is none.
    """
    matched = _QUANTITY.fullmatch(text)
    if matched is None:
        raise AgentError(f"memory {text!r} is no quantity of Kubernetes, such as 2Gi; use -C memory=2Gi")
    number, unit = Decimal(matched[1]), matched[2] or ""
    if unit.endswith("i"):
        return int(number * 1024 ** (_POWERS.index(unit[0]) + 1))
    if unit[:1] in {"e", "E"} and len(unit) > 1:
        return int(number * Decimal(10) ** int(unit[1:]))
    return int(number / 1000) if unit == "m" else int(number * 1000 ** (_POWERS.index(unit.upper()) + 1 if unit else 0))


def memory_limit(deployment: Deployment) -> int:
    """Bytes that one worker of a deployment may have; 0: as much as there is.

    Raises:
        AgentError: the manifest's memory is no quantity.
    """
    stated = deployment.resources.memory
    return quantity_bytes(stated) // deployment.workers if stated else 0


def reason(used: int, limit: int) -> str:
    """Why a worker is replaced, in words.

    >>> reason(700 * MIB, 512 * MIB)
    'it had 700 MiB of memory, and a worker of it may have 512 (-C memory, divided by its workers)'
    """
    return (
        f"it had {used // MIB} MiB of memory, and a worker of it may have {limit // MIB}"
        " (-C memory, divided by its workers)"
    )
