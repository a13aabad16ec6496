"""What the event store needs now and then: merge small files, move closed ones away, forget the oldest days."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from mlflow_deploy_plugin.agent.compaction import CompactionPolicy, compact
from mlflow_deploy_plugin.agent.retention import RetentionPolicy, prune
from mlflow_deploy_plugin.agent.shipping import ShippingPolicy, ship


@dataclass(frozen=True, slots=True, kw_only=True)
class Upkeep:
    """The three, in the order in which each helps the next."""

    events_dir: Path
    retention: RetentionPolicy = field(default_factory=RetentionPolicy)
    shipping: ShippingPolicy | None = None
    compaction: CompactionPolicy = field(default_factory=CompactionPolicy)
    clock: Callable[[], float] = time.time

    def run(self) -> None:
        """Once.

        Raises:
            EventStoreError: one of them failed; the store is whole, and the next run goes on.
        """
        compact(self.events_dir, self.compaction)
        prune(self.events_dir, self.retention, now=self.clock())  # before shipping: it frees the disk without a network
        if self.shipping is not None:
            ship(self.events_dir, self.shipping)
