"""What a model returns for a batch is dealt back exactly, or not at all."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlflow_deploy_plugin.serving.outputs import UnsplittableError, count_classes, named_arrays, split

SHAPES: dict[str, Any] = {
    "array": np.array,
    "matrix": lambda values: np.array([[value, -value] for value in values]),
    "list": list,
    "frame": lambda values: pd.DataFrame({"y": values}),
    "series": pd.Series,
    "dict": lambda values: {"y": np.array(values)},
}


def rows(output: Any) -> list[Any]:
    if isinstance(output, dict):
        output = output["y"]
    if isinstance(output, pd.DataFrame):
        output = output["y"]
    return np.asarray(output).tolist()


@given(sizes=st.lists(st.integers(1, 5), min_size=1, max_size=8), shape=st.sampled_from(sorted(SHAPES)))
def test_every_request_gets_its_own_rows(sizes: list[int], shape: str) -> None:
    values = list(range(1, sum(sizes) + 1))
    parts = split(SHAPES[shape](values), sizes)
    assert [len(rows(part)) for part in parts] == sizes
    assert [row for part in parts for row in rows(part)] == rows(SHAPES[shape](values))


@pytest.mark.parametrize("output", [1.5, "text", None, [1, 2], np.array(1.0), {"y": [1]}, {}, pd.Series([1])])
def test_an_output_without_one_entry_per_row_is_not_split(output: Any) -> None:
    with pytest.raises(UnsplittableError):
        split(output, [1, 2])


def test_names_come_from_the_output_or_the_signature() -> None:
    assert list(named_arrays({"a": [1], "b": [2]})) == ["a", "b"]
    assert list(named_arrays(pd.DataFrame({"p": [1], "q": [2]}))) == ["p", "q"]
    assert list(named_arrays(np.array([1]), ["score"])) == ["score"]
    assert list(named_arrays([1, 2])) == ["output-0"]


def test_classes_are_counted_and_strangers_are_other() -> None:
    index = {0: 0, 1: 1}
    assert count_classes(np.array([0, 1, 1, 7]), index) == {0: 1, 1: 2, -1: 1}
    assert count_classes(pd.Series([1, 0]), index) == {0: 1, 1: 1}
    assert count_classes([[0.5, 0.5]], index) == {-1: 1}
    assert count_classes(3.5, index) == {-1: 1}
