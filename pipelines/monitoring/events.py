"""The event store as decisions read it: users, latencies, features and labels by arm, through DuckDB.

Reads ``attempts`` ⋈ ``predictions`` ⋈ ``labels`` (``mlflow_deploy_plugin.spec.events``) of one endpoint and one window
of time. Aggregates are computed in DuckDB within ``memory_mb`` (more spills to a temporary folder); rows reach Python
only where they are asked for, and never more than ``limit``. Decides nothing and judges nothing.

- Files that cannot be read are left out and named in every answer (``unreadable``): a hole in the evidence is told.
- A feature that files hold as different kinds of value (numbers, lists) is that of most rows, and missing in the others
  (:mod:`.event_types`).
- A file that compaction removes under a running query makes the query run again on a new listing.
- Labels: a row is *mature* when its prediction is older than the cut, measured from the newest label's arrival; a
  label counts when it came within the cut after its prediction. So what is once mature never changes, on whatever day
  it is looked at, and both arms are cut alike. The first label of a row wins; duplicates, contradictions and labels of
  unknown requests are counted (:mod:`.event_labels`).
- The unit is the user (the request, where no user was given); a user belongs to the arm that was assigned first.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, Self

from mlflow_deploy_plugin.errors import EventStoreError
from mlflow_deploy_plugin.spec.events import FEATURE_PREFIX, Table
from pipelines.monitoring import event_queries as sql
from pipelines.monitoring.event_labels import LabelCut, LabelReader, ScoreChoice, UserChoice
from pipelines.monitoring.event_scans import Scan, Scanner, identifier, quoted
from pipelines.monitoring.event_summaries import (
    ArmExposure,
    ArmLabels,
    Bin,
    Exposure,
    ExposurePeriod,
    Kinds,
    Labels,
    LatencySample,
    Oddities,
    Outcomes,
    Rows,
    Scored,
    ShadowSample,
    UserLabels,
    Window,
)

if TYPE_CHECKING:
    from types import TracebackType

    import pandas as pd
    import pyarrow as pa

Order = Literal["newest", "sample"]

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
MOST_ROWS: Final = 2**62
"""DuckDB's limits are whole numbers of 64 bits."""
LARGEST_HASH: Final = 2**64 - 1
MARGIN: Final = 2.0
"""Users that are looked at for each that is wanted: their number is an estimate, and not all of them qualify."""
_CONTEXT: Final = ("deployment", "time", "status", "prediction", "prediction_text")


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureChoice:
    """Which logged inputs are read."""

    deployment: str | None = None
    """Of this one alone; None: of all."""
    columns: Sequence[str] | None = None
    """Features to read; None: all that any file has."""
    limit: int = 100_000
    """Rows at most."""
    order: Order = "newest"
    """Which rows the limit keeps: the newest, or a sample that is the same on every tick."""
    is_one_per_user: bool = False
    """The first row of each user's first request alone, for tests that assume independent rows."""


