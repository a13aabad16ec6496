"""A gauge against an absolute bound: no test and no alpha, since every reading of the window must say the same.

A gauge has no users and no stable to be compared with: readings of one device follow each other, so their number proves
nothing. What is claimed is only what was read: above the bound the whole window long, or never above it.
"""

from dataclasses import dataclass

from mlflow_deploy_plugin.errors import ConfigError
from pipelines.analysis.arms import Missing
from pipelines.analysis.gates import GpuGate
from pipelines.analysis.verdict import Failed, Inconclusive, Successful, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Readings:
    """What was read of one gauge within a window, of the device that had most."""

    query: str
    """What the source was asked."""
    lowest: float
    highest: float
    count: int
    """Readings of the device that has fewest."""

    def __post_init__(self) -> None:
        if not 0 <= self.lowest <= self.highest:
            raise ConfigError(f"readings from {self.lowest} to {self.highest} of {self.query}: the lowest comes first")


def judge_readings(seen: Readings | Missing, gate: GpuGate) -> Verdict:
    """Judge a gauge of the canary against the gate's bound.

    >>> seen = Readings(query="q", lowest=0.97, highest=0.99, count=20)
    >>> judge_readings(seen, GpuGate(kind="memory", bound=0.95)).reason
    'GPU memory at least 97.0% in 20 readings of 5 min, above 95.0% [q]'
    """
    if isinstance(seen, Missing):
        return Inconclusive(reason=seen.reason)
    numbers = {"lowest": seen.lowest, "highest": seen.highest, "threshold": gate.bound, "readings": seen.count}
    window = f"{seen.count} readings of {gate.window_s / 60:g} min"
    if seen.count < gate.minimum_readings:
        reason = f"GPU {gate.kind}: {window} are fewer than {gate.minimum_readings} [{seen.query}]"
        return Inconclusive(reason=reason, numbers=numbers)
    if seen.lowest > gate.bound:
        reason = f"GPU {gate.kind} at least {seen.lowest:.1%} in {window}, above {gate.bound:.1%} [{seen.query}]"
        return Failed(reason=reason, numbers=numbers)
    if seen.highest <= gate.bound:
        reason = f"GPU {gate.kind} at most {seen.highest:.1%} in {window}, within {gate.bound:.1%} [{seen.query}]"
        return Successful(reason=reason, numbers=numbers)
    reason = f"GPU {gate.kind} from {seen.lowest:.1%} to {seen.highest:.1%} in {window}, about {gate.bound:.1%}"
    return Inconclusive(reason=f"{reason} [{seen.query}]", numbers=numbers)
