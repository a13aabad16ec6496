"""The pictures of the page with their legends and tables: split, failures, latency, accuracy, drift. Pure."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from html import escape
from typing import Final
from urllib.parse import quote

from mlflow_deploy_plugin.manifests.diff import percent
from pipelines.monitoring.accuracy import Accuracy
from pipelines.monitoring.page import charts
from pipelines.monitoring.page.charts import Limit, Line, Plot
from pipelines.monitoring.page.model import DriftRun, Page, Traffic

Order = Mapping[str, int]
"""Version to its number, which chooses colour and dash."""

MOST_ROWS: Final = 200
"""Of a table under a picture."""
MOST_BARS: Final = 16
NOTHING: Final = "-"
"""A cell without a figure."""
MATTERS: Final = 0.1
"""Effect from which the drift job calls a feature shifted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """A figure of traffic and the bound that it is held against."""

    heading: str
    value: Callable[[Traffic], float | None]
    bound: float
    show: Callable[[float], str]
    text: str
    least: float
    """The axis reaches at least this high."""


FAILED: Final = Objective(
    heading="Failed attempts",
    value=lambda row: row.failed_share,
    bound=0.001,
    show=lambda share: f"{share * 100:.3g}%",
    text="objective 0.1 %",
    least=0.004,
)
SLOW: Final = Objective(
    heading="Latency, 99th percentile",
    value=lambda row: row.p99_ms,
    bound=100.0,
    show=lambda ms: f"{ms:.3g} ms",
    text="objective 100 ms",
    least=120.0,
)


def judged(value: float, objective: Objective) -> str:
    """A figure with a sign and a word, so that colour is not all that tells."""
    is_good = value <= objective.bound
    sign, word, kind = ("✓", "met", "good") if is_good else ("✗", "missed", "bad")
    return f'<span class="{kind}">{objective.show(value)} <span title="{word}">{sign}</span></span>'


def moment(when: datetime) -> str:
    """A moment in UTC."""
    return f"{when:%Y-%m-%d %H:%M}"


def right(is_number: bool) -> str:  # noqa: FBT001  a fact and no switch
    """The class of a column of numbers."""
    return ' class="number"' if is_number else ""


def split(page: Page, order: Order) -> str:
    """Who got which share of the users."""
    known = [(change.time, change.weights) for change in reversed(page.changes) if change.weights]
    if not known:
        return _section("Split over time", empty="No commit has touched it.")
    steps = [(max(time, page.begin), weights) for time, weights in known]
    names = {name for _, weights in steps for name, weight in weights.items() if weight}
    title = f"Split over time: {_words(steps[0][1])} at first, {_words(steps[-1][1])} at the end"
    picture = charts.split(steps, order, begin=page.begin, end=page.made, title=title)
    rows = [[moment(time), _words(weights)] for time, weights in reversed(steps)]
    return _section(
        "Split over time", picture=picture, legend=_legend(order, names), table=_table(["Since", "Split"], rows)
    )


def failures(page: Page, order: Order) -> str:
    """Share of failed attempts."""
    return _figures(page, order, FAILED)


def latency(page: Page, order: Order) -> str:
    """99th percentile."""
    return _figures(page, order, SLOW)


def accuracy(page: Page, order: Order) -> str:
    """How often, or by how much, each version was right."""
    rows = [(row, _score(row)) for row in page.accuracies]
    scored = [(row, score) for row, score in rows if score is not None]
    heading = "Accuracy by labels" if all(row.accuracy is not None for row, _ in scored) else "Mean absolute error"
    if not scored:
        return _section("Accuracy by labels", empty="No label has arrived for the predictions of this window.")
    lines = _lines(page, order, [(row.deployment, row.began, score) for row, score in scored])
    show = _share if heading.startswith("Accuracy") else _number
    plot = Plot(
        title=f"{heading} of {_listed(lines)}, every {page.every}",
        begin=page.begin,
        end=page.made,
        show=show,
        least=1.0 if show is _share else 0.0,
    )
    cells = [[moment(r.began), r.deployment, show(s), f"{r.labelled:,}", f"{r.predicted:,}"] for r, s in scored]
    table = _table(["From", "Version", "Value", "Labels", "Predictions"], cells)
    return _drawn(order, heading, lines, plot, table)


