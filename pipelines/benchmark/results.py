"""What was measured, and what follows: medians over turns, ratios within a turn, spreads. Pure."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from statistics import median, quantiles
from typing import Any, Final, Self

from mlflow_deploy_plugin.errors import ConfigError

EMPTY: Final = "empty"
BASE: Final = "modelserve"
LAYERS: Final = ("uncompiled", "gateway", "bentoml-serve", "log-predictions", "log-full", "log-converted")
"""Subjects that are :data:`BASE` and a layer more, or less."""
FORMAT_VERSION: Final = 2
_THOUSAND: Final = 1000


def references(subject: str) -> tuple[str, ...]:
    """What a subject is told against, and so is loaded in turn with.

    >>> references("log-full"), references("modelserve"), references("empty")
    (('empty', 'modelserve'), ('empty',), ())
    """
    if subject == EMPTY:
        return ()
    return (EMPTY, BASE) if subject in LAYERS else (EMPTY,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """Where a figure belongs."""

    work: str
    format: str
    connections: int
    subject: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """When it was measured. What shares a turn was loaded one right after the other, so ratios are of one turn."""

    round: int
    of: str
    """Subject whose measurement it is: the one that was loaded, or one that was told against it."""
    nth: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One load on one server in one turn."""

    cell: Cell
    turn: Turn
    seconds: float
    requests: int
    cpu_s: float
    p50_ms: float
    p99_ms: float
    failed: int
    socket_errors: int
    checked: int
    wrong: int
    foreign_share: float
    """Of the server's core, what others took meanwhile."""

    @property
    def rps(self) -> float:
        """Requests per second."""
        return self.requests / self.seconds

    @property
    def cpu_s_per_1000(self) -> float:
        """Seconds of the server's CPU for 1,000 requests; as a number also the milliseconds of one."""
        return self.cpu_s * _THOUSAND / self.requests


@dataclass(frozen=True, slots=True, kw_only=True)
class Footprint:
    """What one server took in one round beside its requests."""

    work: str
    subject: str
    round: int
    start_s: float
    start_cpu_s: float
    pss_mb: float
    """After its loads; 10⁶ bytes."""
    processes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Absence:
    """A server that was to be measured and was not."""

    work: str
    subject: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One run."""

    began: str
    """ISO 8601, UTC."""
    machine: str
    settings: Mapping[str, Any]
    subjects: Mapping[str, str]
    """Name and what it is, in the order of the tables."""
    versions: Mapping[str, str]
    """Subject and the versions that it ran on."""
    works: Mapping[str, str]
    samples: tuple[Sample, ...] = ()
    footprints: tuple[Footprint, ...] = ()
    absences: tuple[Absence, ...] = ()
    format: int = FORMAT_VERSION

    def to_document(self) -> dict[str, Any]:
        """As JSON's values."""
        return asdict(self)

    @classmethod
    def from_document(cls, document: Any) -> Self:  # noqa: ANN401  any JSON value
        """What :meth:`to_document` wrote.

        Raises:
            ConfigError: it is something else.
        """
        try:
            if document["format"] != FORMAT_VERSION:
                raise ConfigError(f"results of format {document['format']}; this version reads {FORMAT_VERSION}")
            samples = tuple(
                Sample(**{**one, "cell": Cell(**one["cell"]), "turn": Turn(**one["turn"])})
                for one in document["samples"]
            )
            footprints = tuple(Footprint(**one) for one in document["footprints"])
            absences = tuple(Absence(**one) for one in document["absences"])
            lists = {"samples": samples, "footprints": footprints, "absences": absences}
            return cls(**{**document, **lists})
        except (KeyError, TypeError) as error:
            raise ConfigError(
                f"not the results of a benchmark ({error}); give the results.json of its --out"
            ) from error


def joined(reports: Sequence[Report]) -> Report:
    """Several runs on one machine as one: each run's rounds follow those before, so that turns stay apart.

    Raises:
        ConfigError: they are of different machines.
    """
    first, *others = reports
    whole = first
    for report in others:
        if report.machine != first.machine:
            raise ConfigError(f"results of {report.machine!r} cannot be joined to those of {first.machine!r}")
        whole = _followed(whole, report)
    return whole


def _followed(whole: Report, report: Report) -> Report:
    rounds = 1 + max((sample.turn.round for sample in whole.samples), default=-1)
    connections = {*whole.settings["connections"], *report.settings["connections"]}
    return replace(
        whole,
        settings={**whole.settings, "connections": sorted(connections)},
        subjects={**whole.subjects, **report.subjects},
        versions={**whole.versions, **report.versions},
        works={**whole.works, **report.works},
        samples=(*whole.samples, *(_later(one, rounds) for one in report.samples)),
        footprints=(*whole.footprints, *(replace(one, round=one.round + rounds) for one in report.footprints)),
        absences=(*whole.absences, *report.absences),
    )


