"""A worker that logs in every other tenth of a second, and counts what each costs it.

``docs/log/cost.py`` starts it in the place of the launcher. It is one process with the same memory and the same threads
all the time; what differs is whether a batch of answers is handed to the prediction log. SIGUSR1 has it write what it
has counted since the last time into the file ``LOG_COST_FILE``, one list for each slice: whether it logged, requests,
and seconds of the thread that answers.
"""

import json
import os
import signal
import sys
from itertools import cycle
from pathlib import Path
from time import perf_counter, thread_time
from types import FrameType

from mlflow_deploy_plugin.serving import launch
from mlflow_deploy_plugin.serving.events.predictions import PredictionLog
from mlflow_deploy_plugin.serving.record import Batch

SLICE_S = 0.1
ORDER = (True, False, False, True)
"""What drifts meets both alike."""


class Switch:
    """Stands before the log of a process."""

    def __init__(self) -> None:
        """The first slice logs."""
        self.slices: list[tuple[bool, int, float]] = []
        self._states = cycle(ORDER)
        self._log = PredictionLog.record_batch
        self._begin()

    def _begin(self) -> None:
        self._is_on = next(self._states)
        self._requests = 0
        self._began_s, self._cpu_s = perf_counter(), thread_time()

    def record_batch(self, log: PredictionLog, batch: Batch) -> None:
        """Into the log, or nowhere."""
        if perf_counter() - self._began_s >= SLICE_S:
            self.slices.append((self._is_on, self._requests, thread_time() - self._cpu_s))
            self._begin()
        self._requests += len(batch.callers)
        if self._is_on:
            self._log(log, batch)

    def tell(self, _number: int, _frame: FrameType | None) -> None:
        """Write what was counted, and begin anew."""
        path = Path(os.environ["LOG_COST_FILE"])
        hidden = path.with_suffix(".tmp")
        hidden.write_text(json.dumps(self.slices))
        hidden.rename(path)
        self.slices.clear()
        self._states = cycle(ORDER)
        self._begin()


def main() -> int:
    """Serve as the launcher does."""
    switch = Switch()
    signal.signal(signal.SIGUSR1, switch.tell)

    def record_batch(log: PredictionLog, batch: Batch) -> None:
        switch.record_batch(log, batch)

    PredictionLog.record_batch = record_batch
    return launch.main()


if __name__ == "__main__":
    sys.exit(main())
