"""What is proven of a model before it serves: that two paths answer alike, that its rows do not see each other."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from mlflow_deploy_plugin.serving.outputs import UnsplittableError, split
from mlflow_deploy_plugin.serving.payloads import row_count, rows_between

if TYPE_CHECKING:
    from mlflow_deploy_plugin.serving.predictors.base import Predictor
    from mlflow_deploy_plugin.serving.request import Payload
    from mlflow_deploy_plugin.serving.signature import TensorSpec

TOLERANCE: Final = 1e-3
"""Relative to the largest value. A row rounds otherwise alone than within a batch; a model that looks across its rows,
which is what is sought here, differs by more. Half precision rounds by more than some models look."""


def are_alike(one: Any, other: Any, *, tolerance: float = 0.0) -> bool:  # noqa: ANN401  outputs of any model
    """Whether two outputs say the same: equal kind, names, shape and values; NaN equals NaN."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(are_alike(one[n], other[n], tolerance=tolerance) for n in one)
    pandas = sys.modules.get("pandas")
    if pandas is not None and isinstance(one, pandas.DataFrame):
        same = list(one.columns) == list(other.columns)
        return same and all(_are_close(one[name], other[name], tolerance) for name in one.columns)
    return _are_close(one, other, tolerance)


def _are_close(one: Any, other: Any, tolerance: float) -> bool:  # noqa: ANN401
    try:
        left, right = np.asarray(one), np.asarray(other)
    except ValueError:  # ragged lists
        return bool(one == other)
    if left.shape != right.shape:
        return False
    if left.dtype.kind in "fc" and right.dtype.kind in "fc":
        scale = float(np.nanmax(np.abs(left), initial=0.0)) if tolerance else 0.0
        return np.allclose(left, right, rtol=tolerance, atol=tolerance * scale, equal_nan=True)
    return bool(np.array_equal(left, right))


def fits(array: np.ndarray[Any, np.dtype[Any]], spec: TensorSpec) -> bool:
    """Whether MLflow's enforcement would let it pass unchanged; what it would not, it shall refuse itself."""
    return array.dtype == np.dtype(spec.dtype) and spec.takes(array.shape) and len(array) > 0


def why_not_batch(predictor: Predictor, payload: Payload) -> str:
    """Why this model must not be batched, by trying; empty: its rows answer alike alone and together.

    A model that answers differently to the same input (a sampler) cannot be judged this way and is let through.
    """
    if row_count(payload) < 2:  # noqa: PLR2004  one row has no company
        return ""
    rows = single_rows(payload)
    together = predictor.predict(payload, None, "prediction").prediction
    try:
        parts = split(together, [1] * len(rows))
    except UnsplittableError as error:
        return str(error)
    alone = [predictor.predict(row, None, "prediction").prediction for row in rows]
    if all(are_alike(part, one, tolerance=TOLERANCE) for part, one in zip(parts, alone, strict=True)):
        return ""
    again = predictor.predict(rows[0], None, "prediction").prediction
    if not are_alike(alone[0], again, tolerance=TOLERANCE):
        return ""
    return "a row is answered differently alone and among others"


def single_rows(payload: Payload) -> list[Payload]:
    """Each row as a payload of its own, at most eight."""
    count = min(row_count(payload), 8)
    return [rows_between(payload, index, index + 1) for index in range(count)]
