"""Only what the model cannot tell apart is joined, and joining loses nothing."""

import numpy as np
import pandas as pd
import pytest

from mlflow_deploy_plugin.serving.payloads import group, join, plain, row_count
from mlflow_deploy_plugin.serving.request import Frame, Matrix, Payload, Raw, Tensor, Tensors


def frame(**columns: list[object]) -> Frame:
    return Frame(frame=pd.DataFrame(columns))


def matrix(*rows: list[float], columns: tuple[str, ...] = ("a", "b")) -> Matrix:
    return Matrix(values=np.array(rows), columns=columns)


JOINABLE = [
    (matrix([1.0, 2.0]), matrix([3.0, 4.0], [5.0, 6.0])),
    (frame(a=[1], b=["x"]), frame(a=[2, 3], b=["y", "z"])),
    (Tensor(array=np.zeros((1, 3))), Tensor(array=np.ones((2, 3)))),
    (Tensors(arrays={"x": np.zeros((1, 2))}), Tensors(arrays={"x": np.ones((2, 2))})),
]

SEPARATE = [
    (matrix([1.0, 2.0]), matrix([1.0, 2.0], columns=("b", "a"))),
    (matrix([1.0, 2.0]), frame(a=[1.0], b=[2.0])),
    (frame(a=[1]), frame(a=[1.5])),
    (frame(a=[1]), frame(b=[1])),
    (frame(a=[1, None]), frame(a=[1, 2])),
    (frame(a=[[1], [2]]), frame(a=[{"x": 1}, {"x": 2}])),
    (Tensor(array=np.zeros((1, 3))), Tensor(array=np.zeros((1, 4)))),
    (Tensor(array=np.zeros((1, 3))), Tensor(array=np.zeros((1, 3), dtype="float32"))),
    (Tensors(arrays={"x": np.zeros((1, 2))}), Tensors(arrays={"y": np.zeros((1, 2))})),
]

ALONE: list[Payload] = [
    Raw(value=[1, 2]),
    Tensor(array=np.float64(1.0).reshape(())),
    Tensor(array=np.array([[1, "x"]], dtype=object)),
    Tensor(array=np.zeros((0, 3))),
    Tensors(arrays={"x": np.zeros((1, 2)), "y": np.zeros((2, 2))}),
    Frame(frame=pd.DataFrame({"a": [1, 2]}, index=[5, 6])),
    Frame(frame=pd.DataFrame({"a": []})),
]


@pytest.mark.parametrize(("one", "other"), JOINABLE)
def test_equal_kinds_are_joined_row_by_row(one: Payload, other: Payload) -> None:
    assert group(one, None, "prediction") == group(other, None, "prediction") is not None
    joined = join([one, other])
    assert row_count(joined) == 3
    assert type(joined) is type(one)


@pytest.mark.parametrize(("one", "other"), SEPARATE)
def test_what_differs_is_not_joined(one: Payload, other: Payload) -> None:
    assert group(one, None, "prediction") != group(other, None, "prediction")


@pytest.mark.parametrize("payload", ALONE)
def test_what_cannot_be_proven_equal_runs_alone(payload: Payload) -> None:
    assert group(payload, None, "prediction") is None


@pytest.mark.parametrize(("one", "other"), [({"t": 1}, {"t": 2}), ({"t": 1}, {"t": True}), ({"t": 1}, None)])
def test_other_params_are_not_joined(one: dict[str, object], other: dict[str, object] | None) -> None:
    payload = matrix([1.0, 2.0])
    assert group(payload, one, "prediction") != group(payload, other, "prediction")


def test_the_order_of_params_does_not_matter() -> None:
    payload = matrix([1.0, 2.0])
    assert group(payload, {"a": 1, "b": 2}, "prediction") == group(payload, {"b": 2, "a": 1}, "prediction")


def test_wanting_probabilities_is_another_group() -> None:
    payload = matrix([1.0, 2.0])
    assert group(payload, None, "prediction") != group(payload, None, "probability")


def test_a_model_that_writes_into_its_input_does_not_change_the_request() -> None:
    tensor, table = Tensor(array=np.zeros(2)), frame(a=[1, 2])
    given_array, given_frame = plain(tensor), plain(table)
    given_array[0] = 9
    given_frame["new"] = 1
    assert tensor.array.tolist() == [0, 0]
    assert list(table.frame.columns) == ["a"]
