"""A version in the shadow, compared with the live one on the same requests: agreement, errors, latency in the Bento.

A copy is no attempt of the gateway, so only the prediction log tells of it, by request id. A shadow that answers far
fewer requests than it was sent is not judged by those that it did answer.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from mlflow_deploy_plugin.spec.names import TOTAL_WEIGHT
from pipelines.analysis.arms import Arm, Missing, UserCounts, user_counts, user_latencies
from pipelines.monitoring.event_summaries import ShadowSample, Window
from pipelines.promotion.observation import Observation

if TYPE_CHECKING:
    import pandas as pd

    from pipelines.monitoring.samples import EventLog

ENOUGH_COPIES: Final = 100
"""Copies that are expected before their number says anything."""
FEW: Final = 0.5
"""Share of the expected copies below which the shadow is not answering. Chance alone leaves five deviations."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShadowObserver:
    """Satisfies :class:`pipelines.promotion.observation.Observer`; its canary is the version in the shadow."""

    log: "EventLog"
    stage: str
    endpoint: str
    share: int
    """Of 1000 requests."""
    tolerance: float = 0.0
    """Difference of two numbers that is still agreement."""

    def observe(self, *, stable: str, canary: str, since: datetime, now: datetime) -> Observation:
        """What the prediction log says of both.

        Raises:
            EventStoreError: the store cannot be read.
        """
        end = max(now, since) + timedelta(seconds=1)  # the end is not included
        window = Window(stage=self.stage, endpoint=self.endpoint, begin=since, end=end, population="all")
        sample = self.log.shadowed(window, shadow=canary, tolerance=self.tolerance)
        pairs = sample.pairs
        both = pairs[~(pairs["live_failed"] | pairs["copy_failed"])] if len(pairs) else pairs
        return Observation(
            stable=_arm(stable, pairs, both, "live"),
            canary=_arm(canary, pairs, both, "copy"),
            disagreeing=_counts(both, "differs"),
            missing=tuple(Missing(reason=reason) for reason in _holes(sample, canary, self.share)),
        )


def _arm(name: str, pairs: "pd.DataFrame", both: "pd.DataFrame", side: str) -> Arm:
    if not len(pairs):
        return Arm(name=name)
    latency = user_latencies(both[f"{side}_ms"], order=both["seen"])
    return Arm(name=name, errors=_counts(pairs, f"{side}_failed"), latency=latency)


def _counts(rows: "pd.DataFrame", column: str) -> UserCounts | Missing:
    if not len(rows):
        return Missing(reason="no request was predicted by both versions yet")
    return user_counts(len(rows), int(rows[column].sum()))


def _holes(sample: ShadowSample, shadow: str, share: int) -> list[str]:
    reasons = []
    if sample.unreadable:
        first = sample.unreadable[0]
        reasons.append(f"{len(sample.unreadable)} files of the event store cannot be read, the first is {first}")
    expected = sample.live * share / TOTAL_WEIGHT
    if expected >= ENOUGH_COPIES and sample.copies < FEW * expected:
        reasons.append(f"{shadow} answered {sample.copies} of about {expected:.0f} copies; see why it does not answer")
    return reasons
