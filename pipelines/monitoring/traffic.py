"""What the gateway saw of each deployment over time: attempts, failures, latency. Reads; judges nothing."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from pipelines.monitoring import event_queries as sql
from pipelines.monitoring.page.model import Traffic

if TYPE_CHECKING:
    from pipelines.monitoring.event_summaries import Window
    from pipelines.monitoring.events import EventStore

# The last stretch of a window is as long as the others only by chance; figures are shares and quantiles, not sums.
QUERY: Final = f"""
SELECT deployment, floor(epoch(time) / $every) * $every AS began, count(*) AS attempts,
       count(*) FILTER ({sql.FAILED}) AS failed,
       quantile_cont(latency_ms, 0.5) FILTER (NOT {sql.FAILED}) AS median_ms,
       quantile_cont(latency_ms, 0.99) FILTER (NOT {sql.FAILED}) AS p99_ms
FROM {{attempts}} GROUP BY ALL ORDER BY began, deployment
"""  # noqa: S608  the parts are ours
ONE_PIECE: Final = timedelta(days=36_500)


def by_time(store: "EventStore", window: "Window", *, every: timedelta) -> tuple[Traffic, ...]:
    """Every deployment's attempts in stretches of ``every``, which begin at whole multiples since 1970.

    Raises:
        EventStoreError: the store cannot be read.
    """
    rows = store.scanner.steady(lambda: _ask(store, window, every))
    return tuple(_traffic(row, window) for row in rows)


def whole(store: "EventStore", window: "Window") -> Mapping[str, Traffic]:
    """The same of the whole window, by deployment."""
    return {row.deployment: row for row in by_time(store, window, every=ONE_PIECE)}


def _ask(store: "EventStore", window: "Window", every: timedelta) -> list[dict[str, Any]]:
    source = store.scanner.scan("attempts", window.span).source
    return store.scanner.rows(QUERY.format(attempts=source), {"every": every.total_seconds()})


def _traffic(row: Mapping[str, Any], window: "Window") -> Traffic:
    began = max(datetime.fromtimestamp(row["began"], tz=UTC), window.begin)
    return Traffic(**{**row, "began": began})
