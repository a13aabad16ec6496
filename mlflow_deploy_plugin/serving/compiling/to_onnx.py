"""scikit-learn pipelines become ONNX graphs in double precision, by skl2onnx.

scikit-learn's trees round their input to float32 and compare it with a float64 threshold. A graph in double would
decide otherwise for values between the two, so the same rounding is put before them; all else stays double.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from mlflow_deploy_plugin.serving.compiling.estimators import steps_of
from mlflow_deploy_plugin.serving.compiling.refusal import RefusedError, first_line

if TYPE_CHECKING:
    from pathlib import Path

OPSET: Final = {"": 18, "ai.onnx.ml": 3}
"""Operators that onnxruntime has known since 1.14; trees take doubles since ai.onnx.ml 3."""


def write(estimator: Any, path: Path, *, features: int) -> None:  # noqa: ANN401  scikit-learn has no types
    """Write the graph of ``estimator`` for ``features`` columns.

    Raises:
        RefusedError: skl2onnx is not installed, or does not know a step.
    """
    try:
        from skl2onnx import to_onnx  # noqa: PLC0415  the extra [onnx]
        from skl2onnx.common.data_types import DoubleTensorType  # noqa: PLC0415
    except ImportError as error:
        raise RefusedError("skl2onnx is not installed; pip install 'modelserve[onnx]'") from error
    options = {"zipmap": False} if hasattr(estimator, "predict_proba") else None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            graph = to_onnx(
                _as_trees_see_it(estimator),
                initial_types=[("x", DoubleTensorType([None, features]))],
                options=options,
                target_opset=OPSET,
            )
    except Exception as error:  # its refusals have many types
        raise RefusedError(f"skl2onnx does not convert it ({first_line(error)})") from error
    path.write_bytes(graph.SerializeToString())


def _as_trees_see_it(estimator: Any) -> Any:  # noqa: ANN401
    """The pipeline, with the rounding of trees as steps of its own."""
    *before, last = steps_of(estimator)
    if not _is_of_trees(last):
        return estimator
    from skl2onnx.sklapi import CastTransformer  # noqa: PLC0415
    from sklearn.pipeline import make_pipeline  # noqa: PLC0415

    return make_pipeline(*before, CastTransformer(dtype=np.float32), CastTransformer(dtype=np.float64), last)


def _is_of_trees(estimator: Any) -> bool:  # noqa: ANN401
    members = np.ravel(np.array(getattr(estimator, "estimators_", ()), dtype=object))
    return hasattr(estimator, "tree_") or any(hasattr(member, "tree_") for member in members)