class EventStore:
    """A reader of the store at ``place``, a folder or a URL. Holds a DuckDB connection: use it in a ``with`` block.

    ::

        with EventStore(home.events) as store:
            exposure = store.exposure(window)
            frame = store.features(window, FeatureChoice(deployment="churn-v4", limit=5000)).frame
    """

    def __init__(self, place: str | Path, *, memory_mb: int = 512, threads: int = 2) -> None:
        self.scanner: Final = Scanner(place, memory_mb=memory_mb, threads=threads)
        """For queries of one's own: ``scanner.steady(lambda: scanner.rows(...scanner.scan(...)...))``."""
        self._reader: Final = LabelReader(self.scanner)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: "TracebackType | None"
    ) -> None:
        self.scanner.close()

    def exposure(self, window: Window) -> Exposure:
        """Users of every arm that was anybody's first."""
        return self.scanner.steady(lambda: self._exposure(window))

    def latencies(self, window: Window, *, arms: Sequence[str], limit: int = 200_000) -> LatencySample:
        """One latency per user of ``arms``; beyond ``limit`` users of them together a fixed sample of all."""
        return self.scanner.steady(lambda: self._latencies(window, arms, limit))

    def shadowed(self, window: Window, *, shadow: str, tolerance: float, limit: int = 200_000) -> ShadowSample:
        """One pair of predictions per user of ``window``; beyond ``limit`` users a fixed sample of them.

        Two numbers that differ by ``tolerance`` or less agree.
        """
        return self.scanner.steady(lambda: self._shadowed(window, shadow, tolerance, limit))

    def coverage(
        self, window: Window, cut: LabelCut, splits: Sequence[datetime] = ()
    ) -> tuple[Mapping[str, ArmLabels], ...]:
        """Coverage and correctness of every arm: before the first of ``splits``, then from each to the next."""
        return self.scanner.steady(lambda: self._reader.coverage(window, cut, splits))

    def oddities(self, window: Window, cut: LabelCut) -> Oddities:
        """What is odd about the labels."""
        return self.scanner.steady(lambda: self._reader.oddities(window, cut))

    def outcomes(
        self, window: Window, cut: LabelCut, *, arms: Sequence[str], splits: Sequence[datetime] = ()
    ) -> tuple[Outcomes, ...]:
        """Every user of ``arms`` by their first labelled prediction: before the first of ``splits`` and after each."""
        return self.scanner.steady(lambda: self._reader.outcomes(window, cut, arms=arms, splits=splits))

    def labels(self, window: Window, cut: LabelCut) -> Labels:
        """Coverage and correctness of every arm, and what is odd about the labels."""
        return self.scanner.steady(lambda: self._reader.labels(window, cut))

    def user_labels(self, window: Window, cut: LabelCut, choice: UserChoice) -> UserLabels:
        """Every user of the chosen arms by all of their labels that are numbers; aggregated in DuckDB."""
        return self.scanner.steady(lambda: self._reader.users(window, cut, choice))

    def labelled_inputs(self, window: Window, cut: LabelCut, *, deployment: str, limit: int) -> Rows:
        """The first labelled row of each user of ``deployment``, oldest users first, with its features.

        Columns: prediction, prediction_text, label, label_text, then every feature by its own name, which may be one
        of these four: then the place tells them apart.
        """
        return self.scanner.steady(lambda: self._reader.inputs(window, cut, deployment=deployment, limit=limit))

    def kinds(self, window: Window, cut: LabelCut) -> Kinds:
        """What predictions and labels look like: text, classes, probabilities or numbers."""
        return self.scanner.steady(lambda: self._reader.kinds(window, cut))

    def scored(self, window: Window, cut: LabelCut, choice: ScoreChoice | None = None) -> tuple[Scored, ...]:
        """Predictions beside labels by deployment, stretch of time and segment; computed in DuckDB.

        Raises:
            EventStoreError: the segment is no logged feature.
        """
        return self.scanner.steady(lambda: self._reader.scored(window, cut, choice or ScoreChoice()))

    def bins(self, window: Window, cut: LabelCut, choice: ScoreChoice | None = None) -> tuple[Bin, ...]:
        """Points of the calibration curve by deployment, stretch of time and segment."""
        return self.scanner.steady(lambda: self._reader.bins(window, cut, choice or ScoreChoice()))

    def news(self, table: "pa.Table", window: Window) -> tuple["pa.Table", int]:
        """Labels of ``table`` that the window does not hold, and how many of its rows no prediction is known for."""
        return self.scanner.steady(lambda: self._reader.news(table, window))

    def features(self, window: Window, choice: FeatureChoice | None = None) -> Rows:
        """Logged inputs by their own names, after deployment, time, status, prediction and prediction_text.

        A feature may have the name of one of these five: then the place tells them apart.

        Raises:
            EventStoreError: a chosen column is in none of the window's files.
        """
        return self.scanner.steady(lambda: self._features(window, choice or FeatureChoice()))

    def newest_since(self, window: Window, count: int) -> datetime | None:
        """When the oldest of the newest ``count`` predictions was made; None where there is none."""
        return self.scanner.steady(lambda: self._newest_since(window, count))

    def _newest_since(self, window: Window, count: int) -> datetime | None:
        scan = self._scan("predictions", window)
        asked = sql.NEWEST_SINCE.format(predictions=scan.source, chosen=sql.POPULATIONS[window.population])
        (row,) = self.scanner.rows(asked, {"limit": min(count, MOST_ROWS)})
        return None if row["began"] is None else EPOCH + timedelta(microseconds=row["began"])

    def _exposure(self, window: Window) -> Exposure:
        scan = self._scan("attempts", window)
        periods: defaultdict[str, list[ExposurePeriod]] = defaultdict(list)
        self.scanner.keep("assigned", sql.ASSIGNED.format(attempts=scan.source))
        for row in self.scanner.rows(sql.USERS.format(attempts=scan.source)):
            began = datetime.fromtimestamp(row.pop("began"), tz=UTC)  # DuckDB's own conversion asks for pytz
            periods[row.pop("arm")].append(ExposurePeriod(began=began, **row))
        arms = {arm: ArmExposure(periods=tuple(found)) for arm, found in sorted(periods.items())}
        return Exposure(arms=arms, unreadable=scan.unreadable)

    def _shadowed(self, window: Window, shadow: str, tolerance: float, limit: int) -> ShadowSample:
        scan = self._scan("predictions", window)
        given = {"shadow": shadow, "tolerance": tolerance, "limit": limit}
        (counted,) = self.scanner.rows(sql.COPIES.format(predictions=scan.source), given)

        def read(edge: int) -> "pd.DataFrame":
            return self.scanner.frame(sql.SHADOWED.format(predictions=scan.source, edge=edge), given)

        pairs = self._of_users(scan, "true", read, limit=limit)
        return ShadowSample(pairs=pairs, unreadable=scan.unreadable, **counted)

    def _latencies(self, window: Window, arms: Sequence[str], limit: int) -> LatencySample:
        scan = self._scan("attempts", window)
        given = {"arms": list(arms), "limit": limit}

        def read(edge: int) -> "pd.DataFrame":
            return self.scanner.frame(sql.LATENCIES.format(attempts=scan.source, edge=edge), given)

        found = self._of_users(scan, "assigned <> ''", read, limit=limit)
        return LatencySample(
            arm=found["arm"].to_numpy(dtype="object"),
            commit=found["commit"].to_numpy(dtype="object"),
            values_ms=found["latency_ms"].to_numpy(dtype="float64"),
            seen=found["seen"].to_numpy(dtype="float64"),
            unreadable=scan.unreadable,
        )

    def _features(self, window: Window, choice: FeatureChoice) -> Rows:
        scan = self.scanner.scan("predictions", window.span, deployment=choice.deployment or "")
        chosen = sql.POPULATIONS[window.population]
        if choice.deployment is not None:
            chosen += f" AND deployment = {quoted(choice.deployment)}"  # a literal, so that other files are not opened
        own = frozenset(scan.columns)
        if choice.deployment is not None and choice.columns is None:
            own = self.scanner.own_columns(scan, choice.deployment)
        named = _selected([name for name in scan.columns if name in own], choice, window)
        parts = {
            "columns": ", ".join([*_CONTEXT, *map(identifier, named.values())]),
            "predictions": scan.source,
            "chosen": chosen,
            "order": sql.ORDERS[choice.order],
        }
        template = sql.FEATURES_OF_USERS if choice.is_one_per_user else sql.FEATURES

        def read(edge: int) -> "pd.DataFrame":
            return self.scanner.frame(template.format(**parts, edge=edge), {"limit": choice.limit})

        is_sample = choice.is_one_per_user and choice.order == "sample"
        frame = self._of_users(scan, chosen, read, limit=choice.limit) if is_sample else read(LARGEST_HASH)
        return Rows(frame=frame.set_axis([*_CONTEXT, *named], axis="columns"), unreadable=scan.unreadable)

    def _of_users(
        self, scan: Scan, chosen: str, read: "Callable[[int], pd.DataFrame]", *, limit: int
    ) -> "pd.DataFrame":
        """What ``read`` finds of the users with the smallest hashes: as many as ``limit``, or all there are."""
        (counted,) = self.scanner.rows(sql.UNITS.format(rows=scan.source, chosen=chosen))
        edge = LARGEST_HASH
        if counted["units"] > MARGIN * limit:
            edge = int(LARGEST_HASH * (MARGIN * limit / counted["units"]))
        while len(found := read(edge)) < limit and edge < LARGEST_HASH:
            edge = min(LARGEST_HASH, 4 * edge)
        return found

    def _scan(self, table: Table, window: Window) -> Scan:
        return self.scanner.scan(table, window.span)


def _selected(columns: Sequence[str], choice: FeatureChoice, window: Window) -> dict[str, str]:
    """Columns of the log by the names of their features."""
    named = {name.removeprefix(FEATURE_PREFIX): name for name in columns if name.startswith(FEATURE_PREFIX)}
    wanted = named if choice.columns is None else choice.columns
    if missing := [name for name in wanted if name not in named]:
        raise EventStoreError(
            f"feature {missing[0]!r} is in no logged prediction of endpoint {window.endpoint!r} from {window.begin} to"
            f" {window.end}; known: {', '.join(named) or 'none: -C log=full keeps them'}"
        )
    return {name: named[name] for name in wanted}
