"""Draws the dashboards from a Prometheus that has watched a run, one PNG for each, without Grafana.

    prometheus --config.file=gitops/observability/prometheus.yml --storage.tsdb.path=/tmp/prometheus &
    make demo
    python docs/monitoring/pictures.py --prometheus http://127.0.0.1:9090 --last 5m

The queries are those of ``gitops/observability/dashboards/*.json``; every stage and version is chosen.
"""

import argparse
import io
import json
import re
import sys
import time
import urllib.parse
import urllib.request
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
import matplotlib.pyplot as plt
from PIL import Image

BOARDS: Final = Path(__file__).parents[2] / "gitops/observability/dashboards"
OUT: Final = Path(__file__).with_name("pictures")
POINTS: Final = 150
COLOURS: Final = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#8a6d00", "#5b3a8c", "#333333")
MOST: Final = 8
"""Series of one picture."""
PALETTE: Final = 48
"""Colours of a PNG: enough for lines, and a quarter of the bytes."""
DAY: Final = 86400
WIDTH: Final = 24
"""Columns of Grafana's grid."""
UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": DAY}


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Where the figures are, and of which time."""

    prometheus: str
    start: float
    end: float
    endpoint: str

    @property
    def step(self) -> float:
        """Seconds between two points."""
        return max(1.0, (self.end - self.start) / POINTS)

    def series(self, expression: str) -> list[dict[str, Any]]:
        """What a panel's query finds over the run."""
        chosen = re.sub(r"\$(stage|model_version)", ".*", expression).replace("$endpoint", self.endpoint)
        asked = {"query": chosen.replace("$__rate_interval", f"{max(10, round(4 * self.step))}s"), "step": self.step}
        asked |= {"start": self.start, "end": self.end}
        url = f"{self.prometheus}/api/v1/query_range?{urllib.parse.urlencode(asked)}"
        with urllib.request.urlopen(url, timeout=30) as answer:  # noqa: S310  the address is the caller's
            found: list[dict[str, Any]] = json.load(answer)["data"]["result"]
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One series: seconds since 1970 and value."""

    name: str
    points: list[tuple[float, float]]


def name_of(series: dict[str, Any], legend: str) -> str:
    """The legend with the series' labels filled in; without the stage before a name, since a demo has one."""
    told = legend.removeprefix("{{stage}} ")
    return re.sub(r"\{\{(\w+)\}\}", lambda hit: series["metric"].get(hit[1], ""), told).strip()


def shown(value: float, unit: str) -> str:
    """One figure in its unit."""
    if unit == "bool_yes_no":
        return "yes" if value else "no"
    if unit == "dateTimeFromNow":
        return time.strftime("%H:%M:%S", time.gmtime(value / 1000))
    if unit == "percentunit":
        return f"{value * 100:.3g}%"
    if unit == "s":
        return f"{value * 1000:.3g} ms" if abs(value) < 1 else f"{value:.3g} s"
    return f"{value:.3g}{'/s' if unit == 'reqps' else ''}"


def draw(run: Run, board: dict[str, Any]) -> Image.Image:
    """All panels of a dashboard, row by row."""
    rows = [list(row) for _, row in groupby(board["panels"], key=lambda panel: panel["gridPos"]["y"])]
    heights = [row[0]["gridPos"]["h"] for row in rows]
    figure = plt.figure(figsize=(12.5, sum(heights) * 0.36), layout="constrained")
    grid = figure.add_gridspec(len(rows), WIDTH, height_ratios=heights)
    for number, row in enumerate(rows):
        for panel in row:
            at = panel["gridPos"]
            axes = figure.add_subplot(grid[number, at["x"] : at["x"] + at["w"]])
            axes.set_title(panel["title"], fontsize=9, loc="left", fontweight="bold")
            fill(run, axes, panel)
    held = io.BytesIO()
    figure.savefig(held, dpi=80, metadata={"Software": None})
    plt.close(figure)
    return Image.open(held).convert("RGB").quantize(colors=PALETTE, dither=Image.Dither.NONE)


def fill(run: Run, axes: Any, panel: dict[str, Any]) -> None:  # noqa: ANN401  matplotlib's
    """One panel."""
    found = [
        Line(name=name_of(series, target["legendFormat"]), points=points)
        for target in panel["targets"]
        for series in run.series(target["expr"])
        if (points := [(float(at), float(value)) for at, value in series["values"] if value not in {"NaN", "+Inf"}])
    ]
    unit = panel["fieldConfig"]["defaults"]["unit"]
    now = [line for line in found if line.points[-1][0] > run.end - 3 * run.step]
    if panel["type"] == "stat":
        words = [f"{shown(line.points[-1][1], unit)}  {line.name}" for line in now]
        axes.text(0.01, 0.95, "\n".join(words[:3]) or "no data", fontsize=11, va="top", color="#1b6e3a")
        axes.axis("off")
    elif panel["type"] == "table":
        bars(axes, now)
    elif panel["type"] == "heatmap":
        heat(axes, found)
        clock(axes, run)
    else:
        lines(axes, found, panel)
        clock(axes, run)


