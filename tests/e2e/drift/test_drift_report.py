"""Evidently itself: what it is given, and what it makes of the frames that break it."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipelines.monitoring.columns import aligned, kinds_of
from pipelines.monitoring.report import Comparison, render

pytestmark = pytest.mark.e2e

DRAW = np.random.default_rng(5)


def frame(rows: int, *, age: float = 40.0, plans: str = "abc") -> pd.DataFrame:
    return pd.DataFrame(
        {
            "age": DRAW.normal(age, 10, rows),
            "plan": DRAW.choice(list(plans), rows),
            "visits": DRAW.integers(0, 100, rows).astype("uint8"),
            "maybe": pd.array(DRAW.integers(0, 100, rows), dtype="Int64"),
            "gone": 1.5,
        }
    )


def drawn(current: pd.DataFrame, folder: Path) -> dict[str, object]:
    reference = frame(1500)
    columns = kinds_of(reference)
    html, written = render(
        Comparison(
            name="report",
            current=aligned(current, columns),
            baseline=aligned(reference, columns),
            columns=columns,
            threshold=0.1,
        ),
        folder,
        tags={"endpoint": "churn"},
        preface="<p>why this was done</p>",
    )
    assert "<body><p>why this was done</p>" in html.read_text()
    assert html.stat().st_size > 1_000_000
    read: dict[str, object] = json.loads(written.read_text())
    return read


def test_a_report_is_written_and_calls_the_shifted_column_drifted(tmp_path: Path) -> None:
    report = drawn(frame(600, age=60.0), tmp_path)
    tests = {t["name"].rpartition(" ")[2]: t["status"] for t in report["tests"] if "for column" in t["name"]}  # type: ignore[attr-defined]
    assert tests["age"] == "FAIL"
    assert {tests["plan"], tests["visits"], tests["maybe"]} == {"SUCCESS"}


def test_an_empty_column_a_new_category_and_few_rows_do_not_break_the_report(tmp_path: Path) -> None:
    report = drawn(frame(120, plans="az").assign(gone=None, maybe=None), tmp_path)
    named = " ".join(t["name"] for t in report["tests"])  # type: ignore[attr-defined]
    assert "plan" in named
    assert "gone" not in named
