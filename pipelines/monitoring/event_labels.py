"""Predictions beside their ground truth, as the event store's files say it.

A row is *mature* when its prediction is older than the cut, measured from the watermark (the newest label's arrival);
a label counts when it came within the cut after its prediction. The first label of a row wins. Asks and aggregates in
DuckDB; what follows from the figures is :mod:`.accuracy`'s and the decisions' matter.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from mlflow_deploy_plugin.errors import EventStoreError
from mlflow_deploy_plugin.spec.events import FEATURE_PREFIX, Table
from pipelines.monitoring import event_queries as sql
from pipelines.monitoring.event_scans import Scan, Scanner, identifier, quoted
from pipelines.monitoring.event_summaries import ArmLabels, Bin, Kinds, Labels, Rows, Scored, Window

if TYPE_CHECKING:
    import pyarrow as pa

CLOCK_SKEW: Final = timedelta(hours=1)
"""A label may seem to precede its prediction by this much, since two machines' clocks wrote them."""

NO_SEGMENT: Final = "NULL::VARCHAR"
BINS: Final = 10
"""Points of a calibration curve."""
FEW: Final = 20
"""Numbers with more distinct values than this are cut into quarters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelCut:
    """Which labels count."""

    as_of: datetime
    """Labels that had come by then."""
    maturity: timedelta | None = None
    """How long after its prediction a label may come; None: no cut."""

    @property
    def given(self) -> dict[str, Any]:
        """Parameters of the queries."""
        return {"as_of": self.as_of, "maturity": self.maturity}


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreChoice:
    """How scored rows are grouped."""

    every: timedelta = timedelta(days=1)
    """Length of one stretch of time; they begin at whole multiples since 1970, UTC."""
    segment: str | None = None
    """Feature whose values are looked at apart; numbers with many values in quarters."""


class LabelReader:
    """Questions about labels, over one scanner. Each answers once; callers run them by ``Scanner.steady``."""

    def __init__(self, scanner: Scanner) -> None:
        self._scanner = scanner

    def coverage(self, window: Window, cut: LabelCut) -> Mapping[str, ArmLabels]:
        """Coverage and correctness of every arm."""
        return self._coverage(window, cut)[0]

    def labels(self, window: Window, cut: LabelCut) -> Labels:
        """The same, and what is odd about the labels."""
        arms, unreadable = self._coverage(window, cut)
        reach = window.widened(begin=window.begin - (cut.maturity or window.end - window.begin), end=cut.as_of)
        known = self._scan("predictions", reach)
        labels = self._scan("labels", window)
        (odd,) = self._scanner.rows(sql.STRAY.format(labels=labels.source, predictions=known.source))
        newest = odd.pop("newest")
        return Labels(
            arms=arms,
            **{name: int(number) for name, number in odd.items()},
            newest=None if newest is None else datetime.fromtimestamp(newest, tz=UTC),
            unreadable=tuple(dict.fromkeys((*unreadable, *known.unreadable))),
        )

    def labelled(self, window: Window, cut: LabelCut, given: Mapping[str, Any]) -> Rows:
        """Mature rows with their label."""
        query, unreadable = self._joined(sql.LABELLED, window, cut)
        return Rows(frame=self._scanner.fetch(query, {**given, **cut.given}).df(), unreadable=unreadable)

    def inputs(self, window: Window, cut: LabelCut, *, deployment: str, limit: int) -> Rows:
        """The first labelled row of each user of ``deployment``: prediction, label, then the features."""
        names = [name for name in self._scan("predictions", window).columns if name.startswith(FEATURE_PREFIX)]
        columns = ", ".join(f"{identifier(n)} AS {identifier(n.removeprefix(FEATURE_PREFIX))}" for n in names)
        escaped = (columns or "1 AS nothing").replace("{", "{{").replace("}", "}}")
        query, unreadable = self._joined(sql.LABELLED_INPUTS.replace("{columns}", escaped), window, cut)
        given = {**cut.given, "deployment": deployment, "limit": limit}
        return Rows(frame=self._scanner.fetch(query, given).df(), unreadable=unreadable)

    def kinds(self, window: Window, cut: LabelCut) -> Kinds:
        """What predictions and labels look like."""
        query, _ = self._joined(sql.KINDS, window, cut)
        (row,) = self._scanner.rows(query, cut.given)
        return Kinds(**row)

    def scored(self, window: Window, cut: LabelCut, choice: ScoreChoice) -> tuple[Scored, ...]:
        """Predictions beside labels by deployment, stretch of time and segment."""
        query, _ = self._joined(sql.SCORED, window, cut, segment=self._segment(window, choice.segment))
        return tuple(
            Scored(**row) for row in self._scanner.rows(query, {**cut.given, "every": choice.every.total_seconds()})
        )

    def bins(self, window: Window, cut: LabelCut, choice: ScoreChoice) -> tuple[Bin, ...]:
        """Points of the calibration curve by deployment, stretch of time and segment."""
        query, _ = self._joined(sql.BINS, window, cut, segment=self._segment(window, choice.segment))
        given = {**cut.given, "bins": BINS, "every": choice.every.total_seconds()}
        return tuple(Bin(**row) for row in self._scanner.rows(query, given))

    def news(self, table: "pa.Table", window: Window) -> tuple["pa.Table", int]:
        """Labels of ``table`` that the store does not hold, each once, and how many rows no prediction is known for."""
        import pyarrow as pa  # noqa: PLC0415  heavy

        labels, predictions = self._scan("labels", window), self._scan("predictions", window)
        with self._scanner.holding("incoming", table.append_column("place", [list(range(len(table)))])):
            places = [row["place"] for row in self._scanner.rows(sql.NEWS.format(labels=labels.source))]
            (odd,) = self._scanner.rows(sql.STRANGERS.format(predictions=predictions.source))
        return table.take(pa.array(places, pa.int64())), odd["strangers"]

    def _coverage(self, window: Window, cut: LabelCut) -> tuple[Mapping[str, ArmLabels], tuple[str, ...]]:
        query, unreadable = self._joined(sql.COVERAGE, window, cut)
        rows = self._scanner.rows(query, cut.given)
        return {row.pop("deployment"): ArmLabels(**row) for row in rows}, unreadable

    def _joined(
        self, template: str, window: Window, cut: LabelCut, *, segment: str = NO_SEGMENT
    ) -> tuple[str, tuple[str, ...]]:
        """The template over predictions of the window and labels from its begin until the cut."""
        predictions = self._scan("predictions", window)
        labels = self._scan("labels", window.widened(begin=window.begin - CLOCK_SKEW, end=cut.as_of))
        query = template.format(
            predictions=predictions.source,
            labels=labels.source,
            population=sql.POPULATIONS[window.population],
            segment=segment,
        )
        return query, predictions.unreadable + labels.unreadable

    def _segment(self, window: Window, name: str | None) -> str:
        """The segment of a row as SQL: a feature's value, or the quarter that it lies in."""
        if name is None:
            return NO_SEGMENT
        scan = self._scan("predictions", window)
        kind, feature = scan.columns.get(FEATURE_PREFIX + name), identifier(FEATURE_PREFIX + name)
        if kind is None:
            known = ", ".join(c.removeprefix(FEATURE_PREFIX) for c in scan.columns if c.startswith(FEATURE_PREFIX))
            raise EventStoreError(
                f"feature {name!r} is in no logged prediction of endpoint {window.endpoint!r}; known: {known or 'none'}"
            )
        text = f"coalesce(CAST({feature} AS VARCHAR), 'missing')"
        if kind in {"VARCHAR", "BOOLEAN", "BLOB"} or kind.endswith("[]"):
            return text
        asked = sql.QUARTILES.format(
            feature=feature, predictions=scan.source, population=sql.POPULATIONS[window.population]
        )
        (row,) = self._scanner.rows(asked)
        return text if not row["edges"] or row["kinds"] <= FEW else _quarter(feature, row["edges"])

    def _scan(self, table: Table, window: Window) -> Scan:
        return self._scanner.scan(table, window.span)


def _quarter(feature: str, edges: list[float]) -> str:
    """Which quarter a number lies in, in words that sort.

    >>> _quarter("x", [1.0, 2.0, 3.0])[:42]
    "CASE WHEN x IS NULL THEN 'missing' WHEN x "
    """
    low, middle, high = (f"{edge:.4g}" for edge in edges)
    names = [f"1: to {low}", f"2: to {middle}", f"3: to {high}", f"4: above {high}"]
    cases = " ".join(
        f"WHEN {feature} <= {edge!r} THEN {quoted(name)}" for edge, name in zip(edges, names, strict=False)
    )
    return f"CASE WHEN {feature} IS NULL THEN 'missing' {cases} ELSE {quoted(names[-1])} END"
