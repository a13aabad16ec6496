"""Explanations from outside, held against models whose Shapley values are known."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mlflow_deploy_plugin.attribution.table import CannotExplainError
from mlflow_deploy_plugin.scoring.explain import ROWS_OF_A_REQUEST, explain, explain_rows

DRAW = np.random.default_rng(0)
BACKGROUND = pd.DataFrame(DRAW.normal(size=(40, 3)), columns=["a", "b", "c"])
PEOPLE = pd.DataFrame(
    {"age": DRAW.normal(40, 10, 40), "plan": ["gold", "basic", None, "gold"] * 10, "visits": range(40)}
)
FEES = {"gold": 5.0, "basic": 2.0}


def linear(rows: pd.DataFrame) -> list[float]:
    return [float(value) for value in 2 * rows["a"] - 3 * rows["b"] + 1]


def fee(rows: pd.DataFrame) -> list[float]:
    """A model that knows words, and takes visits as whole numbers alone."""
    assert rows["visits"].dtype.kind == "i"
    return [FEES.get(plan, 0.0) + age / 10 for plan, age in zip(rows["plan"], rows["age"], strict=True)]


def test_a_linear_models_attributions_are_its_slopes_times_the_distance_from_the_mean() -> None:
    rows = pd.DataFrame({"a": [1.0, 0.0], "b": [0.0, 2.0], "c": [5.0, 5.0]})
    found = explain(rows, BACKGROUND, linear)
    mean = BACKGROUND.mean()
    expected = np.column_stack([2 * (rows["a"] - mean["a"]), -3 * (rows["b"] - mean["b"]), 0 * rows["c"]])
    np.testing.assert_allclose(found["attributions"], expected, atol=1e-9)
    assert (found["method"], found["unit"], found["outputs"]) == ("exact", "output", [None, None])


def test_words_are_explained_by_what_the_model_makes_of_them_and_reach_it_as_words() -> None:
    rows = pd.DataFrame({"age": [50.0, 30.0], "plan": ["gold", None], "visits": [3, 4]})
    found = explain(rows, PEOPLE, fee)
    mean_fee, mean_age = PEOPLE["plan"].map(FEES).fillna(0.0).mean(), PEOPLE["age"].mean()
    expected = [[(50 - mean_age) / 10, 5 - mean_fee, 0], [(30 - mean_age) / 10, 0 - mean_fee, 0]]
    np.testing.assert_allclose(found["attributions"], expected, atol=1e-9)
    np.testing.assert_allclose(found["predictions"], [10, 3])
    assert found["columns"] == ["age", "plan", "visits"]


def test_a_word_that_the_training_sample_has_not_is_a_value_like_others(tmp_path: Path) -> None:
    PEOPLE.to_parquet(tmp_path / "reference.parquet")
    body = {"dataframe_records": [{"age": 40.0, "plan": "silver", "visits": 1}]}
    found = explain_rows(body, fee, reference=tmp_path / "reference.parquet")
    assert found["predictions"] == pytest.approx([4.0])


@pytest.mark.parametrize("width", [3, 20])
def test_base_and_attributions_sum_to_the_prediction_and_no_request_is_large(width: int) -> None:
    table = pd.DataFrame(DRAW.normal(size=(40, width))).rename(columns=str)
    sizes = []

    def product(rows: pd.DataFrame) -> list[float]:
        sizes.append(len(rows))
        return [float(value) for value in rows["0"] * rows["1"] + rows["2"] ** 2]

    rows = table.iloc[:2]
    found = explain(rows, table, product)
    total = np.asarray(found["base"]) + np.asarray(found["attributions"]).sum(axis=1)
    np.testing.assert_allclose(total, product(rows), atol=1e-6)
    assert found["method"] == ("exact" if width == 3 else "permutation")
    assert max(sizes) == (40 * 2**3 if width == 3 else ROWS_OF_A_REQUEST)


@pytest.mark.parametrize("scale", [1e-9, 1e6])
def test_small_and_large_answers_in_float32_are_steady_enough(scale: float) -> None:
    """The last bits differ with the number of rows that are asked for at once."""

    def single(rows: pd.DataFrame) -> list[float]:
        exact = scale * (1 + 1e-7 * (len(rows) % 3)) * (100 + rows["a"])
        return [float(value) for value in exact.astype("float32")]

    found = explain(BACKGROUND.iloc[:2], BACKGROUND, single)
    assert found["attributions"][0][0] == pytest.approx(
        scale * (BACKGROUND["a"].iloc[0] - BACKGROUND["a"].mean()), rel=0.01
    )


def test_a_model_that_answers_all_rows_alike_is_explained_by_nothing() -> None:
    found = explain(BACKGROUND.iloc[:2], BACKGROUND, lambda rows: [0.1] * len(rows))
    np.testing.assert_allclose(found["attributions"], 0, atol=1e-12)


def test_whole_numbers_are_compared_with_fractions_as_they_are() -> None:
    found = explain(pd.DataFrame({"a": [2]}), pd.DataFrame({"a": [0.5, 1.5]}), lambda rows: rows["a"].tolist())
    assert (found["base"], found["attributions"]) == ([1.0], [[1.0]])


def test_whole_numbers_that_are_missing_in_the_training_sample_are_not_asked_for(tmp_path: Path) -> None:
    sample = pd.DataFrame({"a": [1.0, 2.0, 3.0, 4.0], "k": pd.array([1, None, 3, None], dtype="Int64")})
    sample.to_parquet(tmp_path / "reference.parquet")
    asked: list[pd.DataFrame] = []

    def total(rows: pd.DataFrame) -> list[float]:
        asked.append(rows)
        return [float(value) for value in rows["a"] + rows["k"]]

    body = {"dataframe_records": [{"a": 2.0, "k": 4}]}
    found = explain_rows(body, total, reference=tmp_path / "reference.parquet")
    assert (found["base"], found["attributions"]) == ([4.0], [[0.0, 2.0]])
    assert {rows["k"].dtype.kind for rows in asked} == {"i"}


@pytest.mark.parametrize("rows", [0, 2])
def test_a_training_sample_without_a_row_that_can_be_asked_for_is_none(rows: int) -> None:
    sample = pd.DataFrame({"a": [1.0] * rows, "k": pd.array([None] * rows, dtype="Int64")})
    found = explain(pd.DataFrame({"a": [1.0, 3.0], "k": [1, 1]}), sample, lambda asked: asked["a"].tolist())
    assert found["base"] == [2.0, 2.0]
    with pytest.raises(CannotExplainError, match="log_reference"):
        explain(pd.DataFrame({"a": [1.0], "k": [1]}), sample, lambda asked: asked["a"].tolist())


def test_numbers_of_pandas_own_types_are_numbers() -> None:
    own = BACKGROUND.astype("Float64")
    own.loc[0, "c"] = pd.NA
    found = explain(BACKGROUND.iloc[1:3], own, linear)
    np.testing.assert_allclose(found["attributions"], explain(BACKGROUND.iloc[1:3], BACKGROUND, linear)["attributions"])


def test_of_several_outputs_the_largest_is_explained() -> None:
    found = explain(BACKGROUND.iloc[:2], BACKGROUND, lambda rows: [[0.0, 1.0 + a**2] for a in rows["a"]])
    assert found["outputs"] == [1, 1]
    np.testing.assert_allclose(found["predictions"], 1 + BACKGROUND["a"].iloc[:2] ** 2)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"inputs": [[1.0]]}, "no table"),
        ({"dataframe_records": [{"a": 1.0}]}, "log_reference"),
        ({"dataframe_records": [{"a": [1]}, {"a": [2]}]}, "column 'a' is neither number nor text"),
        ({"dataframe_split": {"columns": ["a", "a"], "data": [[1, 2], [3, 4]]}}, "column 'a' is there twice"),
        ({"dataframe_split": {"columns": ["a"], "data": []}}, "no rows"),
    ],
)
def test_what_cannot_be_explained_is_said(body: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(CannotExplainError, match=words):
        explain_rows(body, linear, reference=tmp_path / "none.parquet")


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda rows: ["yes"] * len(rows), "does not answer numbers"),
        (lambda rows: [[[1.0]]] * len(rows), "answers shape"),
        (lambda _: [1.0], "1 answers to 3 rows"),
        (lambda rows: [[]] * len(rows), "rows without a number in them"),
        (lambda rows: [None] * len(rows), "not with a number"),
        (lambda rows: DRAW.normal(size=len(rows)).tolist(), "differently each time"),
        (lambda rows: DRAW.normal(0, 1e-5, len(rows)).tolist(), "differently each time"),
        (lambda rows: DRAW.normal(1, 1e-5, len(rows)).tolist(), "differently each time"),
    ],
)
def test_a_model_that_cannot_be_explained_is_said(answer: Any, words: str) -> None:
    with pytest.raises(CannotExplainError, match=words):
        explain(BACKGROUND.iloc[:3], BACKGROUND, answer)
