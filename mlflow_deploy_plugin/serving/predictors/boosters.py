"""The straight path of XGBoost and LightGBM: their own array methods, where the pyfunc gives the very same answer.

Both libraries take an array without building their own matrix of it (``Booster.inplace_predict``, ``Booster.predict``),
or through their scikit-learn classes. Threads are the library's own and follow ``OMP_NUM_THREADS``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from mlflow_deploy_plugin.serving.predictors.arrays import ArrayPredictor, compare
from mlflow_deploy_plugin.serving.predictors.base import Loaded
from mlflow_deploy_plugin.serving.predictors.sklearn import classes_of

if TYPE_CHECKING:
    from mlflow_deploy_plugin.serving.predictors.base import Predictor
    from mlflow_deploy_plugin.serving.signature import Signature

KINDS: Final = {"mlflow.xgboost": ("xgboost-array", "xgb_model"), "mlflow.lightgbm": ("lightgbm-array", "lgb_model")}
"""Loader → name of the path, and where MLflow's wrapper keeps the model."""


def booster_of(model: Any, loader: str) -> Any:  # noqa: ANN401  foreign, and imported lazily
    """The model behind a pyfunc of ``loader``; None where it is none of these."""
    _, attribute = KINDS.get(loader, ("", ""))
    return getattr(getattr(model, "_model_impl", None), attribute, None) if attribute else None


def straighten(plain: Predictor, booster: Any, loader: str, signature: Signature) -> Loaded:  # noqa: ANN401
    """The straight path where it is proven; else ``plain``, and why."""
    probability = getattr(booster, "predict_proba", None)
    ask = getattr(booster, "inplace_predict", None) or booster.predict
    straight = ArrayPredictor(KINDS[loader][0], plain, ask, probability)
    verdict = compare(plain, straight, signature)
    return Loaded(
        predictor=straight if verdict.is_alike else plain,
        reason=verdict.reason,
        classes=classes_of(booster, "predict"),
        has_probability=probability is not None,
        may_run_inline=verdict.is_alike,
    )
