"""The prediction log as the event loop sees it: it takes answers and hands them to a thread that writes files."""

from __future__ import annotations

import itertools
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self, assert_never

import numpy as np

from mlflow_deploy_plugin.serving.events.drops import Drops, OnDrop
from mlflow_deploy_plugin.serving.events.page import Kind, Page, kind_of
from mlflow_deploy_plugin.serving.events.prediction_files import PredictionFiles, parted, weight
from mlflow_deploy_plugin.serving.events.queue import FlushedQueue, Write
from mlflow_deploy_plugin.serving.events.raw import RawFiles
from mlflow_deploy_plugin.serving.events.redaction import Redaction
from mlflow_deploy_plugin.serving.events.sampling import is_sampled
from mlflow_deploy_plugin.serving.events.waiting import Waiting
from mlflow_deploy_plugin.serving.record import Prediction, singly
from mlflow_deploy_plugin.serving.request import Frame, Matrix, Payload, Raw, Tensor, Tensors

if TYPE_CHECKING:
    from mlflow_deploy_plugin.serving.record import Batch
    from mlflow_deploy_plugin.serving.signature import Signature
    from mlflow_deploy_plugin.spec.settings import ServingSettings

ALONE: Final = "local"
"""Stands for stage, endpoint or deployment where a Bento runs outside a gateway."""

_EVENT_BYTES: Final = 512  # what one queued event weighs beside its arrays


@dataclass(slots=True)
class PredictionLog:
    """The :class:`..record.Recorder` that writes files."""

    queue: FlushedQueue[Prediction | Waiting]
    sample: float
    has_features: bool
    _page: Page | None = None
    """What batches are written on until it is full, or the disk's turn has come."""
    _kind: Kind | None = None
    """Of the latest batch."""
    _turning: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        """Let each flush begin with the page."""
        self.queue.gather = self._turn

    @classmethod
    def open(
        cls, settings: ServingSettings, *, signature: Signature, model_digest: str, on_drop: OnDrop | None
    ) -> Self:
        """The log that ``settings`` describe. Nothing is made or imported before the first prediction."""
        has_features = settings.log == "full"
        redaction = Redaction.of(settings)
        if has_features:
            redaction.warn_of_strangers([spec.name for spec in signature.inputs if spec.name])
        files = PredictionFiles(
            root=Path(settings.events_dir),
            stage=settings.stage or ALONE,
            endpoint=settings.endpoint or ALONE,
            deployment=settings.deployment or ALONE,
            model_digest=model_digest,
            signature=signature,
            redaction=redaction,
            has_features=has_features,
        )
        drops = Drops("predictions", on_drop)
        queue: FlushedQueue[Prediction | Waiting] = FlushedQueue(
            _writer(files, settings.log_raw_dir), drops, settings.log_flush_s, weigh=weight, part=parted
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
        with self._turning:
            if self._page is None or not self._page.take(batch):
                self._begin(batch)

    def _begin(self, batch: Batch) -> None:
        """Turn the page; a new one is for the second batch of a kind, since one that is alone is not worth it."""
        page, self._page = self._page, None
        if page is not None:
            self._tear_off(page)
        before, self._kind = self._kind, kind_of(batch, has_features=self.has_features)
        kind = self._kind
        if kind is not None and kind == before and kind.room:
            fresh = Page(kind)
            if fresh.take(batch):
                self._page = fresh
                self.queue.start()
                return
        self._put_waiting(Waiting.of(batch._replace(output=_kept(batch.output))))

    def _turn(self) -> None:
        """In the writing thread: what is on the page goes with this flush."""
        with self._turning:
            page, self._page = self._page, None
        if page is not None:
            self._tear_off(page)

    def _tear_off(self, page: Page) -> None:
        try:
            self._put_waiting(page.torn_off())
        except MemoryError as error:  # neither the loop nor the thread may end by it
            self.queue.drops.add("unreadable", page.rows, detail=repr(error))

    def _put_waiting(self, waiting: Waiting) -> None:
        size = _EVENT_BYTES * waiting.rows + (payload_bytes(waiting.payload) if self.has_features else 0)
        self.queue.put(waiting, size=size)

    def close(self) -> None:
        """Write what waits."""
        self.queue.close()


def _writer(files: PredictionFiles, raw_dir: str) -> Write[Prediction | Waiting]:
    """Raw files where somebody makes tables of them; hashed columns must not lie there as they came."""
    if not raw_dir or files.redaction.is_any:
        return files
    return RawFiles(folder=Path(raw_dir), tables=files)


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
