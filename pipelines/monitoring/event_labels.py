"""Predictions beside their ground truth, as the event store's files say it.

A row is *mature* when its prediction is older than the cut, measured from the watermark (the newest label's arrival);
a label counts when it came within the cut after its prediction. The first label of a row wins. Asks and aggregates in
DuckDB; what follows from the figures is :mod:`.accuracy`'s and the decisions' matter.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from mlflow_deploy_plugin.errors import EventStoreError
from mlflow_deploy_plugin.spec.events import FEATURE_PREFIX, Table
from pipelines.monitoring import label_queries as sql
from pipelines.monitoring.event_queries import POPULATIONS
from pipelines.monitoring.event_scans import Scan, Scanner, identifier, moment_literal, quoted
from pipelines.monitoring.event_summaries import (
    ArmLabels,
    Bin,
    Kinds,
    Labels,
    Oddities,
    Outcomes,
    Rows,
    Scored,
    UserLabels,
    Window,
)

if TYPE_CHECKING:
    import pyarrow as pa

CLOCK_SKEW: Final = timedelta(hours=1)
"""A label may seem to precede its prediction by this much, and an event to lie ahead, since two clocks wrote them."""

FEED_REACH: Final = timedelta(days=90)
"""How far before a window the newest label is looked for, where none came since: its feed may stand still."""

ROWS_OF_A_SLICE: Final = 12_500_000
"""Predictions whose distinct ones are counted at once."""
BINS: Final = 10
"""Points of a calibration curve."""
FEW: Final = 20
"""Numbers and moments with more distinct values than this are cut into quarters."""
_NUMBERS: Final = (
    *("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "FLOAT", "DOUBLE", "DECIMAL"),
    *("UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "UHUGEINT"),
)
_MOMENTS: Final = ("TIMESTAMP", "DATE")
"""How DuckDB's types begin."""


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
    """Feature whose values are looked at apart; numbers and moments with many values in quarters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UserChoice:
    """Whose labels are told user by user."""

    arms: Sequence[str]
    """Deployments; a user belongs to the one that was the first of any to predict for them."""
    splits: Sequence[datetime] | None = None
    """Period 0 ends at the first of them, and each begins another; None: no period is known."""
    past: Window | None = None
    """Where each user's own labels of before are looked up, as far as they had come by its end; None: nobody asks."""
    limit: int
    """Users that are told one by one; more are added up."""


