"""A bounded queue that a thread of its own empties onto the disk at a steady beat.

``put`` is for the event loop: an append and two comparisons. Everything slow happens in the thread, which starts with
the first event and never ends by an exception: what it cannot write is dropped and counted. Before each flush it asks
whoever holds events back to put them.
"""

from __future__ import annotations

import errno
import threading
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mlflow_deploy_plugin.serving.events.drops import Drops, Reason

MAX_EVENTS: Final = 65_536
"""Events that may wait: three seconds of the fastest server that was measured. A page of many rows is one event, and
:data:`MAX_BYTES` bounds those."""

MAX_BYTES: Final = 64 * 1024 * 1024
"""Bytes of arrays that may wait, so that a slow disk cannot eat the memory of the model."""

CLOSE_TIMEOUT_S: Final = 10.0

T = TypeVar("T")
T_contra = TypeVar("T_contra", contravariant=True)


def _one(event: object) -> int:  # noqa: ARG001
    return 1


def _whole(event: object) -> tuple[()]:  # noqa: ARG001
    return ()


def _nothing() -> None:
    pass


class Write(Protocol[T_contra]):
    """Writes events as files; raises OSError where the disk refuses and anything else for events it cannot read."""

    def __call__(self, events: Sequence[T_contra], /) -> None:
        """Write all of them, or raise before any became visible."""


@dataclass(slots=True)
class FlushedQueue(Generic[T]):
    """Events of one table on their way to the disk."""

    write: Write[T]
    drops: Drops
    interval_s: float
    max_events: int = MAX_EVENTS
    max_bytes: int = MAX_BYTES
    weigh: Callable[[T], int] = _one
    """How many events one stands for."""
    part: Callable[[T], Sequence[T]] = _whole
    """One that cannot be written, as several that perhaps can; none: it is one alone."""
    gather: Callable[[], None] = _nothing
    """Called in the thread before each flush, so that whoever holds something back puts it now; never raises."""
    _events: deque[tuple[T, int]] = field(default_factory=deque)
    _bytes: int = 0
    _wake: threading.Event = field(default_factory=threading.Event)
    _is_closing: bool = False
    _thread: threading.Thread | None = None
    _starting: threading.Lock = field(default_factory=threading.Lock)

    def put(self, event: T, *, size: int) -> None:
        """Take one event of about ``size`` bytes, or drop it where too much waits already."""
        if len(self._events) >= self.max_events or self._bytes + size > self.max_bytes:
            detail = "The disk is slower than the requests; lower -C log_sample"
            self.drops.add("queue_full", self.weigh(event), detail=detail)
            return
        self._bytes += size
        self._events.append((event, size))
        if self._thread is None:
            self.start()
        elif self._bytes > self.max_bytes // 2:
            self._wake.set()

    def start(self) -> None:
        """Start the thread, unless it runs."""
        with self._starting:
            if self._thread is None and not self._is_closing:
                self._thread = threading.Thread(target=self._run, name=f"events-{self.drops.table}", daemon=True)
                self._thread.start()

    def close(self) -> None:
        """Write what waits and end the thread. Safe to call twice."""
        with self._starting:
            self._is_closing = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join(CLOSE_TIMEOUT_S)

    def _run(self) -> None:
        while not self._is_closing:
            self._wake.wait(self.interval_s)
            self._wake.clear()
            self._flush()
        self._flush()

    def _flush(self) -> None:
        self.gather()
        taken = [self._events.popleft() for _ in range(len(self._events))]
        # The loop adds to _bytes while we subtract; a lost update would bend the bound for ever, so count anew.
        self._bytes = sum(size for _, size in list(self._events))
        if taken:
            self._write_or_drop([event for event, _ in taken])

    def _write_or_drop(self, events: list[T]) -> None:
        try:
            self.write(events)
        except OSError as error:
            reason: Reason = "disk_full" if error.errno in {errno.ENOSPC, errno.EDQUOT} else "unwritable"
            self.drops.add(reason, sum(map(self.weigh, events)), detail=str(error))
        except Exception as error:  # noqa: BLE001  a model may return anything; the thread must outlive it
            if len(events) == 1 and (parts := self.part(events[0])):
                self._write_or_drop([*parts])
            elif len(events) == 1:
                self.drops.add("unreadable", 1, detail=repr(error))
            else:  # one event spoils the columns of all: halve until it is alone
                self._write_or_drop(events[: len(events) // 2])
                self._write_or_drop(events[len(events) // 2 :])
