"""What the GPUs of a version's workers say, by Prometheus: used share of the memory, and share of the time at work.

The Bento's own gauges (``model_gpu_…``, by ``model_version`` and ``gpu``) count the whole device, by whomever it is
used. Each device is looked at by itself, and the one that has most speaks: one full device is enough to fail.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Final

from pipelines.analysis.arms import Missing
from pipelines.analysis.gates import GpuGate
from pipelines.analysis.readings import Readings
from pipelines.monitoring.prometheus import Labels, Prometheus, Vector

USED: Final = "model_gpu_memory_used_bytes"
TOTAL: Final = "model_gpu_memory_total_bytes"
BUSY: Final = "model_gpu_utilization_ratio"
_MILLISECOND: Final = timedelta(milliseconds=1)


def gpu_readings(
    prometheus: Prometheus, deployment: str, gates: Iterable[GpuGate], *, now: datetime
) -> Mapping[str, Readings | Missing]:
    """The readings that the gates ask for, by their kind; the longest window where one kind is asked for twice.

    Raises:
        RetryLaterError: Prometheus is away.
        ModelserveError: it refuses the queries.
    """
    windows: dict[str, float] = {}
    for gate in gates:
        windows[gate.kind] = max(gate.window_s, windows.get(gate.kind, 0.0))
    return {kind: _read(prometheus, kind, deployment, timedelta(seconds=s), now) for kind, s in windows.items()}


def _read(prometheus: Prometheus, kind: str, deployment: str, window: timedelta, now: datetime) -> Readings | Missing:
    arm = f'{{model_version="{deployment}"}}'
    selector = f"{USED if kind == 'memory' else BUSY}{arm}"
    lowest, highest, count = (
        prometheus.query(f"{what}_over_time({selector}[{window // _MILLISECOND}ms])", now)
        for what in ("min", "max", "count")
    )
    if not lowest:
        return Missing(reason=f"Prometheus has no {selector} at {now.isoformat(timespec='seconds')}")
    totals = prometheus.query(f"{TOTAL}{arm}", now) if kind == "memory" else dict.fromkeys(lowest, 1.0)
    if any(not totals.get(device, 0.0) > 0 for device in lowest):
        return Missing(reason=f"Prometheus does not say how much memory a GPU of {deployment} has")
    least, most = (_worst(found, totals) for found in (lowest, highest))
    if not least <= most:  # also where one is no number
        return Missing(reason=f"{selector} has readings that are no numbers")
    return Readings(query=selector, lowest=least, highest=most, count=round(min(count.values(), default=0.0)))


def _worst(found: Vector, totals: Mapping[Labels, float]) -> float:
    """Share of the device that has most; NaN where any is."""
    shares = [value / totals[device] for device, value in found.items()]
    return max(shares) if all(share >= 0 for share in shares) else float("nan")
