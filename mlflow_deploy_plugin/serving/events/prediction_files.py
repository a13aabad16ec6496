"""Table ``predictions`` as Parquet files: what went into the model and what came out, one row per row."""

from __future__ import annotations

import os
import time
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import numpy as np

from mlflow_deploy_plugin.serving.events.waiting import Waiting
from mlflow_deploy_plugin.serving.record import Prediction, singly
from mlflow_deploy_plugin.spec.events import partition

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pyarrow as pa

    from mlflow_deploy_plugin.serving.events.features import FeatureColumns
    from mlflow_deploy_plugin.serving.events.redaction import Redaction
    from mlflow_deploy_plugin.serving.signature import Signature

DAY_S: Final = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictionFiles:
    """Writes predictions as Parquet files."""

    root: Path
    stage: str
    endpoint: str
    deployment: str
    model_digest: str
    signature: Signature
    redaction: Redaction
    has_features: bool
    name: str = ""
    """Of its files, without the ending; empty: each gets one of its own."""

    def __call__(self, events: Sequence[Prediction | Waiting]) -> None:
        """Write them, one file per day.

        Raises:
            OSError: the disk refuses.
        """
        from mlflow_deploy_plugin.serving.events.files import write_whole  # noqa: PLC0415  brings pyarrow

        tables = [(day, self.table(of_day)) for day, of_day in by_day(events)]
        for day, table in tables:
            folder = partition(
                "predictions", stage=self.stage, endpoint=self.endpoint, day=day, deployment=self.deployment
            )
            write_whole(table, self.root / folder / f"{self.name or file_name()}.parquet")

    def table(self, events: Sequence[Prediction | Waiting]) -> pa.Table:
        """The columns of ``spec.events``, and the features."""
        from mlflow_deploy_plugin.serving.events import tables  # noqa: PLC0415  brings pyarrow

        features = self._features()
        digest, parts = self.model_digest, []
        if single := [event for event in events if isinstance(event, Prediction)]:
            parts.append(tables.prediction_table(single, model_digest=digest, features=features))
        if batches := [event for event in events if isinstance(event, Waiting)]:
            parts.append(tables.batch_table(batches, model_digest=digest, features=features))
        return tables.joined(parts)

    def _features(self) -> FeatureColumns | None:
        from mlflow_deploy_plugin.serving.events.features import FeatureColumns  # noqa: PLC0415  brings pyarrow

        return FeatureColumns.of(self.signature, self.redaction) if self.has_features else None


def weight(event: Prediction | Waiting) -> int:
    """How many events one is."""
    return event.rows if isinstance(event, Waiting) else 1


def parted(event: Prediction | Waiting) -> Sequence[Prediction]:
    """Each of a batch by itself; of what is one already, none."""
    return singly(event.batch()) if isinstance(event, Waiting) and event.rows > 1 else ()


def by_day(events: Sequence[Prediction | Waiting]) -> list[tuple[datetime, list[Prediction | Waiting]]]:
    """Events by the UTC day on which their request arrived; a batch of midnight is taken apart."""
    days: dict[int, list[Prediction | Waiting]] = {}
    for event in events:
        first, last = _span(event)
        day = int(first // DAY_S)
        if last // DAY_S == day:
            days.setdefault(day, []).append(event)
            continue
        for one in parted(event):
            days.setdefault(int(one.time // DAY_S), []).append(one)
    return [(datetime.fromtimestamp(day * DAY_S, tz=UTC), of_day) for day, of_day in days.items()]


def _span(event: Prediction | Waiting) -> tuple[float, float]:
    if isinstance(event, Prediction):
        return event.time, event.time
    times = np.frombuffer(event.times)
    return float(times.min()), float(times.max())


def file_name() -> str:
    """A name that sorts by time and that no other process uses; without an ending.

    >>> file_name() < file_name()
    True
    """
    return f"{time.time_ns():020d}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
