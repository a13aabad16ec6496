"""What was seen of a rollout since it began, and who can say so. Values and one Protocol; sources live elsewhere."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from pipelines.analysis.arms import Arm, Missing


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """Both arms over the same time, since the rollout began."""

    stable: Arm
    canary: Arm
    can_promote: bool = True
    """False: the source cannot see users, so it may hold and roll back, and does not promote by itself."""
    missing: tuple[Missing, ...] = field(default=())
    """Reasons why nothing here may be believed: they hold."""


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
