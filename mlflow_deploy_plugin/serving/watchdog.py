"""A call of the model on the event loop that does not return: whoever would see it there stands still with the loop.

So a thread of its own looks, some times a second, and ends the process. Nobody can be told; the gateway finds the
connections closed and asks another worker. It looks twice: a process that was stopped as a whole, by a signal or with
its machine, has lost that time too, and its call ends between the looks.
"""

from __future__ import annotations

import threading
from time import perf_counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Watchdog:
    """Looks every ``period_s``; where one call is beyond ``limit_s`` at two looks, it bites, once."""

    def __init__(
        self,
        standing_since: Callable[[], float | None],
        bite: Callable[[float], None],
        *,
        limit_s: float,
        period_s: float,
    ) -> None:
        """``standing_since``: when the call on the loop began, on ``time.perf_counter``; ``bite`` is told how long."""
        self._standing_since = standing_since
        self._bite = bite
        self._limit_s = limit_s
        self._period_s = period_s
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._is_over.set()

    def _run(self) -> None:
        late: float | None = None
        while not self._is_over.wait(self._period_s):
            since = self._standing_since()
            seconds = 0.0 if since is None else perf_counter() - since
            if seconds > self._limit_s and since == late:
                self._bite(seconds)
                return
            late = since if seconds > self._limit_s else None
