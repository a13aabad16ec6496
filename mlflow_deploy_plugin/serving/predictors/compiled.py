"""A Bento's compiled form, with the generic path asleep behind it: no MLflow, scikit-learn or pandas is imported.

The form answers tables of finite numbers whose columns and types a codec has proven. Anything else is the generic
path's: a frame, parameters, and NaN, which a model may refuse or know a way for. That path is loaded when the first
such request comes, in a thread of its own, while others are answered.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import replace
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from mlflow_deploy_plugin.errors import ModelError
from mlflow_deploy_plugin.serving.compiled import store
from mlflow_deploy_plugin.serving.compiled.form import BeyondFormError, Typed
from mlflow_deploy_plugin.serving.faults import AsleepError
from mlflow_deploy_plugin.serving.predictors import pyfunc
from mlflow_deploy_plugin.serving.predictors.base import Loaded, Output
from mlflow_deploy_plugin.serving.request import Matrix

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from mlflow_deploy_plugin.serving.predictors.base import LoadRequest, Predictor
    from mlflow_deploy_plugin.serving.request import Payload, Wants

_logger = logging.getLogger("modelserve.compiled")


class SleepingPredictor:
    """A predictor that is loaded when it is needed."""

    name = "sleeping"

    def __init__(self, load: Callable[[], Predictor]) -> None:
        self._load = load
        self._awake: Predictor | None = None
        self._lock = threading.Lock()

    def wake(self) -> None:
        """Load it, unless it is loaded; from any thread.

        Raises:
            ModelError: it does not load.
        """
        with self._lock:
            if self._awake is None:
                began = perf_counter()
                self._awake = self._load()
                _logger.info("a request needs %s, which was loaded in %.1f s", self._awake.name, perf_counter() - began)

    def predict(self, payload: Payload, params: Mapping[str, Any] | None, wants: Wants) -> Output:
        """What the loaded one answers.

        Raises:
            AsleepError: it is not loaded yet.
        """
        return self._predictor().predict(payload, params, wants)

    def stream(self, payload: Payload, params: Mapping[str, Any] | None) -> Iterator[Any]:
        """What the loaded one streams."""
        return self._predictor().stream(payload, params)

    def _predictor(self) -> Predictor:
        if self._awake is None:
            raise AsleepError(self.wake)
        return self._awake


class CompiledPredictor:
    """Runs tables of finite numbers on the form, and anything else on ``generic``."""

    def __init__(self, form: Typed, name: str, generic: Predictor) -> None:
        self.name = name
        self._form = form
        self._generic = generic

    def predict(self, payload: Payload, params: Mapping[str, Any] | None, wants: Wants) -> Output:
        """Ask the form."""
        if type(payload) is not Matrix or params or not np.isfinite(payload.values).all():
            return self._generic.predict(payload, params, wants)
        try:
            return Output(*self._form.answer(payload.values, wants))
        except BeyondFormError:
            return self._generic.predict(payload, params, wants)

    def stream(self, payload: Payload, params: Mapping[str, Any] | None) -> Iterator[Any]:
        """As the generic path does, which refuses."""
        return self._generic.stream(payload, params)


def load(request: LoadRequest) -> Loaded:
    """The compiled form where it can be used; the generic path, with the reason, where it cannot.

    Raises:
        ModelError, ConfigError: the generic path is needed and does not load.
    """
    try:
        compiled = store.read(request.compiled)
    except ModelError as error:
        loaded = pyfunc.load(request)
        return replace(loaded, fallbacks=(*loaded.fallbacks, str(error)))
    form, record = compiled
    typing = record.typing
    predictor = CompiledPredictor(
        Typed(form, typing), f"compiled-{form.name}", SleepingPredictor(lambda: pyfunc.load(request).predictor)
    )
    return Loaded(
        predictor=predictor,
        reason=request.spec.predictor_reason,
        classes=typing.classes,
        has_probability=typing.has_probability,
        may_run_inline=True,
        is_lean=True,
    )
