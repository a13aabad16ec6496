"""Scalers of scikit-learn as operations on every row."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from mlflow_deploy_plugin.serving.compiled.linear import OPS, Step, applied
from mlflow_deploy_plugin.serving.compiling.refusal import RefusedError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    from mlflow_deploy_plugin.serving.compiled.linear import Op

PROBE_SEED: Final = 20260101
PROBE_ROWS: Final = 64
INVERSE: Final[Mapping[Op, Op]] = {"subtract": "add", "add": "subtract", "multiply": "divide", "divide": "multiply"}


def steps_of_scalers(scalers: Iterable[Any], *, kind: str = "float64") -> tuple[Step, ...]:
    """The operations of a chain of scalers, for columns of NumPy's type ``kind``.

    Raises:
        RefusedError: one of them is none that is known, or computes otherwise.
    """
    return tuple(step for scaler in scalers for step in _of_type(scaler, _scaling(scaler), kind))


def unscaled(steps: tuple[Step, ...], feature: int, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Values of one feature before the steps, but for their last digits.

    >>> unscaled((Step("multiply", np.array([2.0])), Step("add", np.array([1.0]))), 0, np.array([5.0]))
    array([2.])
    """
    for step in reversed(steps):
        values = OPS[INVERSE[step.op]](values, step.vector[feature])
    return values


def _of_type(scaler: Any, steps: list[Step], kind: str) -> list[Step]:  # noqa: ANN401
    """The steps in double, or with vectors rounded to float32: as this scikit-learn's scaler does with float32."""
    if kind != "float32":
        return steps
    rows = np.random.default_rng(PROBE_SEED).normal(scale=10.0, size=(PROBE_ROWS, scaler.n_features_in_))
    tried = rows.astype(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of columns without names
        expected = scaler.transform(tried)
    rounded = [Step(step.op, step.vector.astype(np.float32).astype(np.float64)) for step in steps]
    for candidate in (steps, rounded):
        if np.array_equal(applied(candidate, tried), expected):
            return candidate
    raise RefusedError(f"{type(scaler).__name__} computes float32 in a way that is not known")


def _scaling(scaler: Any) -> list[Step]:  # noqa: ANN401  scikit-learn has no types
    from sklearn import preprocessing  # noqa: PLC0415

    steps: list[tuple[Op, Any]]
    match scaler:
        case preprocessing.StandardScaler():
            steps = [
                ("subtract", scaler.mean_ if scaler.with_mean else None),
                ("divide", scaler.scale_ if scaler.with_std else None),
            ]
        case preprocessing.RobustScaler():
            steps = [
                ("subtract", scaler.center_ if scaler.with_centering else None),
                ("divide", scaler.scale_ if scaler.with_scaling else None),
            ]
        case preprocessing.MaxAbsScaler() if not getattr(scaler, "clip", False):
            steps = [("divide", scaler.scale_)]
        case preprocessing.MinMaxScaler() if not scaler.clip:
            steps = [("multiply", scaler.scale_), ("add", scaler.min_)]
        case _:
            raise RefusedError(f"{type(scaler).__name__} is no scaler that is known")
    return [Step(op, np.array(vector, dtype=np.float64)) for op, vector in steps if vector is not None]