def _later(sample: Sample, rounds: int) -> Sample:
    return replace(sample, turn=replace(sample.turn, round=sample.turn.round + rounds))


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """A figure over turns: its median, and the quartiles between which its middle half lies."""

    middle: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Self:
        """Median and quartiles of at least one value.

        >>> Spread.of([3.0, 1.0, 2.0, 9.0, 2.5])
        Spread(middle=2.5, low=2.0, high=3.0)
        """
        known = sorted(values)
        if len(known) == 1:
            return cls(middle=known[0], low=known[0], high=known[0])
        low, middle, high = quantiles(known, n=4, method="inclusive")
        return cls(middle=middle, low=low, high=high)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """One cell over all turns."""

    cell: Cell
    rps: Spread
    p50_ms: Spread
    p99_ms: Spread
    cpu_s_per_1000: Spread
    ratio: Spread | None
    """CPU per request over that of the empty app in the same turn; ``None``: it was not measured."""
    failed: int
    socket_errors: int
    checked: int
    wrong: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """What one more layer costs each request, against another subject in the same turns."""

    cell: Cell
    added_us: Spread
    """Microseconds of CPU."""
    share: float
    """Of the base's CPU per request; the median."""


@dataclass(slots=True)
class _Turns:
    """Samples by cell and turn."""

    by_cell: dict[Cell, dict[Turn, Sample]] = field(default_factory=dict)

    def paired(self, cell: Cell, base: Cell, both: Callable[[float, float], float]) -> list[float]:
        """``both`` of the CPU per request of two cells, for each turn that has them."""
        ours, theirs = self.by_cell.get(cell, {}), self.by_cell.get(base, {})
        common = [turn for turn in ours if turn in theirs]
        return [both(ours[turn].cpu_s_per_1000, theirs[turn].cpu_s_per_1000) for turn in common]


def _turns(report: Report) -> _Turns:
    turns = _Turns()
    for sample in report.samples:
        turns.by_cell.setdefault(sample.cell, {})[sample.turn] = sample
    return turns


def _beside(cell: Cell, subject: str) -> Cell:
    return Cell(work=cell.work, format=cell.format, connections=cell.connections, subject=subject)


def figures(report: Report) -> dict[Cell, Figures]:
    """Every cell that was measured."""
    turns = _turns(report)
    return {cell: _figures(turns, cell, list(samples.values())) for cell, samples in turns.by_cell.items()}


def _figures(turns: _Turns, cell: Cell, samples: list[Sample]) -> Figures:
    ratios = turns.paired(cell, _beside(cell, EMPTY), lambda ours, empty: ours / empty if empty else float("inf"))
    return Figures(
        cell=cell,
        rps=Spread.of(sample.rps for sample in samples),
        p50_ms=Spread.of(sample.p50_ms for sample in samples),
        p99_ms=Spread.of(sample.p99_ms for sample in samples),
        cpu_s_per_1000=Spread.of(sample.cpu_s_per_1000 for sample in samples),
        ratio=Spread.of(ratios) if ratios else None,
        failed=sum(sample.failed for sample in samples),
        socket_errors=sum(sample.socket_errors for sample in samples),
        checked=sum(sample.checked for sample in samples),
        wrong=sum(sample.wrong for sample in samples),
    )


def layers(report: Report) -> list[Layer]:
    """What each of :data:`LAYERS` costs beyond :data:`BASE`, where both were measured."""
    turns = _turns(report)
    found = []
    for subject in LAYERS:
        cells = [cell for cell in turns.by_cell if cell.subject == subject]
        for cell in sorted(cells, key=lambda cell: (cell.work, cell.format, cell.connections)):
            under = _beside(cell, BASE)
            added = turns.paired(cell, under, lambda ours, theirs: (ours - theirs) * _THOUSAND)
            shares = turns.paired(cell, under, lambda ours, theirs: (ours - theirs) / theirs if theirs else 0.0)
            if added:
                found.append(Layer(cell=cell, added_us=Spread.of(added), share=median(shares)))
    return found


def tracked(report: Report) -> list[dict[str, Any]]:
    """The figures in the form ``customSmallerIsBetter`` of benchmark trackers: ratios, and what was not a good answer.

    Seconds of one machine and another are not comparable, so only ratios to the empty app are tracked.
    """
    points = []
    for cell, figure in figures(report).items():
        name = f"{cell.work} {cell.format} c{cell.connections} {cell.subject}"
        if figure.ratio is not None and cell.subject != EMPTY:
            spread = f"± {(figure.ratio.high - figure.ratio.low) / 2:.2f}"
            value = round(figure.ratio.middle, 4)
            points.append(
                {"name": f"{name}: CPU per request", "unit": "times the empty app", "value": value, "range": spread}
            )
        bad = figure.failed + figure.socket_errors + figure.wrong
        points.append({"name": f"{name}: errors and wrong answers", "unit": "requests", "value": bad})
    return points