def lines(axes: Any, found: list[Line], panel: dict[str, Any]) -> None:  # noqa: ANN401
    """Figures over time, with the limit of the panel."""
    defaults = panel["fieldConfig"]["defaults"]
    kept = sorted(found, key=lambda line: -max(value for _, value in line.points))[:MOST]
    kept.sort(key=lambda line: line.name)
    if "stacking" in defaults.get("custom", {}):
        moments = sorted({at for line in kept for at, _ in line.points})
        each = [[dict(line.points).get(at, 0.0) for at in moments] for line in kept]
        labels = [line.name for line in kept]
        axes.stackplot([at / DAY for at in moments], *each, labels=labels, colors=COLOURS[: len(kept)], alpha=0.7)
    else:
        for line, colour in zip(kept, COLOURS, strict=False):
            moments = [at / DAY for at, _ in line.points]
            axes.plot(moments, [value for _, value in line.points], label=line.name, color=colour, lw=1.4)
    limits = [step["value"] for step in defaults["thresholds"]["steps"] if step["value"]]
    top = max((value for line in kept for _, value in line.points), default=0.0)
    if limits and (limits[0] < 3 * top or not top):
        axes.axhline(limits[0], color="#b00020", lw=1, ls="--")
        top = max(top, 1.2 * limits[0])
    axes.set_ylim(bottom=0, top=None if "stacking" in defaults.get("custom", {}) else 1.1 * top or 1)
    axes.yaxis.set_major_formatter(lambda value, _: shown(value, defaults["unit"]))
    if kept:
        axes.legend(fontsize=6.5, frameon=False, loc="upper left", bbox_to_anchor=(0, -0.1), ncols=4)


def heat(axes: Any, found: list[Line]) -> None:  # noqa: ANN401
    """Requests by latency bucket and time."""
    bounds = sorted(found, key=lambda line: float(line.name))
    width = min(len(line.points) for line in bounds)
    table = [[value for _, value in line.points[-width:]] for line in bounds]
    below = [[0.0] * width, *table[:-1]]
    each = [[max(0.0, a - b) for a, b in zip(row, under, strict=True)] for row, under in zip(table, below, strict=True)]
    used = min(len(each), max((index for index, row in enumerate(each) if any(row)), default=0) + 2)
    moments = [at / DAY for at, _ in bounds[0].points[-width:]]
    axes.pcolormesh(moments, range(used), each[:used], cmap="Blues", shading="nearest")
    axes.set_yticks(range(used), [f"≤ {float(line.name) * 1000:g} ms" for line in bounds[:used]])


def bars(axes: Any, found: list[Line]) -> None:  # noqa: ANN401
    """The last value of each series."""
    last = sorted((line.points[-1][1], line.name) for line in found)[-10:]
    axes.barh([name for _, name in last], [value for value, _ in last], color=COLOURS[0])
    axes.tick_params(labelsize=7)
    axes.set_xlim(0, 1)


def clock(axes: Any, run: Run) -> None:  # noqa: ANN401
    """The same time of day below every panel."""
    ticks = [run.start + (run.end - run.start) * share / 5 for share in range(6)]
    axes.set_xlim(run.start / DAY, run.end / DAY)
    axes.set_xticks([at / DAY for at in ticks], [time.strftime("%H:%M", time.gmtime(at)) for at in ticks])
    axes.tick_params(labelsize=7)
    axes.grid(visible=True, color="#e3e3e3", lw=0.6)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def seconds(text: str) -> float:
    """``90s``, ``5m``, ``6h`` or ``2d``."""
    if (hit := re.fullmatch(r"(\d+)([smhd])", text)) is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no span; write 5m")
    return int(hit[1]) * UNITS[hit[2]]


def main() -> int:
    """Draw all four."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prometheus", default="http://127.0.0.1:9090", help="its address")
    parser.add_argument("--last", type=seconds, default=300.0, help="how much of the past (default 5m)")
    parser.add_argument("--end", type=float, default=time.time(), help="until when, seconds since 1970 (default: now)")
    parser.add_argument("--endpoint", default="visits", help="the one whose rollout is drawn (default visits)")
    parser.add_argument("--out", type=Path, default=OUT, help="folder of the pictures")
    options = parser.parse_args()
    mpl.use("Agg")
    run = Run(
        prometheus=options.prometheus.rstrip("/"),
        start=options.end - options.last,
        end=options.end,
        endpoint=options.endpoint,
    )
    options.out.mkdir(parents=True, exist_ok=True)
    for path in sorted(BOARDS.glob("*.json")):
        picture = options.out / f"{path.stem}.png"
        draw(run, json.loads(path.read_text(encoding="utf-8"))).save(picture, optimize=True)
        print(f"{picture.name}: {picture.stat().st_size / 1024:.0f} KB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
