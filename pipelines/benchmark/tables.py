"""The results as Markdown, for a terminal, a page of CI and the documents. Pure."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import median
from typing import Final

from pipelines.benchmark.results import BASE, Cell, Figures, Footprint, Layer, Report, Spread, figures, layers
from pipelines.benchmark.soak import Soaked

_QUIET: Final = 0.05
_BUSY: Final = 0.25

_COLUMNS: Final = (
    "server", "rps", "p50 ms", "p99 ms", "CPU-s per 1,000", "times empty", "middle half", "not 200 + lost",
    "wrong of checked", "PSS MB", "processes", "first 200 s (CPU-s)",
)  # fmt: skip


def table(*lines: Sequence[str]) -> str:
    """A table whose first line is its head, padded so that it reads as text too.

    >>> print(table(["a", "bb"], ["ccc", "d"]))
    | a   | bb |
    | --- | -- |
    | ccc | d  |
    """
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    ruled = [lines[0], ["-" * width for width in widths], *lines[1:]]
    return "\n".join(f"| {' | '.join(map(str.ljust, line, widths))} |" for line in ruled)


def markdown(report: Report, *, level: int = 2) -> str:
    """All tables, each under a heading."""
    known, mark = figures(report), "#" * level
    connections = " / ".join(map(str, report.settings["connections"]))
    parts = [
        f"{_when(report)} Several figures in a cell are for {connections} connections; each is a median over turns."
    ]
    for work, what in report.works.items():
        for format_ in dict.fromkeys(cell.format for cell in known if cell.work == work):
            parts += [f"{mark} {work}, {format_}", f"{what[:1].upper()}{what[1:]}.", _servers(report, work, format_)]
    if found := layers(report):
        parts += [f"{mark} What a layer adds to each request of {BASE}", _layers(found)]
    if report.absences:
        parts += [f"{mark} Not measured", _absences(report)]
    parts += [f"{mark} Servers", _subjects(report)]
    return "\n\n".join(parts)


def brief(report: Report) -> str:
    """One line for each server: what a request costs at the most connections, and what the server takes itself."""
    known, most = figures(report), max(report.settings["connections"])
    asked = list(dict.fromkeys((cell.work, cell.format) for cell in known))
    head = ["server", *(f"{work} {format_}: times, ms" for work, format_ in asked), *_FOOT_COLUMNS]
    lines = [
        [name, *(_in_brief(known, Cell(work=w, format=f, connections=most, subject=name)) for w, f in asked), *feet]
        for name in report.subjects
        if (feet := _feet(report, name))
    ]
    about = (
        f"CPU per request as a multiple of the empty app's in the same turn, and p99, at {most} connections;"
        f" memory and start for {' / '.join(report.works)}."
    )
    return f"{_when(report)} {about}\n\n{table(head, *lines)}"


_FOOT_COLUMNS: Final = ("PSS MB", "first 200 s")


def _in_brief(known: Mapping[Cell, Figures], cell: Cell) -> str:
    if (figure := known.get(cell)) is None:
        return "-"
    ratio = f"{figure.ratio.middle:.1f}" if figure.ratio else f"{figure.cpu_s_per_1000.middle:.3f} CPU-s per 1,000"
    return f"{ratio}, {figure.p99_ms.middle:.1f}"


def _feet(report: Report, subject: str) -> list[str]:
    """Memory and start, of each work; nothing where the subject never ran."""
    works = [[one for one in report.footprints if (one.work, one.subject) == (work, subject)] for work in report.works]
    if not any(works):
        return []
    gets: tuple[Callable[[Footprint], float], ...] = (lambda one: one.pss_mb, lambda one: one.start_s)
    formats = ("{:.0f}", "{:.1f}")
    return [
        " / ".join(text.format(_middle(feet, get)) if feet else "-" for feet in works)
        for get, text in zip(gets, formats, strict=True)
    ]


def _when(report: Report) -> str:
    counts = Counter(sample.cell for sample in report.samples)
    turns = f"{min(counts.values())} to {max(counts.values())}" if counts else "no"
    return (
        f"Measured {report.began[:16].replace('T', ' ')} UTC on {report.machine}, in {turns} turns of a second."
        f" {_foreign(report)}"
    )


def _foreign(report: Report) -> str:
    if not report.samples:
        return "Nothing was measured."
    shares = sorted(sample.foreign_share for sample in report.samples)
    told = f"Others took {median(shares):.0%} of the server's core meanwhile (at worst {shares[-1]:.0%})"
    if median(shares) > _BUSY:
        return f"{told}: this shows an order and no figures to quote; measure again on a quiet machine."
    return f"{told}: trust ratios, not seconds." if median(shares) > _QUIET else f"{told}: the machine was quiet."


def _servers(report: Report, work: str, format_: str) -> str:
    known = figures(report)
    lines = []
    for subject in report.subjects:
        found = [
            known[cell]
            for connections in report.settings["connections"]
            if (cell := Cell(work=work, format=format_, connections=connections, subject=subject)) in known
        ]
        if found:
            lines.append(_server(report, work, subject, found))
    return table(_COLUMNS, *lines)


def _server(report: Report, work: str, subject: str, found: Sequence[Figures]) -> list[str]:
    feet = [one for one in report.footprints if (one.work, one.subject) == (work, subject)]
    start, cpu = (_middle(feet, get) for get in (lambda one: one.start_s, lambda one: one.start_cpu_s))
    return [
        subject,
        _each(found, lambda one: f"{one.rps.middle:,.0f}"),
        _each(found, lambda one: f"{one.p50_ms.middle:.2f}"),
        _each(found, lambda one: f"{one.p99_ms.middle:.1f}"),
        _each(found, lambda one: f"{one.cpu_s_per_1000.middle:.3f}"),
        _each(found, lambda one: f"{one.ratio.middle:.2f}" if one.ratio else "-"),
        _each(found, lambda one: _range(one.ratio) if one.ratio else "-"),
        f"{sum(one.failed for one in found)} + {sum(one.socket_errors for one in found)}",
        f"{sum(one.wrong for one in found)} of {sum(one.checked for one in found)}",
        f"{_middle(feet, lambda one: one.pss_mb):.0f}",
        f"{_middle(feet, lambda one: one.processes):.0f}",
        f"{start:.1f} ({cpu:.1f})",
    ]


def _each(found: Iterable[Figures], text: Callable[[Figures], str]) -> str:
    return " / ".join(map(text, found))


def _range(spread: Spread) -> str:
    return f"{spread.low:.2f}-{spread.high:.2f}"


def _middle(feet: Iterable[Footprint], get: Callable[[Footprint], float]) -> float:
    values = [get(one) for one in feet]
    return median(values) if values else 0.0


def _layers(found: Iterable[Layer]) -> str:
    lines = [
        [
            layer.cell.subject,
            f"{layer.cell.work}, {layer.cell.format}",
            str(layer.cell.connections),
            f"{layer.added_us.middle:+.0f}",
            f"{layer.added_us.low:+.0f} … {layer.added_us.high:+.0f}",
            f"{layer.share:+.0%}",
        ]
        for layer in found
    ]
    return table(["layer", "work", "connections", "CPU µs", "middle half", "of the request"], *lines)


def _absences(report: Report) -> str:
    return table(
        ["server", "work", "why"], *([one.subject, one.work, one.reason.replace("|", "/")] for one in report.absences)
    )


def _subjects(report: Report) -> str:
    lines = ([name, report.versions.get(name, ""), about] for name, about in report.subjects.items())
    return table(["server", "version", "what it is"], *lines)


def soaked(found: Soaked) -> str:
    """What a soak found, and whether what must hold does."""
    head = ("server", "seconds", "requests", "p50 ms", "p99 ms", "p99.9 ms", "longest ms", "MB at first", "MB at last")
    lines = []
    for name, stretches in found.stretches.items():
        latencies = found.latencies(name)
        percentiles = [f"{latencies.percentile_ms(one):.2f}" for one in (50, 99, 99.9)]
        seconds, requests = sum(one.seconds for one in stretches), sum(one.requests for one in stretches)
        memory = [f"{stretches[at].pss_mb:.1f}" for at in (0, -1)]
        lines.append([name, f"{seconds:.0f}", f"{requests:,}", *percentiles, f"{latencies.longest_ms:.1f}", *memory])
    claims = [
        [
            claim.what,
            f"{claim.figure:.2f} {claim.unit}",
            f"{claim.limit:.2f} {claim.unit}",
            "yes" if claim.holds else "no",
        ]
        for claim in found.claims()
    ]
    return f"{table(head, *lines)}\n\n{table(['must hold', 'found', 'at most', 'holds'], *claims)}"
