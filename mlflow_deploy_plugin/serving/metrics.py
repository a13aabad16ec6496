"""What one worker counts. Written on the event loop only, so plain integers suffice; read at a scrape.

The hot path pays for a bisection and an addition per request and histogram. Labels are bounded: the deployment is one,
classes are the first hundred of the model's own list (anything else is ``other``), routes those of the codecs' tables.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from mlflow_deploy_plugin.serving.events.drops import NONE_YET
from mlflow_deploy_plugin.serving.outputs import count_classes

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mlflow_deploy_plugin.serving.faults import Fault

LATENCY_BOUNDS: Final = (
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.075,
    0.1,
    0.15,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    30.0,
    60.0,
)
"""Seconds. 0.1 is the service level that the alerts ask for, with neighbours to interpolate between."""
STEP_BOUNDS: Final = (0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0)
ROW_BOUNDS: Final = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0)

MOST_CLASSES: Final = 100
"""Classes that have a series of their own: each is one for every worker, at every scrape."""
OTHER: Final = "other"
NONE: Final = "none"
"""``prediction_class`` of an error."""


@dataclass(slots=True)
class Histogram:
    """Counts by upper bound; the last count is above all bounds."""

    bounds: tuple[float, ...]
    counts: list[int] = field(default_factory=list)
    total: float = 0.0

    def __post_init__(self) -> None:
        self.counts = self.counts or [0] * (len(self.bounds) + 1)

    def observe(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def observe_all(self, values: Sequence[float]) -> None:
        """Count each."""
        counts, bounds = self.counts, self.bounds
        for value in values:
            counts[bisect_left(bounds, value)] += 1
        self.total += sum(values)


class RouteKey(NamedTuple):
    """Labels of ``model_requests_total``."""

    protocol: str
    route: str
    code: int


class Metrics:
    """Counters of one worker."""

    def __init__(self, classes: Sequence[Any] = ()) -> None:
        told = classes[:MOST_CLASSES]
        self.class_labels = (*map(str, told), OTHER)
        self._class_index = {value: at for at, value in enumerate(told)}
        self.predictions = [0] * len(self.class_labels)
        self.errors = 0
        self.errors_s = 0.0
        self.latency = Histogram(LATENCY_BOUNDS)
        self.queue = Histogram(STEP_BOUNDS)
        self.compute = Histogram(STEP_BOUNDS)
        self.codec = Histogram(STEP_BOUNDS)
        self.batch_rows = Histogram(ROW_BOUNDS)
        self.requests: Counter[RouteKey] = Counter()
        self.rejected: Counter[str] = Counter()
        self.log_dropped: Counter[tuple[str, str]] = Counter(NONE_YET)

    def batch(self, *, rows: int, seconds: float, prediction: Any) -> None:  # noqa: ANN401  a model returns anything
        """One call of the model succeeded."""
        self.batch_rows.observe(rows)
        self.compute.observe(seconds)
        if len(self.class_labels) == 1:
            self.predictions[0] += rows
            return
        for at, count in count_classes(prediction, self._class_index).items():
            self.predictions[at] += count

    def by_class(self) -> dict[str, int]:
        """Predictions by label. A class that is called ``other`` itself shares a label with what is no known class.

        >>> Metrics(["other", "yes"]).by_class()
        {'other': 0, 'yes': 0}
        """
        counts: Counter[str] = Counter(dict.fromkeys(self.class_labels, 0))
        for label, count in zip(self.class_labels, self.predictions, strict=True):
            counts[label] += count
        return dict(counts)

    def answered(
        self,
        keys: Iterable[RouteKey],
        *,
        latencies_s: Sequence[float],
        queues_s: Sequence[float],
        codecs_s: Sequence[float],
    ) -> None:
        """Some requests got their predictions."""
        self.requests.update(keys)
        self.latency.observe_all(latencies_s)
        self.queue.observe_all(queues_s)
        self.codec.observe_all(codecs_s)

    def failed(self, key: RouteKey, fault: Fault, *, latency_s: float) -> None:
        """One request got none. What its client can mend is a reject; the rest is an error of the model."""
        self.requests[key] += 1
        self.rejected[fault.name.lower()] += 1
        if not fault.is_clients:
            self.errors += 1
            self.errors_s += latency_s
            self.latency.observe(latency_s)

    def dropped(self, table: str, reason: str, count: int) -> None:
        """The log lost events; called from its threads, where a lost increment of this rarity is borne."""
        self.log_dropped[table, reason] += count
