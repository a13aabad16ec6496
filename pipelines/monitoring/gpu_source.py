"""What the GPUs of a version's workers say, by Prometheus: used share of the memory, and share of the time at work.

The Bento's own gauges (``model_gpu_…``, by ``model_version`` and ``gpu``) count the whole device, by whomever it is
used. Each device is looked at by itself, and the one that has most speaks: one full device is enough to fail.

A window that was not seen says nothing: readings from before the comparison do not count, and every device must have
one in the oldest fifth of the window, as wide as the gaps between the five readings that a gate asks for at least.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from pipelines.analysis.arms import Missing
from pipelines.analysis.gates import GpuGate
from pipelines.analysis.readings import Readings
from pipelines.monitoring.prometheus import Labels, Prometheus, Vector

USED: Final = "model_gpu_memory_used_bytes"
TOTAL: Final = "model_gpu_memory_total_bytes"
BUSY: Final = "model_gpu_utilization_ratio"
OLDEST: Final = 1 / 5
"""Part of the window, its oldest, in which every device must have a reading."""
_MILLISECOND: Final = timedelta(milliseconds=1)


def gpu_readings(
    prometheus: Prometheus, deployment: str, gates: Iterable[GpuGate], *, since: datetime, now: datetime
) -> Mapping[str, Readings | Missing]:
    """The readings that the gates ask for, by their kind; the longest window where one kind is asked for twice.

    Args:
        prometheus: who is asked.
        deployment: whose GPUs.
        gates: what is asked.
        since: when the comparison began; older readings do not count.
        now: the end of the windows.

    Raises:
        RetryLaterError: Prometheus is away.
        ModelserveError: it refuses the queries.
    """
    windows: dict[str, float] = {}
    for gate in gates:
        windows[gate.kind] = max(gate.window_s, windows.get(gate.kind, 0.0))
    return {
        kind: _read(prometheus, kind, deployment, _Window(length=timedelta(seconds=s), since=since, now=now))
        for kind, s in windows.items()
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class _Window:
    length: timedelta
    since: datetime
    now: datetime

    @property
    def begin(self) -> datetime:
        return max(self.now - self.length, self.since)

    @property
    def seen_by(self) -> datetime:
        """End of the part in which every device must have a reading."""
        return self.now - self.length * (1 - OLDEST)

    def over(self, function: str, selector: str, *, until: datetime) -> str:
        return f"{function}_over_time({selector}[{(until - self.begin) // _MILLISECOND}ms])"


def _read(prometheus: Prometheus, kind: str, deployment: str, window: _Window) -> Readings | Missing:
    arm = f'{{model_version="{deployment}"}}'
    selector, now = f"{USED if kind == 'memory' else BUSY}{arm}", window.now
    back = f"readings of {selector} do not reach back {window.length.total_seconds() / 60:g} min"
    if window.seen_by - window.begin < _MILLISECOND:
        return Missing(reason=f"{back}: the versions are compared since {window.since.isoformat(timespec='seconds')}")
    lowest, highest, count = (
        prometheus.query(window.over(what, selector, until=now), now) for what in ("min", "max", "count")
    )
    if not lowest:
        return Missing(reason=f"Prometheus has no {selector} at {now.isoformat(timespec='seconds')}")
    oldest = prometheus.query(window.over("count", selector, until=window.seen_by), window.seen_by)
    if lowest.keys() - oldest.keys():
        return Missing(reason=f"{back} on every GPU")
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
