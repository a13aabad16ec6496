"""The Unix socket beside a worker's port, by which the gateway of one machine reaches it: cheaper than loopback TCP.

In Linux' abstract namespace, so that no file is left behind and no path is too long; like the port, it is anybody's on
this machine, and gone with the process. A worker has both: people and Prometheus ask the port.
"""

from typing import Final

SOCKET: Final = "MODELSERVE_SOCKET"
"""Variable that names it; set by the agent for Bentos whose description says that they listen on it."""

_PREFIX: Final = "modelserve-"


def socket_name(port: int) -> str:
    """The one beside ``port``.

    >>> socket_name(18000)
    'modelserve-18000'
    """
    return f"{_PREFIX}{port}"


def port_beside(name: str) -> int:
    """The port that a socket is beside.

    >>> port_beside("modelserve-18000")
    18000

    Raises:
        ValueError: it is beside none.
    """
    return int(name.removeprefix(_PREFIX))


def abstract(name: str) -> str:
    """Its address, as ``bind`` and ``connect`` take it."""
    return f"\0{name}"
