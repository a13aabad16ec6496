"""Predictions of one row and one number, which nearly all are, kept as columns while they wait for the disk.

An event that waits as an object costs twice: its parts are spread over memory that nobody else uses again soon, and the
garbage collector walks over them. A row of a block is text and numbers in lists and one line of a matrix, copied while
it is still in the processor's cache.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from mlflow_deploy_plugin.serving.request import Matrix

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mlflow_deploy_plugin.serving.record import Prediction

CAPACITY: Final = 1024
"""Rows of one block; a few hundred kilobytes of a wide table."""
ROW_BYTES: Final = 512  # what a row weighs beside its features
DAY_S: Final = 86_400


@dataclass(slots=True, kw_only=True)
class Block:
    """Rows of one day and one kind, in the order in which they came."""

    day: int
    """Days since the epoch, UTC."""
    columns: tuple[str, ...]
    features: NDArray[Any]  # (CAPACITY, columns); rows beyond the count are not written yet
    request_ids: list[str] = field(default_factory=list)
    user_ids: list[str] = field(default_factory=list)
    assigned: list[str] = field(default_factory=list)
    trace_ids: list[str] = field(default_factory=list)
    span_ids: list[str] = field(default_factory=list)
    protocols: list[str] = field(default_factory=list)
    times: array[float] = field(default_factory=lambda: array("d"))
    latencies_ms: array[float] = field(default_factory=lambda: array("d"))
    outputs: array[float] = field(default_factory=lambda: array("d"))

    @classmethod
    def like(cls, prediction: Prediction, *, has_features: bool) -> Block:
        """An empty block for predictions such as this one; :func:`is_plain` has said that it is plain."""
        payload = prediction.payload
        values = payload.values if isinstance(payload, Matrix) else np.empty((1, 0))
        width = values.shape[1] if has_features else 0
        columns = payload.columns if isinstance(payload, Matrix) else ()
        return cls(
            day=int(prediction.time // DAY_S), columns=columns, features=np.empty((CAPACITY, width), dtype=values.dtype)
        )

    def __len__(self) -> int:
        return len(self.outputs)

    @property
    def size(self) -> int:
        """Bytes, about."""
        row_bytes: int = ROW_BYTES + self.features.itemsize * self.features.shape[1]
        return len(self) * row_bytes

    def takes(self, prediction: Prediction) -> bool:
        """Whether this plain prediction is of the block's kind and day, and there is room."""
        payload = prediction.payload
        return (
            len(self.outputs) < CAPACITY
            and payload.columns == self.columns  # type: ignore[union-attr]
            and payload.values.dtype == self.features.dtype  # type: ignore[union-attr]
            and prediction.time // DAY_S == self.day
        )

    def add(self, prediction: Prediction) -> None:
        """Copy one prediction that :meth:`takes` was asked about."""
        request_id, user_id, assigned, trace = prediction.caller
        if self.features.shape[1]:
            self.features[len(self.outputs)] = prediction.payload.values  # type: ignore[union-attr]
        self.request_ids.append(request_id)
        self.user_ids.append("" if user_id == request_id else user_id)
        self.assigned.append(assigned)
        self.trace_ids.append(trace.trace_id if trace else "")
        self.span_ids.append(trace.span_id if trace else "")
        self.protocols.append(prediction.protocol)
        self.times.append(prediction.time)
        self.latencies_ms.append(prediction.latency_ms)
        self.outputs.append(prediction.output[0])


def is_plain(prediction: Prediction) -> bool:
    """Whether it is one row of a table of numbers that was answered by one number."""
    output = prediction.output
    return (
        prediction.rows == 1
        and type(prediction.payload) is Matrix
        and type(output) is np.ndarray
        and output.shape == (1,)
        and output.dtype.kind in "fiub"
        and prediction.status == "success"
    )