class LabelReader:
    """Questions about labels, over one scanner. Each answers once; callers run them by ``Scanner.steady``.

    What questions have in common (the labelled predictions of a window, each once) is a table of the scanner's, made
    anew when the window, the cut or a file is another.
    """

    def __init__(self, scanner: Scanner) -> None:
        self._scanner = scanner
        self._laid: tuple[object, ...] = ()
        self._slices = 0  # of the predictions of what is laid; 0: they were not counted yet

    def coverage(
        self, window: Window, cut: LabelCut, splits: Sequence[datetime] = ()
    ) -> tuple[Mapping[str, ArmLabels], ...]:
        """Coverage and correctness of every arm: before the first of ``splits``, then from each to the next."""
        return self._coverage(window, cut, splits)[0]

    def oddities(self, window: Window, cut: LabelCut) -> Oddities:
        """What is odd about the labels."""
        reach = window.widened(begin=window.begin - (cut.maturity or window.end - window.begin), end=cut.as_of)
        known, labels = self._scan("predictions", reach), self._scan("labels", window)
        self._scanner.keep("copies", sql.COPIES.format(labels=labels.source))
        parts = {"predictions": known.source, "arrivals": self._arrivals(window, labels, end=window.end)}
        (odd,) = self._scanner.rows(sql.STRAY.format(**parts))
        newest = odd.pop("newest")
        return Oddities(
            **{name: int(number) for name, number in odd.items()},
            newest=None if newest is None else datetime.fromtimestamp(newest, tz=UTC),
            since=reach.begin,
            unreadable=tuple(dict.fromkeys((*labels.unreadable, *known.unreadable))),
        )

    def labels(self, window: Window, cut: LabelCut) -> Labels:
        """Coverage and correctness of every arm, and what is odd about the labels."""
        (arms,), unreadable = self._coverage(window, cut, ())
        odd = self.oddities(window, cut)
        return Labels(arms=arms, odd=odd, unreadable=tuple(dict.fromkeys((*unreadable, *odd.unreadable))))

    def outcomes(
        self, window: Window, cut: LabelCut, *, arms: Sequence[str], splits: Sequence[datetime]
    ) -> tuple[Outcomes, ...]:
        """Users of each arm by their first labelled prediction, before the first of ``splits`` and after each."""
        self._lay(window, cut)
        query = sql.OUTCOMES.format(period=_period(splits))
        return tuple(Outcomes(**row) for row in self._scanner.rows(query, {"arms": list(arms)}))

    def users(self, window: Window, cut: LabelCut, choice: UserChoice) -> UserLabels:
        """Every user of the arms, from all of their mature labels that are numbers."""
        unread: tuple[str, ...] = ()
        if choice.past is not None:
            _, unread = self._lay(choice.past, LabelCut(as_of=choice.past.end))
        self._scanner.keep("past", sql.NO_PAST if choice.past is None else sql.PAST)
        _, unreadable = self._lay(window, cut)
        query = sql.USER_LABELS.format(period="NULL" if choice.splits is None else _period(choice.splits))
        self._scanner.keep("people", query, {"arms": list(choice.arms)})
        (counted,) = self._scanner.rows("SELECT count(*) AS users FROM people")
        is_by_user = counted["users"] <= choice.limit
        frame = self._scanner.frame("FROM people" if is_by_user else sql.USER_SUMS)
        for name in ("past", "people"):
            self._scanner.drop(name)
        return UserLabels(
            frame=frame,
            users=counted["users"],
            is_by_user=is_by_user,
            unreadable=tuple(dict.fromkeys((*unreadable, *unread))),
        )

    def inputs(self, window: Window, cut: LabelCut, *, deployment: str, limit: int) -> Rows:
        """The first labelled row of each user of ``deployment``: :data:`~.label_queries.SAID`, then the features."""
        own = self._scanner.scan("predictions", window.span, deployment=deployment)
        names = [name for name in own.columns if name.startswith(FEATURE_PREFIX)]
        parts, unreadable = self._lay(window, cut)
        columns = ", ".join(["1 AS nothing", *map(identifier, names)])
        query = sql.LABELLED_INPUTS.format(**{**parts, "predictions": own.source}, columns=columns)
        frame = self._scanner.frame(query, {"deployment": deployment, "limit": limit}).drop(columns="nothing")
        features = [name.removeprefix(FEATURE_PREFIX) for name in names]
        return Rows(frame=frame.set_axis([*sql.SAID, *features], axis="columns"), unreadable=unreadable)

    def kinds(self, window: Window, cut: LabelCut) -> Kinds:
        """What predictions and labels look like."""
        self._lay(window, cut)
        (row,) = self._scanner.rows(sql.KINDS)
        return Kinds(**row)

    def scored(self, window: Window, cut: LabelCut, choice: ScoreChoice) -> tuple[Scored, ...]:
        """Predictions beside labels by deployment, stretch of time and segment."""
        parts, _ = self._lay(window, cut, segment=self._segment(window, choice.segment))
        given = {"maturity": cut.maturity, "every": choice.every.total_seconds()}
        logged = self._added(sql.LOGGED_BY_TIME, parts, given, by=("arm", "began", "segment"))
        found = {_key(row, ("arm", "began", "segment")): row for row in self._scanner.rows(sql.SCORED, given)}
        names = self._names(parts)
        rows = (
            Scored(
                deployment=names[key[0]], began=key[1], segment=key[2], **{**_UNSCORED, **found.get(key, {}), **sums}
            )
            for key, sums in logged.items()
        )
        return tuple(sorted(rows, key=lambda row: (row.deployment, row.began, row.segment or "")))

    def bins(self, window: Window, cut: LabelCut, choice: ScoreChoice) -> tuple[Bin, ...]:
        """Points of the calibration curve by deployment, stretch of time and segment."""
        self._lay(window, cut, segment=self._segment(window, choice.segment))
        given = {"bins": BINS, "every": choice.every.total_seconds()}
        return tuple(Bin(**row) for row in self._scanner.rows(sql.BINS, given))

    def news(self, table: "pa.Table", window: Window) -> tuple["pa.Table", int]:
        """Labels of ``table`` that the store does not hold, each once, and how many rows no prediction is known for."""
        import pyarrow as pa  # noqa: PLC0415  heavy

        labels, predictions = self._scan("labels", window), self._scan("predictions", window)
        with self._scanner.holding("incoming", table.append_column("place", [list(range(len(table)))])):
            places = [row["place"] for row in self._scanner.rows(sql.NEWS.format(labels=labels.source))]
            (odd,) = self._scanner.rows(sql.STRANGERS.format(predictions=predictions.source))
        return table.take(pa.array(places, pa.int64())), odd["strangers"]

    def _coverage(
        self, window: Window, cut: LabelCut, splits: Sequence[datetime]
    ) -> tuple[tuple[Mapping[str, ArmLabels], ...], tuple[str, ...]]:
        parts, unreadable = self._lay(window, cut)
        by, given, names = ("arm", "period"), {"maturity": cut.maturity}, self._names(parts)
        timed = {**parts, "period": _period(splits)}
        labelled = self._scanner.rows(sql.USERS_LABELLED.format(**timed))
        found = [
            self._added(sql.LOGGED_BY_PERIOD, timed, given, by=by),
            self._added(sql.USERS_MATURE, timed, given, by=by),
            {_key(row, by): row for row in labelled},
        ]
        spans: tuple[dict[str, ArmLabels], ...] = tuple({} for _ in range(len(splits) + 1))
        for arm, period in sorted(found[0], key=lambda key: names[key[0]]):
            counts = {name: count for part in found for name, count in part.get((arm, period), {}).items()}
            spans[period][names[arm]] = ArmLabels(**counts)
        return spans, unreadable

    def _added(
        self, question: str, parts: Mapping[str, str], given: Mapping[str, Any], *, by: tuple[str, ...]
    ) -> dict[tuple[Any, ...], dict[str, int]]:
        """What all slices of the predictions answer to ``question``, added up for each ``by``."""
        if not self._slices:
            (counted,) = self._scanner.rows(sql.SIZE.format(**parts))
            self._slices = max(1, -(-counted["size"] // ROWS_OF_A_SLICE))
        slices = self._slices
        sums: dict[tuple[Any, ...], dict[str, int]] = {}
        for number in range(slices):
            for row in self._scanner.rows(question.format(**parts, slices=slices, number=number), given):
                held = sums.setdefault(_key(row, by), dict.fromkeys(row, 0))
                for name, count in row.items():
                    held[name] += count
        return sums

    def _names(self, parts: Mapping[str, str]) -> dict[int, str]:
        """Deployments by their hash."""
        return {row["arm"]: row["deployment"] for row in self._scanner.rows(sql.ARMS.format(**parts))}

    def _lay(
        self, window: Window, cut: LabelCut, *, segment: str = sql.NO_SEGMENT
    ) -> tuple[Mapping[str, str], tuple[str, ...]]:
        """Make the tables of the labelled predictions of ``window``, unless they lie there; the parts of queries."""
        predictions = self._scan("predictions", window)
        labels = self._scan("labels", window.widened(begin=window.begin - CLOCK_SKEW, end=cut.as_of))
        parts = {
            "predictions": predictions.source,
            "labels": labels.source,
            "arrivals": labels.source if cut.maturity is None else self._arrivals(window, labels, end=cut.as_of),
            "population": POPULATIONS[window.population],
            "segment": segment,
            "first_segment": segment if segment == sql.NO_SEGMENT else sql.FIRST_SEGMENT,
        }
        wanted = (tuple(parts.values()), cut)
        if self._laid != wanted:
            self._laid, self._slices = (), 0
            for name in sql.STEPS:
                self._scanner.drop(name)  # before the next is made: two of them would not fit
            for name, query in sql.STEPS.items():
                self._scanner.keep(name, query.format(**parts), cut.given)
            self._scanner.drop("matched")
            self._laid = wanted
        return parts, predictions.unreadable + labels.unreadable

    def _arrivals(self, window: Window, labels: Scan, *, end: datetime) -> str:
        """Labels among which the newest is: those of the window, or of the time before where it has none."""
        if self._scanner.rows(sql.ANY.format(labels=labels.source)):
            return labels.source
        return self._scan("labels", replace(window, begin=window.begin - FEED_REACH, end=end)).source

    def _segment(self, window: Window, name: str | None) -> str:
        """The segment of a row as SQL: a feature's value, or the quarter that it lies in."""
        if name is None:
            return sql.NO_SEGMENT
        scan = self._scan("predictions", window)
        kind, feature = scan.columns.get(FEATURE_PREFIX + name), identifier(FEATURE_PREFIX + name)
        if kind is None:
            known = ", ".join(c.removeprefix(FEATURE_PREFIX) for c in scan.columns if c.startswith(FEATURE_PREFIX))
            raise EventStoreError(
                f"feature {name!r} is in no logged prediction of endpoint {window.endpoint!r}; known: {known or 'none'}"
            )
        text = f"coalesce(CAST({feature} AS VARCHAR), 'missing')"
        is_moment = kind.startswith(_MOMENTS)
        if kind.endswith("[]") or not (is_moment or kind.startswith(_NUMBERS)):
            return text
        number = f"epoch({feature})" if is_moment else f"CAST({feature} AS DOUBLE)"
        asked = sql.QUARTILES.format(number=number, predictions=scan.source, population=POPULATIONS[window.population])
        (row,) = self._scanner.rows(asked)
        if not row["edges"] or row["kinds"] <= FEW:
            return text
        return _quarter(number, row["edges"], name=_moment_name if is_moment else _number_name)

    def _scan(self, table: Table, window: Window) -> Scan:
        return self._scanner.scan(table, window.span)


_UNSCORED: Final[Mapping[str, Any]] = {
    "labelled": 0, "wrong": 0, "unlike": 0, "wrong_half": 0,
    "measured": 0, "absolute": None, "root_mean_square": None, "bias": None,
}  # fmt: skip


def _key(row: dict[str, Any], by: tuple[str, ...]) -> tuple[Any, ...]:
    """Take the values of ``by`` out of a row."""
    return tuple(row.pop(name) for name in by)


def _period(splits: Sequence[datetime]) -> str:
    """Which stretch of time a row lies in, as SQL: 0 before the first of ``splits``.

    >>> _period([])
    '0'
    """
    return " + ".join(["0", *(f"(time >= {moment_literal(split)})::INTEGER" for split in splits)])


def _number_name(edge: float) -> str:
    return f"{edge:.4g}"


def _moment_name(edge: float) -> str:
    return f"{datetime.fromtimestamp(edge, tz=UTC):%Y-%m-%d %H:%M}"


def _quarter(number: str, edges: list[float], *, name: Callable[[float], str] = _number_name) -> str:
    """Which quarter a number lies in, in words that sort.

    >>> _quarter("x", [1.0, 2.0, 3.0])[:42]
    "CASE WHEN x IS NULL OR isnan(x) THEN 'miss"
    """
    low, middle, high = map(name, edges)
    names = [f"1: to {low}", f"2: to {middle}", f"3: to {high}", f"4: above {high}"]
    cases = " ".join(
        f"WHEN {number} <= {quoted(repr(edge))}::DOUBLE THEN {quoted(name)}"
        for edge, name in zip(edges, names, strict=False)
    )
    return f"CASE WHEN {number} IS NULL OR isnan({number}) THEN 'missing' {cases} ELSE {quoted(names[-1])} END"
