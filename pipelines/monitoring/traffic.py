"""What the gateway saw of each deployment over time: attempts, failures, latency. Reads; judges nothing.

Latencies are counted in bins half a per cent wide and read from their counts, so that memory does not grow with the
log: an exact quantile of fifty million rows does not fit into 512 MB. What is told is the greatest latency of the bin.
"""

import math
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

from pipelines.monitoring import event_queries as sql
from pipelines.monitoring.page.model import Traffic

if TYPE_CHECKING:
    from pipelines.monitoring.event_summaries import Window
    from pipelines.monitoring.events import EventStore

WIDTH: Final = 1.005
"""Ratio of a bin's ends."""
QUERY: Final = f"""
SELECT deployment, floor(epoch(time) / $every) * $every AS began, {sql.FAILED} AS has_failed,
       CASE WHEN {sql.FAILED} THEN 0 ELSE floor(ln(greatest(latency_ms, 0.001)) / ln({WIDTH})) END AS bin,
       count(*) AS attempts, max(latency_ms) AS longest_ms
FROM {{attempts}} GROUP BY ALL ORDER BY began, deployment, has_failed, bin
"""  # noqa: S608  the parts are ours
ONE_PIECE: Final = timedelta(days=36_500)


def by_time(store: "EventStore", window: "Window", *, every: timedelta) -> tuple[Traffic, ...]:
    """Every deployment's attempts in stretches of ``every``, which begin at whole multiples since 1970.

    Raises:
        EventStoreError: the store cannot be read.
    """
    rows = store.scanner.steady(lambda: _ask(store, window, every))
    groups = groupby(rows, key=lambda row: (row["deployment"], row["began"]))
    return tuple(_traffic(name, began, list(bins), window) for (name, began), bins in groups)


def whole(store: "EventStore", window: "Window") -> Mapping[str, Traffic]:
    """The same of the whole window, by deployment."""
    return {row.deployment: row for row in by_time(store, window, every=ONE_PIECE)}


def quantile(bins: Iterable[tuple[int, float]], share: float) -> float | None:
    """The value below or at which ``share`` of the counted ones lie; bins come in order, each with its greatest value.

    >>> quantile([(98, 5.0), (1, 80.0), (1, 900.0)], 0.99)
    80.0
    """
    counted = list(bins)
    wanted = math.ceil(share * sum(number for number, _ in counted) - 1e-9)
    seen = 0
    for number, value in counted:
        seen += number
        if seen >= wanted:
            return value
    return None


def _ask(store: "EventStore", window: "Window", every: timedelta) -> list[dict[str, Any]]:
    source = store.scanner.scan("attempts", window.span).source
    return store.scanner.rows(QUERY.format(attempts=source), {"every": every.total_seconds()})


def _traffic(name: str, began: float, rows: list[dict[str, Any]], window: "Window") -> Traffic:
    answered = [(row["attempts"], row["longest_ms"]) for row in rows if not row["has_failed"]]
    return Traffic(
        deployment=name,
        began=max(datetime.fromtimestamp(began, tz=UTC), window.begin),
        attempts=sum(row["attempts"] for row in rows),
        failed=sum(row["attempts"] for row in rows if row["has_failed"]),
        median_ms=quantile(answered, 0.5),
        p99_ms=quantile(answered, 0.99),
    )
