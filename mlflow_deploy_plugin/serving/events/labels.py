"""Table ``labels``: ground truth as it arrives, joined later by request id and row."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from mlflow_deploy_plugin.serving.events.drops import Drops, OnDrop
from mlflow_deploy_plugin.serving.events.prediction_files import file_name
from mlflow_deploy_plugin.serving.events.predictions import ALONE
from mlflow_deploy_plugin.serving.events.queue import FlushedQueue
from mlflow_deploy_plugin.serving.record import Arrived
from mlflow_deploy_plugin.spec.events import partition

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mlflow_deploy_plugin.serving.record import Label
    from mlflow_deploy_plugin.spec.settings import ServingSettings

MOMENT_S: Final = 2e-6
"""Seconds between two labels of one row: more than what a time of day loses as it becomes whole microseconds."""
_LABEL_BYTES = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelFiles:
    """Writes labels as Parquet files."""

    root: Path
    stage: str
    endpoint: str

    def __call__(self, events: Sequence[Arrived]) -> None:
        """Write them as one file of the day on which the first of them came.

        Raises:
            OSError: the disk refuses.
        """
        from mlflow_deploy_plugin.serving.events.files import write_whole  # noqa: PLC0415  brings pyarrow
        from mlflow_deploy_plugin.serving.events.tables import label_table  # noqa: PLC0415  brings pyarrow

        day = datetime.fromtimestamp(events[0].time, tz=UTC)
        folder = partition("labels", stage=self.stage, endpoint=self.endpoint, day=day)
        write_whole(label_table(events), self.root / folder / f"{file_name()}.parquet")


@dataclass(slots=True)
class LabelLog:
    """The :class:`..record.LabelSink` that writes files."""

    queue: FlushedQueue[Arrived]
    clock: Callable[[], float] = time.time

    @classmethod
    def open(cls, settings: ServingSettings, *, on_drop: OnDrop | None) -> Self:
        """The sink that ``settings`` describe; nothing is made before the first label."""
        files = LabelFiles(
            root=Path(settings.events_dir), stage=settings.stage or ALONE, endpoint=settings.endpoint or ALONE
        )
        return cls(queue=FlushedQueue(files, Drops("labels", on_drop), settings.log_flush_s))

    def accept(self, labels: Sequence[Label]) -> None:
        """Queue them with the time of now; a row's second one a moment later, since the first of a row counts."""
        now = self.clock()
        before: Counter[tuple[str, int]] = Counter()
        for label in labels:
            row = label.request_id, label.row
            self.queue.put(Arrived(label, now + before[row] * MOMENT_S), size=_LABEL_BYTES)
            before[row] += 1

    def close(self) -> None:
        """Write what waits."""
        self.queue.close()
