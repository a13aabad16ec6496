"""The pictures as SVG text: the split as areas, figures as lines, effects as bars. Pure.

Versions differ by colour and by dash, so that a print in grey and an eye that sees no red can tell them apart. A title
says what a picture shows; the numbers stand in a table beside it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from html import escape
from typing import Final

from pipelines.monitoring.page.axes import Scale, round_ticks, time_ticks

WIDTH: Final = 480
HEIGHT: Final = 230
LEFT, RIGHT, TOP, BOTTOM = 54, 12, 14, 30
COLOURS: Final = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#8a6d00", "#5b3a8c", "#333333")
"""Okabe and Ito's, darkened where white paper asks for it: https://jfly.uni-koeln.de/color/."""
DASHES: Final = ("", "7 3", "2 3", "9 3 2 3")
WHOLE: Final = 1000
BAR: Final = 17
"""Height of one bar with its gap."""
NAMES: Final = 190
"""Width of the names beside bars."""
MANY: Final = 80
"""Points above which a line has no dots."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One version's figures over time; ``number`` chooses its colour and dash."""

    name: str
    number: int
    points: Sequence[tuple[datetime, float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """A horizontal line that figures are held against."""

    value: float
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """What a picture of figures over time stands on."""

    title: str
    begin: datetime
    end: datetime
    show: Callable[[float], str]
    """Writes one figure."""
    least: float
    """The axis reaches at least this high."""
    limit: Limit | None = None


def colour(number: int) -> str:
    """Of version ``number``."""
    return COLOURS[number % len(COLOURS)]


def dash(number: int) -> str:
    """Of version ``number``, as an attribute; the first ones differ by colour and dash both."""
    pattern = DASHES[number % len(DASHES)]
    return f' stroke-dasharray="{pattern}"' if pattern else ""


def swatch(number: int) -> str:
    """The key of a legend."""
    return (
        '<svg class="swatch" viewBox="0 0 28 10" aria-hidden="true">'
        f'<line x1="1" y1="5" x2="27" y2="5" stroke="{colour(number)}" stroke-width="4"{dash(number)}/></svg>'
    )


def split(
    steps: Sequence[tuple[datetime, Mapping[str, int]]],
    order: Mapping[str, int],
    *,
    begin: datetime,
    end: datetime,
    title: str,
) -> str:
    """The split as stacked areas. ``steps``: moment and weights of 1000 from then on, oldest first; not empty."""
    across = _time(begin, end)
    up = Scale(low=0, high=WHOLE, begin=HEIGHT - BOTTOM, end=TOP)
    moments = [across(moment.timestamp()) for moment, _ in steps] + [across(end.timestamp())]
    parts = [_grid(up, [0, 250, 500, 750, 1000], lambda value: f"{value / 10:.0f}%"), _times(across, begin, end)]
    for index, (_, weights) in enumerate(steps):
        floor = 0
        left, width = moments[index], max(moments[index + 1] - moments[index], 0.0)
        for name, number in order.items():
            share = weights.get(name, 0)
            if share:
                top, height = up(floor + share), up(floor) - up(floor + share)
                parts.append(
                    f'<rect x="{left}" y="{top}" width="{width:.2f}" height="{height:.2f}" fill="{colour(number)}"'
                    ' fill-opacity="0.8" stroke="#fff" stroke-width="0.6"/>'
                )
            floor += share
    for number, moment in enumerate(moments[1:-1], start=1):
        parts.append(f'<path d="M{moment} {TOP - 8} l4 6 h-8 z" fill="#222"><title>commit {number}</title></path>')
    return _picture(title, "".join(parts), HEIGHT)


def lines(found: Sequence[Line], plot: Plot) -> str:
    """Figures over time, from 0 up."""
    highest = max([plot.least, *(value for line in found for _, value in line.points)])
    ticks = round_ticks(highest)
    up = Scale(low=0, high=ticks[-1], begin=HEIGHT - BOTTOM, end=TOP)
    across = _time(plot.begin, plot.end)
    parts = [_grid(up, ticks, plot.show), _times(across, plot.begin, plot.end)]
    if plot.limit is not None:
        place = up(min(plot.limit.value, ticks[-1]))
        parts.append(
            f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{place}" y2="{place}" class="limit"/>'
            f'<text x="{WIDTH - RIGHT}" y="{place - 4}" text-anchor="end" class="limit">'
            f"{escape(plot.limit.text)}</text>"
        )
    parts[2:2] = [_line(line, across, up) for line in found]  # the limit is written over them
    return _picture(plot.title, "".join(parts), HEIGHT)


def bars(rows: Sequence[tuple[str, int, float]], *, title: str, limit: Limit) -> str:
    """Values from 0 to 1 beside their names: name, version's number, value."""
    height = TOP + BAR * len(rows) + BOTTOM
    across = Scale(low=0, high=1, begin=NAMES, end=WIDTH - 40)
    parts = [
        f'<text x="{across(tick)}" y="{height - 12}" text-anchor="middle">{tick:g}</text>'
        f'<line x1="{across(tick)}" x2="{across(tick)}" y1="{TOP}" y2="{height - BOTTOM + 6}" class="grid"/>'
        for tick in (0, 0.25, 0.5, 0.75, 1)
    ]
    for index, (name, number, value) in enumerate(rows):
        top = TOP + BAR * index
        parts.append(
            f'<text x="{NAMES - 6}" y="{top + 11}" text-anchor="end">{escape(_short(name))}</text>'
            f'<rect x="{NAMES}" y="{top + 2}" width="{max(across(value) - NAMES, 1):.2f}" height="{BAR - 6}"'
            f' fill="{colour(number)}"/><text x="{across(value) + 4}" y="{top + 11}">{value:.2f}</text>'
        )
    place = across(limit.value)
    parts.append(f'<line x1="{place}" x2="{place}" y1="{TOP - 4}" y2="{height - BOTTOM + 6}" class="limit"/>')
    return _picture(title, "".join(parts), height)


def _time(begin: datetime, end: datetime) -> Scale:
    return Scale(low=begin.timestamp(), high=end.timestamp(), begin=LEFT, end=WIDTH - RIGHT)


def _line(line: Line, across: Scale, up: Scale) -> str:
    places = [(across(moment.timestamp()), up(value)) for moment, value in line.points]
    path = " ".join(f"{x},{y}" for x, y in places)
    stroke = f'stroke="{colour(line.number)}"{dash(line.number)}'
    drawn = [f'<polyline points="{path}" fill="none" {stroke} stroke-width="2"/>'] if len(places) > 1 else []
    if len(places) <= MANY:
        drawn += [f'<circle cx="{x}" cy="{y}" r="2.4" fill="{colour(line.number)}"/>' for x, y in places]
    return f"<g><title>{escape(line.name)}</title>{''.join(drawn)}</g>"


def _grid(up: Scale, ticks: Sequence[float], show: Callable[[float], str]) -> str:
    return "".join(
        f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{up(tick)}" y2="{up(tick)}" class="grid"/>'
        f'<text x="{LEFT - 5}" y="{up(tick) + 4}" text-anchor="end">{escape(show(tick))}</text>'
        for tick in ticks
    )


def _times(across: Scale, begin: datetime, end: datetime) -> str:
    found = []
    for moment, label in time_ticks(begin, end):
        place = across(moment.timestamp())
        anchor = "start" if place < LEFT + 20 else "end" if place > WIDTH - RIGHT - 20 else "middle"
        found.append(f'<text x="{place}" y="{HEIGHT - 10}" text-anchor="{anchor}">{label}</text>')
        found.append(
            f'<line x1="{place}" x2="{place}" y1="{HEIGHT - BOTTOM}" y2="{HEIGHT - BOTTOM + 4}" class="axis"/>'
        )
    return "".join(found)


def _short(name: str) -> str:
    return name if len(name) <= 30 else f"{name[:29]}…"  # noqa: PLR2004  what fits beside a bar


def _picture(title: str, body: str, height: int) -> str:
    words = escape(title, quote=True)
    return f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{words}"><title>{words}</title>{body}</svg>'
