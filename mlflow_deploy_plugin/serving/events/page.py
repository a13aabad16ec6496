"""The page that answers of one row each are written on, until the disk takes it: few objects, however many requests.

A second's worth of ids, times and arrays as objects of their own is memory that nobody else uses again soon, and that
the writing thread would have to walk over when it is no longer in the processor's cache. Copying a row onto a page
costs less than keeping it; ids of one batch become one text.
"""

from __future__ import annotations

import math
from array import array
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from mlflow_deploy_plugin.serving.events.waiting import SEPARATOR, Waiting, joined
from mlflow_deploy_plugin.serving.request import Matrix, Tensor

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mlflow_deploy_plugin.serving.record import Batch
    from mlflow_deploy_plugin.serving.request import Payload
    from mlflow_deploy_plugin.serving.trace import Trace

ROWS: Final = 1024
"""Of a page, at most."""
BYTES: Final = 512 * 1024
"""Of a page's arrays, at most."""
FEWEST: Final = 16
"""Rows that a page must have room for: larger ones wait as they are."""

NUMBERS: Final = "fiub"
"""Kinds of arrays whose rows are copied."""


class Kind(NamedTuple):
    """What batches have in common that may come on one page."""

    output: np.dtype[Any]
    answer: tuple[int, ...]
    """Shape of one row's output."""
    input: np.dtype[Any] | None
    """None: inputs are not kept."""
    row: tuple[int, ...]
    columns: tuple[str, ...] | None
    """None: the input is a tensor."""

    @property
    def room(self) -> int:
        """Rows of a page; 0 where they are too large for one."""
        size = _bytes_of(self.output, self.answer) + (0 if self.input is None else _bytes_of(self.input, self.row))
        room = min(ROWS, BYTES // size) if size else ROWS
        return room if room >= FEWEST else 0


def kind_of(batch: Batch, *, has_features: bool) -> Kind | None:
    """The kind of a batch; None where its rows are not copied."""
    output = batch.output
    if type(output) is not np.ndarray or output.dtype.kind not in NUMBERS or len(output) != len(batch.callers):
        return None
    if not has_features:
        return Kind(output.dtype, output.shape[1:], None, (), None)
    values = _values_of(batch.payload)
    if values is None or values.dtype.kind not in NUMBERS or len(values) != len(output):
        return None
    columns = batch.payload.columns if type(batch.payload) is Matrix else None
    return Kind(output.dtype, output.shape[1:], values.dtype, values.shape[1:], columns)


class Page:
    """Batches of one kind, one below the other. Whoever has it writes on it alone."""

    __slots__ = (
        *("kind", "rows"),
        *("_assigned", "_latencies_ms", "_output", "_protocols", "_request_ids"),
        *("_room", "_times", "_traces", "_user_ids", "_values"),
    )

    def __init__(self, kind: Kind) -> None:
        """An empty page."""
        self.kind = kind
        self.rows = 0
        self._room = kind.room
        self._request_ids: list[str] = []
        """Those of a batch are one text, as are the other two's."""
        self._user_ids: list[str] = []
        self._assigned: list[str] = []
        self._traces: list[Trace | None] = []
        self._times = array("d")
        self._protocols: list[str] = []
        self._latencies_ms = array("d")
        self._output = np.empty((self._room, *kind.answer), kind.output)
        self._values = None if kind.input is None else np.empty((self._room, *kind.row), kind.input)

    def take(self, batch: Batch) -> bool:
        """Write a batch down; False: it is of another kind, or there is no room for all of it."""
        rows = len(batch.callers)
        begin, end = self.rows, self.rows + rows
        if end > self._room or not self._is_like(batch, rows):
            return False
        if self._values is not None:
            self._values[begin:end] = _values_of(batch.payload)
        self._output[begin:end] = batch.output
        if rows == 1:  # with one connection, each batch; what is made for many costs it as much as the copies
            ((request_id, user_id, assigned, trace),) = batch.callers
            self._traces.append(trace)
        else:
            request_ids, user_ids, all_assigned, traces = zip(*batch.callers, strict=True)
            request_id, user_id = SEPARATOR.join(request_ids), SEPARATOR.join(user_ids)
            assigned = SEPARATOR.join(all_assigned)
            self._traces += traces
        self._request_ids.append(request_id)
        self._user_ids.append(user_id)
        self._assigned.append(assigned)
        self._times.extend(batch.times)
        self._protocols += batch.protocols
        self._latencies_ms.extend(batch.latencies_ms)
        self.rows = end
        return True

    def _is_like(self, batch: Batch, rows: int) -> bool:
        """Whether it is of this page's kind, without making its own."""
        kind, output = self.kind, batch.output
        if type(output) is not np.ndarray or output.dtype != kind.output or output.shape != (rows, *kind.answer):
            return False
        if kind.input is None:
            return True
        values = _values_of(batch.payload)
        if values is None or values.dtype != kind.input or values.shape != (rows, *kind.row):
            return False
        columns = batch.payload.columns if type(batch.payload) is Matrix else None
        return columns is kind.columns or columns == kind.columns

    def torn_off(self) -> Waiting:
        """All that is written on it, as one batch that waits; nobody writes on it any more."""
        return Waiting(
            rows=self.rows,
            request_ids=SEPARATOR.join(self._request_ids),
            user_ids=joined(self._user_ids),
            assigned=joined(self._assigned),
            traces=self._traces if any(self._traces) else (),
            protocols=self._protocols,
            times=self._times,
            latencies_ms=self._latencies_ms,
            payload=self._payload(),
            output=self._written(self._output),
        )

    def _payload(self) -> Payload:
        if self._values is None:
            return Matrix(values=np.empty((self.rows, 0)), columns=())
        values = self._written(self._values)
        columns = self.kind.columns
        return Tensor(array=values) if columns is None else Matrix(values=values, columns=columns)

    def _written(self, whole: NDArray[Any]) -> NDArray[Any]:
        """The rows that are written; by themselves where they would keep a page in memory that is mostly empty."""
        written = whole[: self.rows]
        return written.copy() if self.rows * 2 < self._room else written


def _bytes_of(dtype: np.dtype[Any], shape: tuple[int, ...]) -> int:
    return dtype.itemsize * math.prod(shape)


def _values_of(payload: Payload) -> NDArray[Any] | None:
    if type(payload) is Matrix:
        return payload.values
    return payload.array if type(payload) is Tensor else None
