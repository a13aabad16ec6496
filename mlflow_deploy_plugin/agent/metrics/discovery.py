"""Where Prometheus finds the metrics of every process: the answer of its HTTP service discovery. Pure.

https://prometheus.io/docs/prometheus/latest/http_sd/. A process is listed from its readiness to its end, so a killed
one leaves no series behind: Prometheus ends the series of a target that is no longer listed.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

GATEWAY_PATH: Final = "/gateway"
PATH_LABEL: Final = "__metrics_path__"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bento:
    """One process that answers ``/metrics``."""

    unit: str
    """Deployment and generation, ``churn-v4@3f0a9c1d22``: two generations that run side by side stay apart."""
    slot: int
    port: int

    @property
    def instance(self) -> str:
        """Its name in Prometheus: the same when it is started again on another port, so that counters go on.

        >>> Bento(unit="churn-v4@3f0a9c1d22", slot=0, port=18001).instance
        'churn-v4@3f0a9c1d22/0'
        """
        return f"{self.unit}/{self.slot}"


def targets(agent: str, bentos: Iterable[Bento], *, stage: str) -> list[dict[str, Any]]:
    """The agent, the gateway behind it, and the Bentos; ``agent`` is ``HOST:PORT``.

    Every series carries the stage, since names of deployments are unique within one alone.

    >>> [group["labels"]["component"] for group in targets("127.0.0.1:9464", [], stage="production")]
    ['agent', 'gateway']
    """
    return [
        _group(agent, component="agent", instance=agent, stage=stage),
        _group(agent, component="gateway", instance=agent, stage=stage, **{PATH_LABEL: GATEWAY_PATH}),
        *(_group(f"127.0.0.1:{one.port}", component="bento", instance=one.instance, stage=stage) for one in bentos),
    ]


def _group(address: str, **labels: str) -> dict[str, Any]:
    return {"targets": [address], "labels": labels}
