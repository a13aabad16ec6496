"""An event store of generated traffic, as large as asked for: what the reader's memory is measured on.

Two deployments at 90 and 10 per cent over a week, four requests a user, five numbers and a category as features, labels
for a fifth of the requests. Written by DuckDB in streams, so that making it needs no memory either.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mlflow_deploy_plugin.spec.events import Table, partition
from pipelines.monitoring.event_scans import quoted

if TYPE_CHECKING:
    from pipelines.monitoring.reference import ReferenceSample

BEGAN: Final = datetime(2026, 3, 2, tzinfo=UTC)
DAYS: Final = 7
ROWS_OF_A_FILE: Final = 2_000_000
STAGE: Final = "production"
ENDPOINT: Final = "scale"
STABLE: Final = "scale-v1"
CANARY: Final = "scale-v2"
COMMIT: Final = "generated"
MEMORY_MB: Final = 256
NUMBERS: Final = range(3, 8)
"""Features that are numbers: ``x3`` to ``x7``."""

_ROWS: Final = """
SELECT md5(i::VARCHAR) AS request_id, 'u' || (i * 2654435761 % {users}) AS user_id, i,
       to_timestamp({began} + i * {step}) AS time,
       CASE WHEN hash('u' || (i * 2654435761 % {users})) % 10 = 0 THEN '{canary}' ELSE '{stable}' END AS arm
FROM range({first}, {last}) t(i)
"""
_SELECTS: Final[dict[Table, str]] = {
    "attempts": """
SELECT request_id, time, user_id, arm AS assigned, '' AS override, 1::INTEGER AS attempt,
       CASE WHEN hash(i) % 500 = 0 THEN 503 ELSE 200 END::INTEGER AS status, '' AS flags,
       5.0 + hash(i) % 1000 / 100.0 AS latency_ms, '{commit}' AS commit
FROM rows WHERE arm = '{arm}'""",
    "predictions": """
SELECT request_id, 0::INTEGER AS row, time, user_id, arm AS assigned, 'sha256:1' AS model_digest, 'mlflow' AS protocol,
       'success' AS status, 1.0::DOUBLE AS latency_ms, (hash(i, 1) % 2)::DOUBLE AS prediction,
       NULL::VARCHAR AS prediction_text, {numbers}, 'abc'[(1 + hash(i, 9) % 3)::INTEGER] AS feature_plan
FROM rows WHERE arm = '{arm}'""",
    "labels": """
SELECT request_id, 0::INTEGER AS row, time + INTERVAL 1 HOUR AS time,
       CASE WHEN hash(i, 2) % 10 = 0 THEN 1 - hash(i, 1) % 2 ELSE hash(i, 1) % 2 END::DOUBLE AS label,
       NULL::VARCHAR AS label_text
FROM rows WHERE i % 5 = 0""",
}
_NUMBERS: Final = ", ".join(f"(hash(i, {n}) % 1000000) / 1e6 AS feature_x{n}" for n in NUMBERS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Generated:
    """What was written."""

    rows: int
    files: int
    stored_bytes: int


def generate(root: Path, *, rows: int) -> Generated:
    """Write a store with ``rows`` predictions under ``root``."""
    import duckdb  # noqa: PLC0415  an extra

    config = {"memory_limit": f"{MEMORY_MB}MB", "preserve_insertion_order": False, "threads": 2}
    with duckdb.connect(config=config) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("SET enable_progress_bar = false")
        for part in _parts(rows):
            for table, arm in _KINDS:
                connection.execute(_copy(root, part, table, arm))
    files = list(root.rglob("*.parquet"))
    return Generated(rows=rows, files=len(files), stored_bytes=sum(file.stat().st_size for file in files))


def reference(*, rows: int = 2000, seed: int = 1) -> "ReferenceSample":
    """A training sample like the traffic: nothing has moved."""
    import numpy as np  # noqa: PLC0415  heavy
    import pandas as pd  # noqa: PLC0415  heavy

    from pipelines.monitoring.reference import ReferenceSample  # noqa: PLC0415  pandas
    from pipelines.promotion.drift.evidence import Reference  # noqa: PLC0415

    draw = np.random.default_rng(seed)
    frame = pd.DataFrame({f"x{number}": draw.random(rows) for number in NUMBERS})
    frame = frame.assign(plan=draw.choice(list("abc"), rows))
    return ReferenceSample(frame=frame, about=Reference(source="generated", digest="", rows=rows))


_KINDS: Final[tuple[tuple[Table, str], ...]] = (
    ("attempts", STABLE), ("attempts", CANARY), ("predictions", STABLE), ("predictions", CANARY), ("labels", ""),
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """Rows of one file."""

    first: int
    last: int
    rows: int
    """Of the whole store."""
    day: int


def _parts(rows: int) -> Iterator[_Part]:
    per_day = -(-rows // DAYS)
    for day in range(DAYS):
        end = min(rows, (day + 1) * per_day)
        for first in range(day * per_day, end, ROWS_OF_A_FILE):
            yield _Part(first=first, last=min(first + ROWS_OF_A_FILE, end), rows=rows, day=day)


def _copy(root: Path, part: _Part, table: Table, arm: str) -> str:
    source = _ROWS.format(
        users=max(1, part.rows // 4),
        began=BEGAN.timestamp(),
        step=DAYS * 86_400 / part.rows,
        canary=CANARY,
        stable=STABLE,
        first=part.first,
        last=part.last,
    )
    day = BEGAN + timedelta(days=part.day)
    folder = root / partition(table, stage=STAGE, endpoint=ENDPOINT, day=day, deployment=arm)
    folder.mkdir(parents=True, exist_ok=True)
    chosen = _SELECTS[table].format(arm=arm, commit=COMMIT, numbers=_NUMBERS)
    target = quoted(str(folder / f"{part.first:012d}.parquet"))
    return f"COPY (WITH rows AS ({source}) {chosen}) TO {target} (FORMAT parquet, COMPRESSION zstd)"
