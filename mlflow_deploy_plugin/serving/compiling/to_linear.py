"""Scalers and a linear model become a :class:`..compiled.linear.LinearForm`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mlflow_deploy_plugin.serving.compiled.linear import LinearForm, Link, Op, Step
from mlflow_deploy_plugin.serving.compiling.estimators import steps_of
from mlflow_deploy_plugin.serving.compiling.refusal import RefusedError

if TYPE_CHECKING:
    from collections.abc import Iterator


def forms(estimator: Any) -> Iterator[LinearForm]:  # noqa: ANN401  scikit-learn has no types
    """The forms that may be this estimator: one for each meaning that its scores may have.

    Raises:
        RefusedError: it is no chain of known scalers and a linear model.
    """
    *scalers, head = steps_of(estimator)
    steps = tuple(step for scaler in scalers for step in _scaling(scaler))
    coefficients, intercept = _weights(head)
    for link in _links(head, scores=coefficients.shape[1]):
        yield LinearForm(steps=steps, coefficients=coefficients, intercept=intercept, link=link)


def _scaling(scaler: Any) -> list[Step]:  # noqa: ANN401
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
        case preprocessing.MaxAbsScaler():
            steps = [("divide", scaler.scale_)]
        case preprocessing.MinMaxScaler() if not scaler.clip:
            steps = [("multiply", scaler.scale_), ("add", scaler.min_)]
        case _:
            raise RefusedError(f"{type(scaler).__name__} has no linear form")
    return [Step(op, np.array(vector, dtype=np.float64)) for op, vector in steps if vector is not None]


def _weights(head: Any) -> tuple[Any, Any]:  # noqa: ANN401
    """(features, scores) and (scores,)."""
    coefficients = getattr(head, "coef_", None)
    if not isinstance(coefficients, np.ndarray) or coefficients.dtype.kind != "f" or not hasattr(head, "intercept_"):
        raise RefusedError(f"{type(head).__name__} has no linear form")
    matrix = np.asfortranarray(np.atleast_2d(coefficients).astype(np.float64).T)
    return matrix, np.broadcast_to(np.asarray(head.intercept_, dtype=np.float64), matrix.shape[1:]).copy()


def _links(head: Any, *, scores: int) -> tuple[Link, ...]:  # noqa: ANN401
    if not hasattr(head, "classes_"):
        return ("values",)
    if not hasattr(head, "predict_proba"):
        return ("labels",)
    return ("logistic",) if scores == 1 else ("softmax", "one-vs-rest")
