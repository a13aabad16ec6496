"""Scalers and a linear model become a :class:`..compiled.linear.LinearForm`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mlflow_deploy_plugin.serving.compiled.linear import LinearForm, Link
from mlflow_deploy_plugin.serving.compiling.estimators import steps_of
from mlflow_deploy_plugin.serving.compiling.refusal import RefusedError
from mlflow_deploy_plugin.serving.compiling.scaling import steps_of_scalers

if TYPE_CHECKING:
    from collections.abc import Iterator


def forms(estimator: Any) -> Iterator[LinearForm]:  # noqa: ANN401  scikit-learn has no types
    """The forms that may be this estimator: one for each meaning that its scores may have.

    Raises:
        RefusedError: it is no chain of known scalers and a linear model.
    """
    *scalers, head = steps_of(estimator)
    steps = steps_of_scalers(scalers)
    coefficients, intercept = _weights(head)
    for link in _links(head, scores=coefficients.shape[1]):
        yield LinearForm(steps=steps, coefficients=coefficients, intercept=intercept, link=link)


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
