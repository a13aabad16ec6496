"""Explanations from outside, held against models whose Shapley values are known."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mlflow_deploy_plugin.errors import UserError
from mlflow_deploy_plugin.scoring.explain import explain, explain_rows

pytest.importorskip("shap", reason="the extra modelserve[explain] is not installed")

pytestmark = [
    pytest.mark.e2e,  # SHAP compiles for ten seconds
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of SHAP's own dependencies
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

BACKGROUND = pd.DataFrame(np.random.default_rng(0).normal(size=(40, 3)), columns=["a", "b", "c"])


def linear(rows: pd.DataFrame) -> list[float]:
    return [float(value) for value in 2 * rows["a"] - 3 * rows["b"] + 1]


def test_a_linear_models_attributions_are_its_slopes_times_the_distance_from_the_mean() -> None:
    rows = pd.DataFrame({"a": [1.0, 0.0], "b": [0.0, 2.0], "c": [5.0, 5.0]})
    found = explain(rows, BACKGROUND, linear)
    mean = BACKGROUND.mean()
    expected = np.column_stack([2 * (rows["a"] - mean["a"]), -3 * (rows["b"] - mean["b"]), 0 * rows["c"]])
    np.testing.assert_allclose(found["attributions"], expected, atol=1e-9)


def test_base_and_attributions_sum_to_the_prediction() -> None:
    rows = BACKGROUND.iloc[:5]

    def product(table: pd.DataFrame) -> list[float]:
        return [float(value) for value in table["a"] * table["b"] + table["c"] ** 2]

    found = explain(rows, BACKGROUND, product)
    total = np.asarray(found["base"]) + np.asarray(found["attributions"]).sum(axis=1)
    np.testing.assert_allclose(total, product(rows), atol=1e-6)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"inputs": [[1.0]]}, "no table"),
        ({"dataframe_records": [{"a": 1.0}]}, "log_reference"),
        ({"dataframe_records": [{"a": "x"}, {"a": "y"}]}, "no number"),
    ],
)
def test_what_cannot_be_explained_is_said(body: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=words):
        explain_rows(body, linear, reference=tmp_path / "none.parquet")
