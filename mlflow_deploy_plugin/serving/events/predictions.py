"""Table ``predictions``: what went into the model and what came out, one row per row."""

from __future__ import annotations

import itertools
import os
import time
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self, assert_never

import numpy as np

from mlflow_deploy_plugin.serving.events.drops import Drops, OnDrop
from mlflow_deploy_plugin.serving.events.queue import FlushedQueue
from mlflow_deploy_plugin.serving.events.redaction import Redaction
from mlflow_deploy_plugin.serving.events.sampling import is_sampled
from mlflow_deploy_plugin.serving.events.waiting import Waiting
from mlflow_deploy_plugin.serving.record import Prediction, singly
from mlflow_deploy_plugin.serving.request import Frame, Matrix, Payload, Raw, Tensor, Tensors
from mlflow_deploy_plugin.spec.events import partition

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa

    from mlflow_deploy_plugin.serving.events.features import FeatureColumns
    from mlflow_deploy_plugin.serving.record import Batch
    from mlflow_deploy_plugin.serving.signature import Signature
    from mlflow_deploy_plugin.spec.settings import ServingSettings

ALONE: Final = "local"
"""Stands for stage, endpoint or deployment where a Bento runs outside a gateway."""

DAY_S: Final = 86_400
_EVENT_BYTES: Final = 512  # what one queued event weighs beside its arrays


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
            write_whole(table, self.root / folder / file_name())

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


@dataclass(slots=True)
class PredictionLog:
    """The :class:`..record.Recorder` that writes files."""

    queue: FlushedQueue[Prediction | Waiting]
    sample: float
    has_features: bool

    @classmethod
    def open(
        cls, settings: ServingSettings, *, signature: Signature, model_digest: str, on_drop: OnDrop | None
    ) -> Self:
        """The log that ``settings`` describe. Nothing is made or imported before the first prediction."""
        has_features = settings.log == "full"
        files = PredictionFiles(
            root=Path(settings.events_dir),
            stage=settings.stage or ALONE,
            endpoint=settings.endpoint or ALONE,
            deployment=settings.deployment or ALONE,
            model_digest=model_digest,
            signature=signature,
            redaction=Redaction.of(settings),
            has_features=has_features,
        )
        drops = Drops("predictions", on_drop)
        queue: FlushedQueue[Prediction | Waiting] = FlushedQueue(
            files, drops, settings.log_flush_s, weigh=weight, part=parted
        )
        return cls(queue=queue, sample=settings.log_sample, has_features=has_features)

    def record(self, prediction: Prediction) -> None:
        """Queue it, where its request is sampled."""
        if self.sample >= 1.0 or is_sampled(prediction.caller.request_id, self.sample):
            self._put(prediction)

    def _put(self, prediction: Prediction) -> None:
        size = _EVENT_BYTES + (payload_bytes(prediction.payload) if self.has_features else 0)
        self.queue.put(prediction._replace(output=_kept(prediction.output)), size=size)

    def record_batch(self, batch: Batch) -> None:
        """Queue those whose requests are sampled."""
        if self.sample < 1.0:
            are_sampled = [is_sampled(caller.request_id, self.sample) for caller in batch.callers]
            if not all(are_sampled):
                for prediction in itertools.compress(singly(batch), are_sampled) if any(are_sampled) else ():
                    self._put(prediction)
                return
        size = _EVENT_BYTES * len(batch.callers) + (payload_bytes(batch.payload) if self.has_features else 0)
        self.queue.put(Waiting.of(batch._replace(output=_kept(batch.output))), size=size)

    def close(self) -> None:
        """Write what waits."""
        self.queue.close()


def _kept(output: Any) -> Any:  # noqa: ANN401  a model returns anything
    """An output that stays as it is: a model may keep its buffer for the next call."""
    if isinstance(output, np.ndarray):
        return output.copy()
    return {name: _kept(part) for name, part in output.items()} if isinstance(output, dict) else output


def payload_bytes(payload: Payload) -> int:
    """About how much memory a queued payload holds on to; quick rather than exact."""
    if type(payload) is Matrix:  # nearly every request; a match costs three times as much
        return payload.values.nbytes
    match payload:
        case Matrix():
            return payload.values.nbytes
        case Tensor():
            return payload.array.nbytes
        case Tensors():
            return sum(array.nbytes for array in payload.arrays.values())
        case Frame():
            return payload.frame.size * 64
        case Raw():
            return len(payload.value) * 64 if isinstance(payload.value, (str, bytes, list, dict)) else 64
        case _:
            assert_never(payload)


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
        times = event.times if isinstance(event, Waiting) else (event.time,)
        day = int(min(times) // DAY_S)
        if max(times) // DAY_S == day:
            days.setdefault(day, []).append(event)
            continue
        for one in parted(event):
            days.setdefault(int(one.time // DAY_S), []).append(one)
    return [(datetime.fromtimestamp(day * DAY_S, tz=UTC), of_day) for day, of_day in days.items()]


def file_name() -> str:
    """A name that sorts by time and that no other process uses.

    >>> file_name().endswith(".parquet")
    True
    """
    return f"{time.time_ns():020d}-{os.getpid()}-{uuid.uuid4().hex[:8]}.parquet"
