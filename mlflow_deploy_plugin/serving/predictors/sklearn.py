"""The straight path of scikit-learn: the estimator itself instead of the pyfunc around it.

Whether the estimator minds an array where it was fitted on named columns is tried at load (:mod:`.arrays`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from mlflow_deploy_plugin.serving.predictors.arrays import ArrayPredictor, compare
from mlflow_deploy_plugin.serving.predictors.base import Loaded

if TYPE_CHECKING:
    from mlflow_deploy_plugin.serving.predictors.base import Predictor
    from mlflow_deploy_plugin.serving.signature import Signature

LOADER: Final = "mlflow.sklearn"


def estimator_of(model: Any) -> Any:  # noqa: ANN401  a pyfunc model's own estimator
    """The scikit-learn estimator behind a pyfunc; None where there is none."""
    return getattr(getattr(model, "_model_impl", None), "sklearn_model", None)


def classifier(model: Any) -> Any:  # noqa: ANN401
    """The estimator, where it gives probabilities."""
    estimator = estimator_of(model)
    return estimator if hasattr(estimator, "predict_proba") else None


def straighten(plain: Predictor, model: Any, signature: Signature, *, predict_fn: str) -> Loaded:  # noqa: ANN401
    """The straight path where it is proven; else ``plain``, and why."""
    estimator = estimator_of(model)
    has_probability = classifier(model) is not None
    straight = ArrayPredictor(
        "sklearn-array",
        plain,
        getattr(estimator, predict_fn),
        estimator.predict_proba if has_probability else None,
    )
    verdict = compare(plain, straight, signature)
    return Loaded(
        predictor=straight if verdict.is_alike else plain,
        reason=verdict.reason,
        classes=classes_of(estimator, predict_fn),
        has_probability=has_probability,
        may_run_inline=verdict.is_alike,
    )


def classes_of(estimator: Any, predict_fn: str) -> tuple[Any, ...]:  # noqa: ANN401
    """The labels that ``predict_fn`` answers with; empty where it answers with something else."""
    classes = getattr(estimator, "classes_", None)
    if predict_fn != "predict" or classes is None or getattr(classes, "ndim", 0) != 1:
        return ()
    return tuple(classes.tolist())
