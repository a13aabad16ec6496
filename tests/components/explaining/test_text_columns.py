"""Tables with text: explained by the original columns, through whatever the model makes of them."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from mlflow_deploy_plugin.attribution import shapley
from mlflow_deploy_plugin.attribution.coding import coding_of
from mlflow_deploy_plugin.attribution.table import table_of_values
from mlflow_deploy_plugin.serving.explaining.tables import table_of
from mlflow_deploy_plugin.serving.faults import RequestError
from mlflow_deploy_plugin.serving.request import Frame

DRAW = np.random.default_rng(0)
PEOPLE = pd.DataFrame(
    {
        "age": DRAW.normal(40, 10, 200),
        "plan": DRAW.choice(["basic", "gold"], 200),
        "city": DRAW.choice(["Łódź", "Oslo", "Rome"], 200),
    }
)


@pytest.fixture(scope="module")
def pipeline() -> Any:
    encoder = make_column_transformer((OneHotEncoder(), ["plan", "city"]), remainder="passthrough")
    gold = (PEOPLE["plan"] == "gold") ^ (PEOPLE["age"] > 55)
    return make_pipeline(encoder, LogisticRegression(max_iter=1000)).fit(PEOPLE, gold)


def by_codes(pipeline: Any, rows: Any, background: Any) -> tuple[Callable[[Any], Any], Any, Any]:
    coding = coding_of(background, rows)

    def answer(values: Any) -> Any:
        columns = {name: coding.decoded(values, place) for place, name in enumerate(PEOPLE.columns)}
        return pipeline.predict_proba(pd.DataFrame(columns).astype({"age": float}))

    return answer, coding.encoded(rows), coding.encoded(background)


@pytest.mark.parametrize("method", ["definition", "permutations"])
def test_attributions_of_text_add_up_to_the_pipelines_probability(pipeline: Any, method: str) -> None:
    rows, background = (table_of(Frame(frame=part)).rows for part in (PEOPLE[:4], PEOPLE[50:80]))
    asked = by_codes(pipeline, rows, background)
    found = (
        shapley.by_definition(*asked) if method == "definition" else shapley.by_permutations(*asked, rounds=5, seed=0)
    )
    total = found[0] + found[1].sum(axis=1)
    np.testing.assert_allclose(total, pipeline.predict_proba(PEOPLE[:4]), atol=1e-6)
    gold = np.where(PEOPLE["plan"][:4] == "gold", 1, -1)
    assert (np.sign(found[1][:, 1, 1]) == gold).all()  # the plan speaks for what it stands for


def test_text_survives_json_and_missing_text_is_a_value() -> None:
    frame = pd.DataFrame({"plan": ["gold", None], "age": [1, 2], "is_new": [True, False]})
    table = table_of(Frame(frame=frame))
    again = table_of_values(table.columns, table.rows.tolist())
    assert again.rows.tolist() == [["gold", 1, True], [None, 2, False]]
    coding = coding_of(again.rows)
    codes = coding.encoded(again.rows)
    assert codes.tolist() == [[0.0, 1.0, 1.0], [1.0, 2.0, 0.0]]
    assert coding.decoded(codes, 0).tolist() == ["gold", None]


def test_a_column_that_is_text_in_the_sample_alone_is_text() -> None:
    asked, sample = table_of_values(["a"], [[None]]), table_of_values(["a"], [["x"], [None]])
    coding = coding_of(sample.rows, asked.rows)
    assert coding.encoded(asked.rows).tolist() == [[1.0]]


@pytest.mark.parametrize("value", [pd.Timestamp("2026-01-01"), ["x"], b"x"])
def test_what_is_neither_number_nor_text_is_refused_by_name(value: Any) -> None:
    with pytest.raises(RequestError, match="column 'day' is neither number nor text"):
        table_of(Frame(frame=pd.DataFrame({"age": [1.0], "day": [value]})))


def test_columns_are_known_by_their_places_where_names_are_none_or_not_their_own() -> None:
    unnamed = table_of(Frame(frame=pd.DataFrame({0: [1.0, 2], 1: ["a", "b"]})))
    assert (unnamed.columns, unnamed.rows.tolist()) == (("0", "1"), [[1.0, "a"], [2.0, "b"]])
    repeated = table_of(Frame(frame=pd.DataFrame([["a", "b"]], columns=["x", "x"])))
    assert (repeated.columns, repeated.rows.tolist()) == (("x", "x"), [["a", "b"]])
    for columns in ([0, 1], ["x", "x"]):
        with pytest.raises(RequestError, match=f"column '{columns[1]}' is neither number nor text"):
            table_of(Frame(frame=pd.DataFrame([["a", b"b"]], columns=columns)))
