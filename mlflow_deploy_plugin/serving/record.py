"""The seam to the prediction log and to the labels: what the engine hands over, and the fakes that ship.

``record`` and ``accept`` are called on the event loop, between two requests: they take microseconds, never block and
never raise. Whoever implements them copies the output at most (a model may use its buffer again), converts
later and in a thread of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

from mlflow_deploy_plugin.serving.outputs import split
from mlflow_deploy_plugin.serving.payloads import deal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlflow_deploy_plugin.serving.request import Caller, Payload

Status = Literal["success", "error"]


class Prediction(NamedTuple):
    """One answered request."""

    caller: Caller
    time: float
    """Seconds since the epoch when the request had arrived."""
    protocol: str
    status: Status
    latency_ms: float
    rows: int
    payload: Payload
    output: Any
    """The model's own output for these rows (see :mod:`.outputs`); None for an error."""


class Batch(NamedTuple):
    """Requests of one row each that one call of the model answered: what else would be as many :class:`Prediction`."""

    callers: Sequence[Caller]
    times: Sequence[float]
    """Seconds since the epoch."""
    protocols: Sequence[str]
    latencies_ms: Sequence[float]
    payload: Payload
    """Row by row, theirs."""
    output: Any
    """The model's own output for all of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """Ground truth of one row of one request. ``value`` is any JSON value."""

    request_id: str
    row: int
    value: Any


@dataclass(frozen=True, slots=True)
class Arrived:
    """A label and when it came, in seconds since the epoch."""

    label: Label
    time: float


def singly(batch: Batch) -> list[Prediction]:
    """Each request of a batch by itself.

    Raises:
        UnsplittableError: the output does not have one entry per row, which no batch that was answered has.
    """
    sizes = [1] * len(batch.callers)
    parts = zip(
        batch.callers,
        batch.times,
        batch.protocols,
        batch.latencies_ms,
        deal(batch.payload, sizes),
        split(batch.output, sizes),
        strict=True,
    )
    return [
        Prediction(caller, time, protocol, "success", latency_ms, 1, payload, output)
        for caller, time, protocol, latency_ms, payload, output in parts
    ]


class Recorder(Protocol):
    """Keeps predictions."""

    def record(self, prediction: Prediction) -> None:
        """Take one; never blocks, never raises."""

    def record_batch(self, batch: Batch) -> None:
        """Take several; never blocks, never raises."""

    def close(self) -> None:
        """Flush what is held; called once, after the last request was answered."""


class LabelSink(Protocol):
    """Keeps ground truth."""

    def accept(self, labels: Sequence[Label]) -> None:
        """Take some; never blocks, never raises."""

    def close(self) -> None:
        """Flush what is held."""


@dataclass(slots=True)
class NullRecorder:
    """Logging is off."""

    def record(self, prediction: Prediction) -> None:
        """Forget it."""

    def record_batch(self, batch: Batch) -> None:
        """Forget them."""

    def close(self) -> None:
        """Nothing is held."""


@dataclass(slots=True)
class MemoryRecorder:
    """The fake for tests: keeps everything in a list."""

    predictions: list[Prediction] = field(default_factory=list)

    def record(self, prediction: Prediction) -> None:
        """Keep it."""
        self.predictions.append(prediction)

    def record_batch(self, batch: Batch) -> None:
        """Keep each."""
        self.predictions.extend(singly(batch))

    def close(self) -> None:
        """Nothing to flush."""


@dataclass(slots=True)
class MemoryLabels:
    """The fake for tests, and the sink where no event store is given."""

    labels: list[Label] = field(default_factory=list)

    def accept(self, labels: Sequence[Label]) -> None:
        """Keep them."""
        self.labels.extend(labels)

    def close(self) -> None:
        """Nothing to flush."""
