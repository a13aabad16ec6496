"""What a worker is: warming up, ready, draining or stuck. One value that readiness, codecs and metrics ask."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Phase(Enum):
    """Phases in their order; a worker never goes back."""

    WARMING = "warming up"
    READY = "ready"
    DRAINING = "draining"
    STUCK = "stuck in a call that does not return"


@dataclass(slots=True)
class Lifecycle:
    """The phase of this worker."""

    phase: Phase = Phase.WARMING
    is_leaving: bool = False
    """Whether connections should be closed after their answer; a plain attribute, since every answer asks."""

    @property
    def is_ready(self) -> bool:
        """Whether traffic should come."""
        return self.phase is Phase.READY

    @property
    def is_stuck(self) -> bool:
        """Whether the process is about to be replaced."""
        return self.phase is Phase.STUCK

    def warmed_up(self) -> None:
        """The warm-up was answered."""
        if self.phase is Phase.WARMING:
            self.phase = Phase.READY

    def drain(self) -> None:
        """No new traffic, please."""
        if self.phase is not Phase.STUCK:
            self.phase = Phase.DRAINING
        self.is_leaving = True

    def stick(self) -> None:
        """A call of the model does not return."""
        self.phase = Phase.STUCK
        self.is_leaving = True
