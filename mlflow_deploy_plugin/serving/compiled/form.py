"""The seam of the compiled forms, and what all of them share: types and shapes of the answers. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

import numpy as np

from mlflow_deploy_plugin.errors import ModelserveError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mlflow_deploy_plugin.serving.request import Wants


class BeyondFormError(ModelserveError):
    """A table that a form does not answer, though it is finite; the model itself says what becomes of it."""


Answers = Literal["predict", "predict_proba"]
"""The estimator's method that the pyfunc calls."""


class Computed(NamedTuple):
    """What a form says to a table, before it has the pyfunc's types."""

    prediction: NDArray[Any]
    """(rows,) or (rows, outputs)."""
    probability: NDArray[Any] | None = None
    """(rows, classes); None where it was not wanted or the model has none."""
    is_index: bool = False
    """Whether the prediction is a place in the list of classes, and not yet the class."""


class Form(Protocol):
    """One compiled model."""

    @property
    def name(self) -> str:
        """``linear``, ``onnx``…."""

    def compute(self, values: NDArray[Any], wants: Wants) -> Computed:
        """The answers to ``values`` (rows, features), of a tensor (rows, …), all of them finite.

        Raises:
            BeyondFormError: the model must be asked.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Typing:
    """How the pyfunc's answers look; learned when the form was compared with it."""

    answers: Answers = "predict"
    classes: tuple[Any, ...] = ()
    """Of a classifier, as the model says them and in order."""
    dtype: str = "float64"
    """NumPy type of the prediction; ``object`` for strings as some estimators keep them."""
    probability_dtype: str = ""
    """Empty: the model gives none."""
    is_flat: bool = True
    """Whether a prediction has one axis."""

    @property
    def has_probability(self) -> bool:
        """Whether probabilities can be asked for."""
        return bool(self.probability_dtype)


class Typed:
    """A form whose answers have the pyfunc's types and shapes."""

    __slots__ = ("_classes", "_form", "_is_proba", "_typing")

    def __init__(self, form: Form, typing: Typing) -> None:
        self._form = form
        self._typing = typing
        self._classes = np.array(typing.classes, dtype=typing.dtype) if typing.classes else None
        self._is_proba = typing.answers == "predict_proba"

    def answer(self, values: NDArray[Any], wants: Wants) -> tuple[NDArray[Any], NDArray[Any] | None]:
        """Prediction and, where it is wanted and there, probability."""
        typing = self._typing
        wanted: Wants = wants if typing.probability_dtype else "prediction"
        prediction, probability, is_index = self._form.compute(values, "probability" if self._is_proba else wanted)
        if probability is not None:
            probability = probability.astype(typing.probability_dtype, copy=False)
        if self._is_proba:
            assert probability is not None  # noqa: S101  a form of this kind has it, or would not have been taken
            return probability, probability if wanted == "probability" else None
        if typing.is_flat and prediction.ndim > 1:
            prediction = prediction.reshape(len(prediction))
        if is_index and self._classes is not None:
            return self._classes.take(prediction), probability
        return prediction.astype(typing.dtype, copy=False), probability
