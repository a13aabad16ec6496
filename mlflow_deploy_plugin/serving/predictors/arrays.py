"""The straight path of tables: arrays instead of DataFrames, where the pyfunc gives the very same answer.

A DataFrame built per call and MLflow's enforcement cost several times the model. Both are skipped for a
:class:`..request.Matrix`, whose codec has proven columns and types. Whether the model itself minds (it may pick columns
by name) is tried at load on generated rows; every other payload still goes through the pyfunc.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from mlflow_deploy_plugin.serving.predictors import samples
from mlflow_deploy_plugin.serving.predictors.base import Output
from mlflow_deploy_plugin.serving.predictors.checks import are_alike
from mlflow_deploy_plugin.serving.request import Matrix

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from mlflow_deploy_plugin.serving.predictors.base import Predictor
    from mlflow_deploy_plugin.serving.request import Payload, Wants
    from mlflow_deploy_plugin.serving.signature import Signature

    Ask = Callable[[Any], Any]
    """From (rows, features) to the model's answers."""

TOLERANCE: Final = 1e-9
"""Relative; what the order of additions may change in a float64, and no more."""


class ArrayPredictor:
    """Runs a Matrix on the model's own method, and anything else on ``plain``."""

    def __init__(self, name: str, plain: Predictor, ask: Ask, ask_probability: Ask | None = None) -> None:
        self.name = name
        self._plain = plain
        self._ask = ask
        self._ask_probability = ask_probability

    def predict(self, payload: Payload, params: Mapping[str, Any] | None, wants: Wants) -> Output:
        """Ask the model directly; parameters are for MLflow to pass on or refuse."""
        if type(payload) is not Matrix or params:
            return self._plain.predict(payload, params, wants)
        values = np.asfortranarray(payload.values)  # as a DataFrame hands them over, so that BLAS rounds alike
        prediction = self._ask(values)
        if wants == "prediction" or self._ask_probability is None:
            return Output(prediction)
        return Output(prediction, self._ask_probability(values))

    def stream(self, payload: Payload, params: Mapping[str, Any] | None) -> Iterator[Any]:
        """As the pyfunc does, which refuses."""
        return self._plain.stream(payload, params)


class Verdict(NamedTuple):
    """Whether a straight path may serve, and why or why not."""

    is_alike: bool
    reason: str


def compare(plain: Predictor, straight: Predictor, signature: Signature) -> Verdict:
    """Hold ``straight`` against ``plain`` on generated rows."""
    payload = samples.payload(signature)
    if not isinstance(payload, Matrix):
        return Verdict(is_alike=False, reason="the signature is no table of named numbers of one type")
    # An array has no column names, and the codec has proven their order: the estimator's reminder is no news.
    warnings.filterwarnings("ignore", message="X does not have valid feature names", category=UserWarning)
    try:
        expected = plain.predict(payload, None, "probability")
        found = straight.predict(payload, None, "probability")
    except Exception as error:  # noqa: BLE001  any refusal of generated rows just means: not proven
        return Verdict(is_alike=False, reason=f"not proven on generated rows ({type(error).__name__})")
    for tolerance, words in ((0.0, "to the last bit"), (TOLERANCE, f"within {TOLERANCE:g}")):
        if all(are_alike(one, other, tolerance=tolerance) for one, other in zip(expected, found, strict=True)):
            return Verdict(is_alike=True, reason=f"the pyfunc's answers on generated rows, {words}")
    return Verdict(is_alike=False, reason="arrays and DataFrames are answered differently")
