"""The one thread that calls the model: work goes in by a queue, results come back to the event loop.

One thread, because few models are safe for more and a batch uses the machine better than two calls. It is a daemon:
a call that never returns must not keep the process from ending.
"""

from __future__ import annotations

import threading
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    Work = Callable[[], Any]
    Done = Callable[[Any, BaseException | None], None]


class ModelThread:
    """Runs work one after the other."""

    def __init__(self, loop: asyncio.AbstractEventLoop, name: str = "model") -> None:
        self._loop = loop
        self._queue: SimpleQueue[tuple[Work, Done] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(self, work: Work, done: Done) -> None:
        """Run ``work`` in the thread, then ``done(result, error)`` on the event loop."""
        self._queue.put((work, done))

    def stop(self) -> None:
        """End the thread once its work is done."""
        self._queue.put(None)

    def _run(self) -> None:
        while (item := self._queue.get()) is not None:
            work, done = item
            result, error = None, None
            try:
                result = work()
            except BaseException as raised:  # noqa: BLE001  a model may raise SystemExit, and its client is told all the same
                error = raised
            if self._loop.is_closed():
                return
            self._loop.call_soon_threadsafe(done, result, error)
            del item, work, done, result, error
