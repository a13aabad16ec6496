"""How much memory a drift tick needs, by the rows of its store: each store is judged in a process of its own."""

import argparse
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mlflow_deploy_plugin.errors import EXIT_BAD_VERDICT, EXIT_DONE, ConfigError

if TYPE_CHECKING:
    from pipelines.commands.doors import Doors

LIMIT_MB: Final = 1024
"""What a tick may use, whatever the rows."""
KILO: Final = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One store."""

    rows: int
    stored_mb: float
    peak_mb: float
    """Greatest resident memory of the process that judged it."""
    wall_s: float
    verdict: str


def run(options: argparse.Namespace, doors: "Doors") -> int:
    """Make, judge and tell; 1 where a tick used more memory than it may.

    Raises:
        ConfigError: a number of rows is none.
    """
    if bad := [rows for rows in options.rows if not 1 <= rows <= 1e9 or rows % 1]:  # noqa: PLR2004
        raise ConfigError(f"--rows {bad[0]:g} is not a whole number from 1 to 1e9")
    doors.say("| rows | stored | peak memory | growth | seconds | verdict |\n|---|---|---|---|---|---|")
    if options.folder:
        Path(options.folder).mkdir(parents=True, exist_ok=True)
    found: list[Measured] = []
    for rows in sorted(map(int, options.rows)):
        with tempfile.TemporaryDirectory(prefix="modelserve-scale-", dir=options.folder) as folder:
            found.append(measure(Path(folder), rows=rows))
        doors.say(_row(found[-1], found[-2] if len(found) > 1 else None))
    peak = max(each.peak_mb for each in found)
    is_within = peak <= LIMIT_MB
    doors.say(f"\ngreatest {peak:.0f} MB, {'within' if is_within else 'above'} the {LIMIT_MB} MB that a tick may use")
    return EXIT_DONE if is_within else EXIT_BAD_VERDICT


def measure(folder: Path, *, rows: int) -> Measured:
    """Generate a store of ``rows`` in ``folder`` and judge it in a process of its own."""
    from pipelines.monitoring.generated_store import generate  # noqa: PLC0415  DuckDB

    made = generate(folder, rows=rows)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        verdict, peak_mb, wall_s = pool.apply(judge, (str(folder),))
    return Measured(rows=rows, stored_mb=made.stored_bytes / 1e6, peak_mb=peak_mb, wall_s=wall_s, verdict=verdict)


def judge(folder: str) -> tuple[str, float, float]:
    """Do what ``drift`` does; the verdict, the process's greatest memory in MB, and the seconds."""
    from pipelines.monitoring import exposing  # noqa: PLC0415
    from pipelines.monitoring import generated_store as made  # noqa: PLC0415
    from pipelines.monitoring.event_summaries import Window  # noqa: PLC0415
    from pipelines.monitoring.events import EventStore  # noqa: PLC0415
    from pipelines.monitoring.gather import Question, gather  # noqa: PLC0415
    from pipelines.promotion.drift.evidence import Arm  # noqa: PLC0415
    from pipelines.promotion.drift.policy import DriftPolicy  # noqa: PLC0415
    from pipelines.promotion.drift.record import record  # noqa: PLC0415

    began = time.monotonic()
    end = made.BEGAN + timedelta(days=made.DAYS + 1)
    window = Window(stage=made.STAGE, endpoint=made.ENDPOINT, begin=made.BEGAN, end=end)
    stable, canary = (
        Arm(deployment=name, model_digest="", weight=weight, rows=0, users=0)
        for name, weight in ((made.STABLE, 900), (made.CANARY, 100))
    )
    question = Question(
        commit=made.COMMIT,
        rollout="",
        inputs=window,
        faults=window,
        stable=stable,
        canaries=(canary,),
        split_of=_split,
    )
    with EventStore(folder) as store:
        gathered = gather(store, question, reference=made.reference(), policy=DriftPolicy())
        exposing.of_labels(store, exposing.Whose(stage=made.STAGE, endpoint=made.ENDPOINT), now=end)
    verdict = record(gathered.evidence, DriftPolicy()).decision.verdict
    return verdict, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / KILO, time.monotonic() - began


def _split(_commit: str) -> Mapping[str, int]:
    from pipelines.monitoring import generated_store as made  # noqa: PLC0415

    return {made.STABLE: 900, made.CANARY: 100}


def _row(one: Measured, before: Measured | None) -> str:
    growth = f"{one.peak_mb / before.peak_mb:.2f} x for {one.rows / before.rows:.0f} x rows" if before else ""
    cells = (
        f"{one.rows:,}",
        f"{one.stored_mb:.0f} MB",
        f"{one.peak_mb:.0f} MB",
        growth,
        f"{one.wall_s:.0f}",
        one.verdict,
    )
    return f"| {' | '.join(cells)} |"
