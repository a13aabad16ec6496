"""An event store that is filled row by row; a test names only what matters."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlflow_deploy_plugin.agent.parquet import arrow_schema
from mlflow_deploy_plugin.spec.events import (
    ATTEMPT_COLUMNS,
    LABEL_COLUMNS,
    PREDICTION_COLUMNS,
    Table,
    partition,
)
from pipelines.monitoring.event_summaries import Window
from pipelines.monitoring.events import EventStore

NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)
COLUMNS = {"attempts": ATTEMPT_COLUMNS, "predictions": PREDICTION_COLUMNS, "labels": LABEL_COLUMNS}


class StoreBuilder:
    """Writes events of endpoint ``churn`` on stage ``production``, one file per call."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._numbers = count()

    def attempts(self, *rows: dict[str, Any], deployment: str = "v3") -> Path:
        defaults = {
            "time": NOON, "user_id": "", "assigned": deployment, "override": "", "attempt": 1, "status": 200,
            "flags": "", "latency_ms": 5.0, "commit": "c1",
        }  # fmt: skip
        return self.file("attempts", [defaults | row for row in rows], deployment)

    def predictions(self, *rows: dict[str, Any], deployment: str = "v3") -> Path:
        defaults = {
            "time": NOON, "row": 0, "user_id": "", "assigned": deployment, "model_digest": "d", "protocol": "mlflow",
            "status": "success", "latency_ms": 1.0, "prediction": 1.0, "prediction_text": None,
        }  # fmt: skip
        return self.file("predictions", [defaults | row for row in rows], deployment)

    def labels(self, *rows: dict[str, Any]) -> Path:
        defaults = {"time": NOON + timedelta(minutes=1), "row": 0, "label": 1.0, "label_text": None}
        return self.file("labels", [defaults | row for row in rows], "")

    def file(self, table: Table, rows: list[dict[str, Any]], deployment: str) -> Path:
        folder = self.root / partition(
            table, stage="production", endpoint="churn", day=rows[0]["time"], deployment=deployment
        )
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{next(self._numbers):06d}.parquet"
        fixed = arrow_schema(COLUMNS[table])
        extra = [name for name in rows[0] if name not in fixed.names]
        features = pa.Table.from_pylist([{name: row[name] for name in extra} for row in rows]).schema if extra else ()
        schema = pa.schema([*fixed, *features])
        pq.write_table(pa.Table.from_pylist(rows, schema=schema), path)
        return path


@pytest.fixture
def build(tmp_path: Path) -> StoreBuilder:
    return StoreBuilder(tmp_path / "events")


@pytest.fixture
def store(build: StoreBuilder) -> Iterator[EventStore]:
    with EventStore(build.root, memory_mb=128, threads=1) as opened:
        yield opened


@pytest.fixture
def window() -> Window:
    return Window(stage="production", endpoint="churn", begin=NOON - timedelta(hours=1), end=NOON + timedelta(hours=1))


@pytest.fixture
def logged(window: Window) -> Callable[[EventStore], int]:
    """How many attempts a store holds within the window, each file's own."""

    def count_rows(store: EventStore) -> int:
        scanner = store.scanner
        query = "SELECT count(*) AS number FROM {}"
        (row,) = scanner.steady(lambda: scanner.rows(query.format(scanner.scan("attempts", window.span).source)))
        return int(row["number"])

    return count_rows
