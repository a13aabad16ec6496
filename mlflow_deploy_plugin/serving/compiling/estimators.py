"""Reading scikit-learn's pipelines: what scales, what predicts, and at which values a tree decides."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from mlflow_deploy_plugin.serving.compiling.refusal import RefusedError
from mlflow_deploy_plugin.serving.compiling.scaling import steps_of_scalers, unscaled

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

MOST_EDGES: Final = 64
"""Thresholds of one feature that become rows."""


def steps_of(estimator: Any) -> list[Any]:  # noqa: ANN401  scikit-learn has no types
    """The steps of a pipeline, nested ones in place; a bare estimator is its own only step."""
    from sklearn.pipeline import Pipeline  # noqa: PLC0415

    if not isinstance(estimator, Pipeline):
        return [estimator]
    steps = [step for _, step in estimator.steps if step is not None and not isinstance(step, str)]
    return [inner for step in steps for inner in steps_of(step)]


def thresholds_of(estimator: Any) -> dict[int, NDArray[np.float64]]:  # noqa: ANN401
    """By feature, values at which the trees within an estimator decide; empty where it has none."""
    *scalers, head = steps_of(estimator)
    found: dict[int, set[float]] = {}
    for feature, threshold in _decisions(head):
        values = found.setdefault(feature, set())
        if len(values) < MOST_EDGES:
            values.add(threshold)
    try:
        steps = steps_of_scalers(scalers) if found else ()
    except RefusedError:  # no form has such steps
        return {}
    return {feature: unscaled(steps, feature, np.array(sorted(values))) for feature, values in found.items()}


def _decisions(estimator: Any) -> Iterator[tuple[int, float]]:  # noqa: ANN401
    for tree in _trees(estimator):
        for feature, threshold in zip(tree.feature.tolist(), tree.threshold.tolist(), strict=True):
            if feature >= 0:  # -2 is a leaf
                yield feature, threshold
    for predictors in getattr(estimator, "_predictors", ()):  # of HistGradientBoosting
        for predictor in predictors:
            nodes = predictor.nodes[predictor.nodes["is_leaf"] == 0]
            yield from zip(nodes["feature_idx"].tolist(), nodes["num_threshold"].tolist(), strict=True)


def _trees(estimator: Any) -> Iterator[Any]:  # noqa: ANN401
    if hasattr(estimator, "tree_"):
        yield estimator.tree_
    members = getattr(estimator, "estimators_", ())
    for member in np.ravel(np.array(members, dtype=object)) if len(members) else ():
        yield from _trees(member)
