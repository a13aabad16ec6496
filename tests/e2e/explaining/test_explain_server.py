"""Explanations from a running server, over its own way and TorchServe's."""

from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
import pytest

pytest.importorskip("shap", reason="the extra modelserve[explain] is not installed")

pytestmark = pytest.mark.e2e

ROWS = [
    {"age": 1.0, "income": 0.5, "visits": 0.0, "plan": "gold"},
    {"age": -1.0, "income": 0.5, "visits": 2.0, "plan": "basic"},
]


def post(url: str, document: Any) -> httpx.Response:
    return httpx.post(url, json=document, timeout=100)


@pytest.fixture(scope="session")
def server(serve: Callable[..., str]) -> str:
    return serve(MODELSERVE_TIMEOUT_S="90")


def test_a_classifier_is_explained_by_the_probability_that_it_predicts(server: str) -> None:
    answer = post(f"{server}/endpoints/churn/explain", {"dataframe_records": ROWS})
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert (told["method"], told["unit"]) == ("exact", "probability")  # a column is text, so by the answers alone
    assert told["columns"] == ["age", "income", "visits", "plan"]
    assert abs(told["attributions"][0][3]) > 0.05  # the plan turns the answer over
    predicted = [post(f"{server}/predict", {"features": row}).json() for row in ROWS]
    assert told["outputs"] == [one["prediction"] for one in predicted]
    np.testing.assert_allclose(told["predictions"], [one["probability"] for one in predicted], atol=1e-9)
    total = np.asarray(told["base"]) + np.asarray(told["attributions"]).sum(axis=1)
    np.testing.assert_allclose(total, told["predictions"], atol=1e-6)
    assert answer.headers["x-model-version"] == told["deployment"]


def test_torchserve_tells_the_same_item_by_item(server: str) -> None:
    whole = post(f"{server}/explain", {"dataframe_records": ROWS}).json()
    one = post(f"{server}/explanations/churn", ROWS[0]).json()
    assert list(one["attributions"].values()) == whole["attributions"][0]
    assert (list(one["attributions"]), one["unit"]) == (whole["columns"], "probability")
    assert [item["base"] for item in post(f"{server}/explanations/churn", ROWS).json()] == whole["base"]


@pytest.mark.parametrize(
    ("document", "status", "words"),
    [
        ({"dataframe_records": [{"age": 1.0}]}, 400, "income"),
        ({"dataframe_records": ROWS * 20}, 400, "send 1 to 32"),
        ({"dataframe_records": "?"}, 400, ""),
    ],
)
def test_what_cannot_be_explained_is_the_clients_error(server: str, document: Any, status: int, words: str) -> None:
    answer = post(f"{server}/explain", document)
    assert (answer.status_code, words in answer.text) == (status, True), answer.text


def test_explanations_leave_no_trace_in_the_model_s_error_rate(server: str) -> None:
    metrics = httpx.get(f"{server}/metrics").text
    assert 'prediction_class="none",status="error"} 0' in metrics
    assert 'protocol="mlflow",route="/explain",code="200"' in metrics


def test_without_shap_the_way_out_is_told(serve: Callable[..., str], tmp_path: Any) -> None:
    (tmp_path / "shap.py").write_text("raise ImportError('not installed')")
    answer = post(f"{serve(PYTHONPATH=str(tmp_path))}/explain", {"dataframe_records": ROWS})
    assert (answer.status_code, "modelserve[explain]" in answer.text) == (501, True), answer.text
