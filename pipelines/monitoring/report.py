"""Evidently renders what was compared, as HTML for people and JSON for machines; our statistics have decided by then.

Imported in the drift job alone (6 to 15 s and 280 MB), never in a server. Its traps are kept away
from it: types are stated and not guessed, methods are named, columns that are empty in a frame are left out before it
raises on them, paths are text since it silently ignores a ``Path``, and its telemetry is off. Its columns are called
drifted by our own distance (Kolmogorov's D or the total variation) and not by its default methods, whose
false alarms depend on the sample size.
"""

import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mlflow_deploy_plugin.errors import ModelserveError
from pipelines.monitoring.columns import Columns

if TYPE_CHECKING:
    import pandas as pd

MAX_ROWS: Final = 5_000
"""Rows of each frame that are drawn."""
SEED: Final = 20260101
METHOD: Final = "modelserve_distance"


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One report: rows of today beside those they are compared with. Both frames are aligned."""

    name: str
    current: "pd.DataFrame"
    baseline: "pd.DataFrame"
    columns: Columns
    threshold: float
    """Distance from which a column is called drifted."""
    current_is: str = "rows of today"
    baseline_is: str = "rows that they are compared with"


def render(comparison: Comparison, folder: Path, *, tags: Mapping[str, str], preface: str = "") -> tuple[Path, Path]:
    """Write ``NAME.html`` and ``NAME.json`` into ``folder``, which exists; their paths.

    ``preface`` is HTML that stands above the drawing.

    Raises:
        ModelserveError: Evidently is not installed, or fails.
    """
    drawn = _without_empty(comparison)
    html, json = folder / f"{comparison.name}.html", folder / f"{comparison.name}.json"
    os.environ.setdefault("DO_NOT_TRACK", "1")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Evidently's own, about numpy and plotly; not ours to mend
        try:
            snapshot = _snapshot(drawn, tags)
            snapshot.save_html(str(html))
            snapshot.save_json(str(json))
            _put_above(html, preface)
        except ImportError as error:
            raise ModelserveError(f"the report needs Evidently ({error}); pip install 'modelserve[drift]'") from error
        except Exception as error:  # Evidently raises bare ones of every kind
            first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise ModelserveError(f"Evidently could not draw {comparison.name} ({first})") from error
    return html, json


def _put_above(page: Path, preface: str) -> None:
    before, body, after = page.read_text(encoding="utf-8").partition("<body>")
    if not body:
        raise ModelserveError("its page has no <body> to put the decision into; this Evidently is not known here")
    page.write_text(before + body + preface + after, encoding="utf-8")


def _without_empty(comparison: Comparison) -> Comparison:
    """Leave out columns without a value in either frame: the whole report would fail (evidently#1480)."""
    frames = [comparison.current, comparison.baseline]
    empty = {name for name in comparison.columns.compared if any(frame[name].notna().sum() == 0 for frame in frames)}
    columns = comparison.columns.without(empty)
    if not columns.compared:
        raise ModelserveError(f"no column of {comparison.name} has values on both sides; there is nothing to draw")
    current, baseline = (_drawn(frame[list(columns.compared)]) for frame in frames)
    return replace(comparison, current=current, baseline=baseline, columns=columns)


def _drawn(frame: "pd.DataFrame") -> "pd.DataFrame":
    return frame.sample(n=MAX_ROWS, random_state=SEED) if len(frame) > MAX_ROWS else frame


def _snapshot(comparison: Comparison, tags: Mapping[str, str]) -> Any:  # noqa: ANN401  Evidently's, imported late
    from evidently import DataDefinition, Dataset, Report  # noqa: PLC0415  6 to 15 seconds
    from evidently.presets import DataDriftPreset  # noqa: PLC0415

    _register()
    definition = DataDefinition(
        numerical_columns=list(comparison.columns.numbers),
        categorical_columns=list(comparison.columns.categories),
        text_columns=[],
        datetime_columns=[],
    )
    current, baseline = (
        Dataset.from_pandas(frame.reset_index(drop=True), data_definition=definition)
        for frame in (comparison.current, comparison.baseline)
    )
    drift = DataDriftPreset(
        columns=list(comparison.columns.compared),
        num_method=METHOD,
        cat_method=METHOD,
        num_threshold=comparison.threshold,
        cat_threshold=comparison.threshold,
    )
    return Report([drift], include_tests=True, metadata=dict(tags)).run(current, baseline)


def _register() -> None:
    """Teach Evidently our distance by its own door; a second time changes nothing."""
    from evidently.legacy.calculations.stattests.registry import StatTest, register_stattest  # noqa: PLC0415
    from evidently.legacy.core import ColumnType  # noqa: PLC0415

    test = StatTest(
        name=METHOD,
        display_name="distance (Kolmogorov's D or total variation)",
        allowed_feature_types=[ColumnType.Numerical, ColumnType.Categorical],
        default_threshold=0.1,
    )
    register_stattest(test, _distance)


def _distance(
    baseline: "pd.Series[Any]",
    current: "pd.Series[Any]",
    kind: Any,  # noqa: ANN401  Evidently's enum
    threshold: float,
) -> tuple[float, bool]:
    """Score and verdict of one column, as Evidently asks for them: reference first."""
    from pipelines.analysis.drift import ks_distance  # noqa: PLC0415

    if str(getattr(kind, "value", kind)) == "num":
        score = ks_distance(baseline.to_numpy(), current.to_numpy())[0]
    else:
        shares = [series.astype(str).value_counts(normalize=True) for series in (baseline, current)]
        score = float(shares[0].sub(shares[1], fill_value=0.0).abs().sum() / 2)
    return score, bool(score >= threshold)