def drift(page: Page, order: Order) -> str:
    """The last look of the drift job, and the verdicts before it."""
    heading = "Drift against the training sample"
    if not page.drift:
        return _section(
            heading, empty=f"The drift job has not looked: python -m pipelines drift --endpoint {page.endpoint}"
        )
    latest = page.drift[0]
    scores = sorted(latest.scores.items(), key=lambda item: (-item[1], item[0]))
    bars = [(f"{feature} · {who}", order.get(who, 0), value) for (who, feature), value in scores[:MOST_BARS]]
    worst = f"; greatest {scores[0][0][1]} {scores[0][1]:.2f}" if scores else ""
    title = f"Effect of each feature at {moment(latest.time)}, 0 alike to 1; from {MATTERS} on it matters{worst}"
    limit = Limit(value=MATTERS, text="matters")
    picture = charts.bars(bars, title=title, limit=limit) if bars else ""
    rows = [[moment(run.time), _verdict(run), _strongest(run)] for run in page.drift]
    table = _table(["Looked", "Verdict", "Strongest"], rows, is_open=True) + _links(latest)
    return _section(heading, picture=picture, legend=_legend(order, {who for who, _ in latest.scores}), table=table)


ALL: Final[Sequence[Callable[[Page, Order], str]]] = (split, failures, latency, accuracy, drift)


def _figures(page: Page, order: Order, objective: Objective) -> str:
    found = [(row, figure) for row in page.traffic if (figure := objective.value(row)) is not None]
    if not found:
        return _section(objective.heading, empty="The gateway has seen no answer in this window.")
    lines = _lines(page, order, [(row.deployment, row.began, figure) for row, figure in found])
    plot = Plot(
        title=f"{objective.heading} of {_listed(lines)}, every {page.every}; {objective.text}",
        begin=page.begin,
        end=page.made,
        show=objective.show,
        least=objective.least,
        limit=Limit(value=objective.bound, text=objective.text),
    )
    cells = [[moment(row.began), row.deployment, objective.show(figure), f"{row.attempts:,}"] for row, figure in found]
    table = _table(["From", "Version", "Value", "Attempts"], cells)
    return _drawn(order, objective.heading, lines, plot, table)


def _lines(page: Page, order: Order, found: Sequence[tuple[str, datetime, float]]) -> list[Line]:
    """One line for each version of the page that has figures."""
    by_name: dict[str, list[tuple[datetime, float]]] = {}
    for name, began, figure in found:
        by_name.setdefault(name, []).append((max(began, page.begin), figure))
    return [Line(name=name, number=order[name], points=by_name[name]) for name in _names(order, by_name)]


def _listed(lines: Iterable[Line]) -> str:
    return ", ".join(line.name for line in lines)


def _drawn(order: Order, heading: str, lines: Sequence[Line], plot: Plot, table: str) -> str:
    legend = _legend(order, [line.name for line in lines])
    return _section(heading, picture=charts.lines(lines, plot), legend=legend, table=table)


def _score(row: Accuracy) -> float | None:
    return row.accuracy if row.accuracy is not None else row.absolute_error


def _share(value: float) -> str:
    return f"{value * 100:.3g}%"


def _number(value: float) -> str:
    return f"{value:.4g}"


def _names(order: Order, present: Iterable[str]) -> list[str]:
    found = set(present)
    return [name for name in order if name in found]


def _words(weights: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {percent(weight)}" for name, weight in weights.items() if weight)


def _verdict(run: DriftRun) -> str:
    return "; ".join([run.headline, *run.reasons])


def _strongest(run: DriftRun) -> str:
    top = sorted(run.scores.items(), key=lambda item: -item[1])[:3]
    return ", ".join(f"{feature} of {who} {value:.2f}" for (who, feature), value in top) or NOTHING


def _links(run: DriftRun) -> str:
    """The pages that Evidently drew, beside this one; a page that was mailed has lost them."""
    items = "".join(f'<li><a href="{escape(quote(link))}">{escape(link)}</a></li>' for link in run.links)
    return f"<details><summary>Reports of the last look</summary><ul>{items}</ul></details>" if items else ""


def _legend(order: Order, names: Iterable[str]) -> str:
    items = "".join(f"<li>{charts.swatch(order[name])}{escape(name)}</li>" for name in _names(order, names))
    return f'<ul class="legend">{items}</ul>'


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]], *, is_open: bool = False) -> str:
    head = "".join(f'<th scope="col">{escape(text)}</th>' for text in heads)
    shown = rows[:MOST_ROWS]
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in shown)
    left = f"<p>{len(rows) - MOST_ROWS} more rows are left out.</p>" if len(rows) > MOST_ROWS else ""
    table = f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>{left}'
    return f"<details{' open' if is_open else ''}><summary>The numbers</summary>{table}</details>"


def _section(heading: str, *, picture: str = "", legend: str = "", table: str = "", empty: str = "") -> str:
    words = f'<p class="empty">{escape(empty)}</p>' if empty else ""
    return f"<section><h2>{escape(heading)}</h2>{words}{picture}{legend}{table}</section>\n"
