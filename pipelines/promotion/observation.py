"""What was seen of a rollout since it began, and who can say so. Values and one Protocol; sources live elsewhere."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from pipelines.analysis.arms import Arm, Missing, UserCounts
from pipelines.analysis.readings import Readings


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """Two arms over the same time: stable and one canary, since the canary began."""

    stable: Arm
    canary: Arm
    can_promote: bool = True
    """False: the source cannot see users, so it may hold and roll back, and does not promote by itself."""
    missing: tuple[Missing, ...] = field(default=())
    """Reasons why nothing here may be believed: they hold."""
    disagreeing: UserCounts | Missing = field(default=Missing(reason="no request was predicted by both versions"))
    """Users for whom a version in the shadow predicted something else, among those that both predicted for."""
    gpu: Mapping[str, Readings | Missing] = field(default_factory=dict)
    """What the canary's GPUs say, by kind of gate."""


Observed = tuple[Observation, ...]
"""One observation for each version that is compared; none of a rollout that has not begun."""


def nothing(stable: str, canary: str) -> Observation:
    """Of a rollout that has not begun."""
    return Observation(stable=Arm(name=stable), canary=Arm(name=canary))


class Observer(Protocol):
    """A source of observations: the event store, Prometheus, or :class:`~.simulator.TrafficSimulator`."""

    def observe(self, *, stable: str, canary: str, since: datetime, now: datetime) -> Observation:
        """What was seen of the two arms between two moments.

        Raises:
            ModelserveError: the source failed; the tick ends and the next one tries again.
        """
        ...
