"""The page that answers of one row each are written on, until the disk takes it: few objects, however many requests.

A second's worth of ids, times and arrays as objects of their own is memory that nobody else uses again soon, and that
the writing thread would have to walk over when it is no longer in the processor's cache. Copying a row onto a page
costs less than keeping it.
"""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np

from mlflow_deploy_plugin.serving.events.waiting import Waiting
from mlflow_deploy_plugin.serving.record import Batch
from mlflow_deploy_plugin.serving.request import Matrix, Tensor

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mlflow_deploy_plugin.serving.request import Caller, Payload

ROWS: Final = 1024
"""Of a page, at most."""
BYTES: Final = 512 * 1024
"""Of a page's arrays, at most."""
FEWEST: Final = 16
"""Rows that a page must have room for: larger ones wait as they are."""

NUMBERS: Final = "fiub"
"""Kinds of arrays whose rows are copied."""


class Page:
    """Batches of one kind, one below the other. Whoever has it writes on it alone."""

    __slots__ = ("_callers", "_columns", "_latencies_ms", "_output", "_protocols", "_times", "_values", "room", "rows")

    def __init__(self, output: NDArray[Any], values: NDArray[Any] | None, columns: tuple[str, ...] | None) -> None:
        """An empty page for rows like those of ``output`` and ``values``; it has no room where they are too large."""
        size = output[:1].nbytes + (0 if values is None else values[:1].nbytes)
        room = min(ROWS, BYTES // size) if size else ROWS
        self.room = room if room >= FEWEST else 0
        self.rows = 0
        self._columns = columns
        self._callers: list[Caller] = []
        self._times = array("d")
        self._protocols: list[str] = []
        self._latencies_ms = array("d")
        self._output = np.empty((self.room, *output.shape[1:]), output.dtype)
        self._values = None if values is None else np.empty((self.room, *values.shape[1:]), values.dtype)

    @classmethod
    def like(cls, batch: Batch, *, has_features: bool) -> Self | None:
        """A page for batches such as this one; None where such rows are not copied."""
        output = batch.output
        if type(output) is not np.ndarray or output.dtype.kind not in NUMBERS or len(output) != len(batch.callers):
            return None
        if not has_features:
            return cls(output, None, None)
        values = _values_of(batch.payload)
        if values is None or values.dtype.kind not in NUMBERS:
            return None
        return cls(output, values, batch.payload.columns if type(batch.payload) is Matrix else None)

    def take(self, batch: Batch) -> bool:
        """Write a batch down; False: it is of another kind, or there is no room."""
        begin, output = self.rows, batch.output
        end = begin + len(batch.callers)
        if end > self.room or type(output) is not np.ndarray or not _is_alike(self._output, output, end - begin):
            return False
        if self._values is not None:
            payload = batch.payload
            if (payload.columns if type(payload) is Matrix else None) != self._columns:
                return False
            values = _values_of(payload)
            if values is None or not _is_alike(self._values, values, end - begin):
                return False
            self._values[begin:end] = values
        self._output[begin:end] = output
        self._callers += batch.callers
        self._times.extend(batch.times)
        self._protocols += batch.protocols
        self._latencies_ms.extend(batch.latencies_ms)
        self.rows = end
        return True

    def torn_off(self) -> Waiting:
        """All that is written on it, as one batch that waits; nobody writes on it any more."""
        batch = Batch(
            callers=self._callers,
            times=self._times,
            protocols=self._protocols,
            latencies_ms=self._latencies_ms,
            payload=self._payload(),
            output=self._output[: self.rows],
        )
        return Waiting.of(batch)

    def _payload(self) -> Payload:
        if self._values is None:
            return Matrix(values=np.empty((self.rows, 0)), columns=())
        values = self._values[: self.rows]
        return Tensor(array=values) if self._columns is None else Matrix(values=values, columns=self._columns)


def _values_of(payload: Payload) -> NDArray[Any] | None:
    if type(payload) is Matrix:
        return payload.values
    return payload.array if type(payload) is Tensor else None


def _is_alike(page: NDArray[Any], rows: NDArray[Any], count: int) -> bool:
    return rows.dtype == page.dtype and len(rows) == count and rows.shape[1:] == page.shape[1:]
