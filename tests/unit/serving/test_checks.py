"""What is proven of a model before it is batched or taken a straight path."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from mlflow_deploy_plugin.serving.predictors.checks import are_alike, why_not_batch
from mlflow_deploy_plugin.serving.predictors.fake import EchoPredictor
from mlflow_deploy_plugin.serving.predictors.samples import invocation, payload
from mlflow_deploy_plugin.serving.request import Matrix, Tensor
from mlflow_deploy_plugin.serving.signature import Column, Signature, TensorSpec

ROWS = Tensor(array=np.array([[1.0], [2.0], [4.0]]))


def test_a_model_of_independent_rows_may_be_batched() -> None:
    assert why_not_batch(EchoPredictor(), ROWS) == ""


def test_a_model_that_looks_across_rows_may_not() -> None:
    predictor = EchoPredictor(answer=lambda column: column - column.mean())
    assert "differently" in why_not_batch(predictor, ROWS)


def test_a_model_that_sums_up_may_not() -> None:
    assert "for 3 rows" in why_not_batch(EchoPredictor(answer=lambda column: float(column.sum())), ROWS)


def test_a_sampler_cannot_be_judged_and_is_let_through() -> None:
    dice = np.random.default_rng(1)
    assert why_not_batch(EchoPredictor(answer=lambda column: dice.normal(size=len(column))), ROWS) == ""


ALIKE: list[tuple[Any, Any]] = [
    (np.array([1.0, np.nan]), np.array([1.0, np.nan])),
    ({"a": np.array([1])}, {"a": np.array([1])}),
    (pd.DataFrame({"a": ["x"]}), pd.DataFrame({"a": ["x"]})),
    ([[1], [1, 2]], [[1], [1, 2]]),
    (None, None),
]
UNLIKE: list[tuple[Any, Any]] = [
    (np.array([1.0]), np.array([1.0 + 1e-9])),
    (np.array([1.0]), np.array([[1.0]])),
    (np.array([1.0]), [1.0]),
    ({"a": np.array([1])}, {"b": np.array([1])}),
    (pd.DataFrame({"a": [1]}), pd.DataFrame({"b": [1]})),
    (np.array(["a"]), np.array(["b"])),
]


@pytest.mark.parametrize(("one", "other"), ALIKE)
def test_equal_outputs_are_alike(one: Any, other: Any) -> None:
    assert are_alike(one, other)


@pytest.mark.parametrize(("one", "other"), UNLIKE)
def test_unequal_outputs_are_not(one: Any, other: Any) -> None:
    assert not are_alike(one, other)


def test_a_tolerance_forgives_rounding_only() -> None:
    assert are_alike(np.array([1.0, 0.0]), np.array([1.0 + 1e-9, 1e-12]), tolerance=1e-6)
    assert not are_alike(np.array([1.0]), np.array([1.1]), tolerance=1e-6)


def test_rows_are_generated_from_the_signature_and_always_the_same() -> None:
    table = Signature(inputs=(Column(name="a", type="long"), Column(name="b", type="long")))
    one, other = payload(table, rows=4), payload(table, rows=4)
    assert isinstance(one, Matrix)
    assert isinstance(other, Matrix)
    assert (one.values.dtype, one.values.shape) == (np.int64, (4, 2))  # noqa: PD011  no frame
    assert np.array_equal(one.values, other.values)
    pixels = payload(Signature(inputs=(TensorSpec(name="", dtype="float32", shape=(-1, 3, -1)),)), rows=2)
    assert isinstance(pixels, Tensor)
    assert pixels.array.shape == (2, 3, 1)
    assert payload(Signature()) is None


def test_an_invocation_is_made_for_every_signature_that_says_enough() -> None:
    mixed = Signature(inputs=(Column(name="s", type="string"), Column(name="t", type="datetime")))
    assert invocation(mixed) == {"dataframe_split": {"columns": ["s", "t"], "data": [["text", "2026-01-02T03:04:05"]]}}
    named = Signature(inputs=(TensorSpec(name="x", dtype="float32", shape=(-1, 2)),))
    assert invocation(named) == {"inputs": {"x": [[0.0, 0.0]]}}
    assert invocation(Signature(inputs=(Column(name="o", type="complex"),))) is None
    assert invocation(Signature()) is None
