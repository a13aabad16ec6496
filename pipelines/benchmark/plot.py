"""The results as a picture: CPU per request of each server, on a logarithmic axis, since they differ by hundreds."""

from pathlib import Path
from typing import TYPE_CHECKING, Final

from mlflow_deploy_plugin.errors import ConfigError
from pipelines.benchmark.results import Report, figures

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_ROW_INCH: Final = 0.28
_WIDTH_INCH: Final = 9.0


def write(report: Report, path: Path) -> None:
    """Write the picture to ``path``; its suffix says the format (png, svg).

    Raises:
        ConfigError: matplotlib is not installed.
    """
    try:
        import matplotlib as mpl  # noqa: PLC0415  an extra
    except ModuleNotFoundError as error:
        raise ConfigError(f"a plot needs {error.name}; pip install 'modelserve[benchmark]'") from error
    mpl.use("agg")  # no display
    from matplotlib import pyplot as plt  # noqa: PLC0415  after the choice

    panels = _panels(report)
    heights = [max(map(len, panel.values())) * len(panel) for panel in panels.values()]
    figure, axes = plt.subplots(
        len(panels),
        1,
        squeeze=False,
        figsize=(_WIDTH_INCH, _ROW_INCH * sum(heights) + 1.2 * len(panels)),
        gridspec_kw={"height_ratios": heights},
        layout="constrained",
    )
    for axis, (title, subjects) in zip(axes[:, 0], panels.items(), strict=True):
        _draw(axis, subjects)
        axis.set_title(title, loc="left")
        axis.set_xlabel("CPU-seconds per 1,000 requests (less is better)")
    figure.savefig(path, dpi=120)
    plt.close(figure)


Panel = dict[str, dict[int, float]]
"""Subject → connections → CPU-seconds per 1,000 requests."""


def _panels(report: Report) -> dict[str, Panel]:
    known = figures(report)
    panels: dict[str, Panel] = {}
    for name in report.subjects:
        for cell in known:
            if cell.subject == name:
                panel = panels.setdefault(f"{cell.work}, {cell.format}", {})
                panel.setdefault(name, {})[cell.connections] = known[cell].cpu_s_per_1000.middle
    return panels


def _draw(axis: "Axes", panel: Panel) -> None:
    connections = sorted({one for bars in panel.values() for one in bars})
    height = 0.8 / len(connections)
    for index, count in enumerate(connections):
        positions = [nth + index * height for nth, bars in enumerate(panel.values()) if count in bars]
        values = [bars[count] for bars in panel.values() if count in bars]
        axis.barh(positions, values, height=height, label=f"{count} connections")
    axis.set_yticks([nth + 0.4 - height / 2 for nth in range(len(panel))], list(panel))
    axis.set_xscale("log")
    axis.invert_yaxis()
    axis.grid(visible=True, axis="x", alpha=0.3)
    axis.legend(loc="lower right", fontsize="small")
