"""What one worker tells of itself, and where several share an address, what all of them do.

Whoever is scraped answers for all: each worker leaves a snapshot of its series once a second. What the series are is
:mod:`.exposition`'s.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from mlflow_deploy_plugin.serving import exposition

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlflow_deploy_plugin.serving.codecs.base import Totals
    from mlflow_deploy_plugin.serving.metrics import Metrics

SNAPSHOT_S: Final = 1.0

_logger = logging.getLogger("modelserve.series")


class WorkerSeries:
    """The series of this worker, beside those of the workers that it shares its address with."""

    def __init__(
        self,
        metrics: Metrics,
        labels: exposition.Labels,
        *,
        gauges: Callable[[], exposition.Gauges],
        shared: exposition.Shared | None,
    ) -> None:
        self._metrics = metrics
        self._labels = labels
        self._gauges = gauges
        self._shared = shared
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Leave snapshots for the others, on the running loop; a worker alone leaves none."""
        if self._shared is not None:
            self._leave(self._shared)

    def stop(self) -> None:
        """Leave no more of them."""
        if self._timer is not None:
            self._timer.cancel()

    def text(self) -> bytes:
        """Prometheus' text, for all workers of this address."""
        return exposition.text(self._every())

    def totals(self) -> Totals:
        """What they have done since they started."""
        return exposition.totals(self._every())

    def _leave(self, shared: exposition.Shared) -> None:
        try:
            shared.write(self._own())
        except OSError as error:  # the disk is full, say; the next second may be better
            _logger.warning("the counters of this worker cannot be shared with the others: %s", error)
        self._timer = asyncio.get_running_loop().call_later(SNAPSHOT_S, self._leave, shared)

    def _every(self) -> exposition.Series:
        others = [] if self._shared is None else self._shared.others()
        return exposition.merge([self._own(), *others])

    def _own(self) -> exposition.Series:
        return exposition.series(self._metrics, self._labels, self._gauges())
