"""Counting what the log could not keep, and saying so once a minute. Never raises; called from any thread."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Literal, get_args

Reason = Literal["queue_full", "disk_full", "unwritable", "unreadable"]
"""``queue_full``: events came faster than they were written; ``unreadable``: the model's values fit no column."""

NONE_YET: Final = {(table, reason): 0 for table in ("predictions", "labels") for reason in get_args(Reason)}
"""Every series of the metric: an alert on its increase must have seen it at 0."""

OnDrop = Callable[[str, str, int], None]
"""Called with table, reason and number of events; the engine's metric ``model_log_dropped_total`` listens here."""

REPORT_EVERY_S: Final = 60.0
_LOG: Final = logging.getLogger("modelserve.events")


@dataclass(slots=True)
class Drops:
    """Drops of one table."""

    table: str
    on_drop: OnDrop | None = None
    clock: Callable[[], float] = time.monotonic
    counts: Counter[Reason] = field(default_factory=Counter)
    _told_at: float = float("-inf")
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, reason: Reason, number: int, *, detail: str = "") -> None:
        """Count ``number`` events as lost, and log the totals unless that was done within the last minute."""
        with self._lock:
            self.counts[reason] += number
            now = self.clock()
            is_due = now - self._told_at >= REPORT_EVERY_S
            if is_due:
                self._told_at = now
        if self.on_drop is not None:
            self.on_drop(self.table, reason, number)
        if is_due:
            totals = ", ".join(f"{count} {name}" for name, count in sorted(self.counts.items()))
            _LOG.warning("events of table %s were dropped since the start: %s. %s", self.table, totals, detail)
