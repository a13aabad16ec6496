"""The straight path of scikit-learn: arrays instead of DataFrames, where the pyfunc gives the very same answer.

A DataFrame built per call and MLflow's enforcement cost several times the model. Both are skipped for a
:class:`..request.Matrix`, whose codec has proven columns and types. Whether the estimator itself minds (it may pick
columns by name) is tried at load on generated rows; every other payload still goes through the pyfunc.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from mlflow_deploy_plugin.serving.predictors import samples
from mlflow_deploy_plugin.serving.predictors.base import Loaded, Output
from mlflow_deploy_plugin.serving.predictors.checks import are_alike
from mlflow_deploy_plugin.serving.request import Matrix

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mlflow_deploy_plugin.serving.predictors.base import Predictor
    from mlflow_deploy_plugin.serving.request import Payload, Wants
    from mlflow_deploy_plugin.serving.signature import Signature

LOADER: Final = "mlflow.sklearn"
TOLERANCE: Final = 1e-9
"""Relative; what the order of additions may change in a float64, and no more."""


class SklearnArrayPredictor:
    """Runs a Matrix on the estimator, and anything else on ``plain``."""

    name = "sklearn-array"

    def __init__(self, plain: Predictor, estimator: Any, predict_fn: str, *, has_probability: bool) -> None:  # noqa: ANN401
        self._plain = plain
        self._predict = getattr(estimator, predict_fn)
        self._probability = estimator.predict_proba if has_probability else None

    def predict(self, payload: Payload, params: Mapping[str, Any] | None, wants: Wants) -> Output:
        """Ask the estimator directly; parameters, which no estimator takes, are for MLflow to refuse."""
        if type(payload) is not Matrix or params:
            return self._plain.predict(payload, params, wants)
        values = np.asfortranarray(payload.values)  # as a DataFrame hands them over, so that BLAS rounds alike
        prediction = self._predict(values)
        if wants == "prediction" or self._probability is None:
            return Output(prediction)
        return Output(prediction, self._probability(values))

    def stream(self, payload: Payload, params: Mapping[str, Any] | None) -> Iterator[Any]:
        """As the pyfunc does, which refuses."""
        return self._plain.stream(payload, params)


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
    straight = SklearnArrayPredictor(plain, estimator, predict_fn, has_probability=has_probability)
    verdict = _compare(plain, straight, signature)
    return Loaded(
        predictor=straight if verdict.is_alike else plain,
        reason=verdict.reason,
        classes=_classes(estimator, predict_fn),
        has_probability=has_probability,
        may_run_inline=verdict.is_alike,
    )


class _Verdict(NamedTuple):
    is_alike: bool
    reason: str


def _compare(plain: Predictor, straight: Predictor, signature: Signature) -> _Verdict:
    payload = samples.payload(signature)
    if not isinstance(payload, Matrix):
        return _Verdict(is_alike=False, reason="the signature is no table of named numbers of one type")
    # An array has no column names, and the codec has proven their order: the estimator's reminder is no news.
    warnings.filterwarnings("ignore", message="X does not have valid feature names", category=UserWarning)
    try:
        expected = plain.predict(payload, None, "probability")
        found = straight.predict(payload, None, "probability")
    except Exception as error:  # noqa: BLE001  any refusal of generated rows just means: not proven
        return _Verdict(is_alike=False, reason=f"not proven on generated rows ({type(error).__name__})")
    for tolerance, words in ((0.0, "to the last bit"), (TOLERANCE, f"within {TOLERANCE:g}")):
        if all(are_alike(one, other, tolerance=tolerance) for one, other in zip(expected, found, strict=True)):
            return _Verdict(is_alike=True, reason=f"the pyfunc's answers on generated rows, {words}")
    return _Verdict(is_alike=False, reason="arrays and DataFrames are answered differently")


def _classes(estimator: Any, predict_fn: str) -> tuple[Any, ...]:  # noqa: ANN401
    classes = getattr(estimator, "classes_", None)
    if predict_fn != "predict" or classes is None or getattr(classes, "ndim", 0) != 1:
        return ()
    return tuple(classes.tolist())
