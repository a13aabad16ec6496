"""A Bento's compiled form, with the generic path asleep behind it: no MLflow, scikit-learn or pandas is imported.

The form answers tables of finite numbers whose columns and types a codec has proven, or tensors of the signature's
shape. Anything else is the generic path's: a frame, parameters, and NaN, which a model may refuse or know a way for.
That path is loaded when the first such request comes, in a thread of its own, while others are answered.

A module of torch is served by its form on the CPU alone: where there may be a GPU, or what only torch can do is asked
for, torch serves it.
"""

from __future__ import annotations

import logging
import os
import threading
from dataclasses import replace
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from mlflow_deploy_plugin.errors import ModelError
from mlflow_deploy_plugin.serving.compiled import store
from mlflow_deploy_plugin.serving.compiled.form import BeyondFormError, Typed
from mlflow_deploy_plugin.serving.faults import AsleepError
from mlflow_deploy_plugin.serving.predictors import devices, pyfunc
from mlflow_deploy_plugin.serving.predictors.base import Loaded, Output
from mlflow_deploy_plugin.serving.predictors.checks import fits
from mlflow_deploy_plugin.serving.request import Matrix, Tensor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from numpy.typing import NDArray

    from mlflow_deploy_plugin.serving.predictors.base import LoadRequest, Predictor
    from mlflow_deploy_plugin.serving.request import Payload, Wants
    from mlflow_deploy_plugin.serving.signature import TensorSpec
    from mlflow_deploy_plugin.spec.settings import ServingSettings

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
    """Runs finite numbers on the form, and anything else on ``generic``."""

    def __init__(self, form: Typed, name: str, generic: Predictor, spec: TensorSpec | None = None) -> None:
        self.name = name
        self._form = form
        self._generic = generic
        self._spec = spec
        """Of the tensor that the form takes; None: it takes a table."""

    def predict(self, payload: Payload, params: Mapping[str, Any] | None, wants: Wants) -> Output:
        """Ask the form."""
        values = self._values(payload)
        if values is None or params or not np.isfinite(values).all():
            return self._generic.predict(payload, params, wants)
        try:
            return Output(*self._form.answer(values, wants))
        except BeyondFormError:
            return self._generic.predict(payload, params, wants)

    def _values(self, payload: Payload) -> NDArray[Any] | None:
        if self._spec is None:
            return payload.values if type(payload) is Matrix else None
        return payload.array if type(payload) is Tensor and fits(payload.array, self._spec) else None

    def stream(self, payload: Payload, params: Mapping[str, Any] | None) -> Iterator[Any]:
        """As the generic path does, which refuses."""
        return self._generic.stream(payload, params)


def load(request: LoadRequest) -> Loaded:
    """The compiled form where it can be used; the generic path, with the reason, where it cannot.

    Raises:
        ModelError, ConfigError: the generic path is needed and does not load.
    """
    tensors = request.signature.tensors
    if tensors and (reason := why_torch(request.settings, os.environ)):
        return _generic(request, f"the compiled form: {reason}")
    try:
        form, record = store.read(request.compiled)
    except ModelError as error:
        return _generic(request, str(error))
    typing = record.typing
    predictor = CompiledPredictor(
        Typed(form, typing),
        f"compiled-{form.name}",
        SleepingPredictor(lambda: pyfunc.load(request).predictor),
        tensors[0] if tensors else None,
    )
    return Loaded(
        predictor=predictor,
        reason=request.spec.predictor_reason,
        classes=typing.classes,
        has_probability=typing.has_probability,
        may_run_inline=True,
        is_lean=True,
    )


def _generic(request: LoadRequest, reason: str) -> Loaded:
    loaded = pyfunc.load(request)
    return replace(loaded, fallbacks=(*loaded.fallbacks, reason))


def why_torch(settings: ServingSettings, environment: Mapping[str, str]) -> str:
    """Why a module is not served by its form, but by torch; empty: the form may."""
    if settings.device != "cpu" and (settings.device not in {"", "auto"} or devices.may_see_gpu(environment)):
        return "it computes on the CPU, and this worker may have a GPU; device=cpu serves it"
    asked = {"torch_compile": settings.torch_compile == "on", "cuda_graphs": settings.cuda_graphs == "on"}
    asked |= {"precision": settings.precision != "fp32", "model_config": bool(settings.model_config)}
    return next((f"{name} is torch's" for name, is_asked in asked.items() if is_asked), "")
