"""Holding a form against the pyfunc: equal labels on every row, numbers within the tolerance. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from mlflow_deploy_plugin.serving.compiled.form import Answers, Form, Typed, Typing
from mlflow_deploy_plugin.serving.compiled.store import Comparison
from mlflow_deploy_plugin.serving.compiling.refusal import RefusedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from mlflow_deploy_plugin.serving.predictors.base import Output

    Scale = Callable[[NDArray[np.float64]], NDArray[np.float64]]

TOLERANCES: Final = {"float32": 1e-6}
"""By type of the columns: scikit-learn computes those in single precision, where a form computes in double."""
TOLERANCE: Final = 1e-9
"""For all others: what the order of additions may change in a float64, and no more."""
CLASS_TYPES: Final = (str, int, float, bool)


def typing_of(output: Output, *, answers: Answers, classes: Any) -> Typing:  # noqa: ANN401  an array, or None
    """How the pyfunc's answers look.

    Raises:
        RefusedError: they are no arrays of numbers or of labels that JSON can say.
    """
    prediction, probability = output
    if not isinstance(prediction, np.ndarray) or prediction.ndim not in {1, 2}:
        raise RefusedError(f"its answers are {type(prediction).__name__}, not one array")
    if probability is not None and not isinstance(probability, np.ndarray):
        raise RefusedError("its probabilities are one array per output")
    labels = classes.tolist() if isinstance(classes, np.ndarray) and classes.ndim == 1 else []
    if not all(isinstance(label, CLASS_TYPES) for label in labels):
        raise RefusedError("its classes are neither text nor numbers")
    return Typing(
        answers=answers,
        classes=tuple(labels),
        dtype=_name(prediction.dtype),
        probability_dtype="" if probability is None else _name(probability.dtype),
        is_flat=prediction.ndim == 1,
    )


def _name(dtype: np.dtype[Any]) -> str:
    return "object" if dtype.kind == "O" else dtype.str


def of_each(answers: NDArray[np.float64]) -> NDArray[np.float64]:
    """What a difference is relative to: the answer or, where that is smaller, the median answer."""
    sizes = np.abs(answers)
    return np.maximum(sizes, max(float(np.median(sizes)), np.finfo(np.float64).tiny))


class Measure(NamedTuple):
    """How far a number may be off."""

    tolerance: float
    scale: Scale
    """What the tolerance is relative to."""


def compare(
    form: Form, typing: Typing, rows: NDArray[Any], expected: Output, measure: Measure | None = None
) -> Comparison:
    """The record of a form that answers ``rows`` as the pyfunc did. Without a ``measure`` their type says how exactly.

    Raises:
        RefusedError: it does not; the message says by how much.
    """
    try:
        found = Typed(form, typing).answer(rows, "probability")
    except Exception as error:  # whatever a graph's runtime raises, it only means that this form is not taken
        raise RefusedError(f"the {form.name} form fails ({type(error).__name__}: {error})") from error
    tolerance, scale = measure or Measure(TOLERANCES.get(str(rows.dtype), TOLERANCE), of_each)
    worst = 0.0
    for one, other in zip(expected, found, strict=True):
        if (one is None) != (other is None):
            raise RefusedError(f"the {form.name} form has no probabilities")
        if one is not None and other is not None:
            worst = max(worst, _difference(one, other, name=form.name, scale=scale))
    if not worst <= tolerance:
        raise RefusedError(f"the {form.name} form is off by {worst:.2g}, more than {tolerance:g}")
    return Comparison(rows=len(rows), tolerance=tolerance, worst=worst)


def _difference(expected: NDArray[Any], found: NDArray[Any], *, name: str, scale: Scale) -> float:
    """The largest difference, relative to what ``scale`` says."""
    if (expected.dtype, expected.shape) != (found.dtype, found.shape):
        raise RefusedError(f"the {name} form answers {found.dtype}{found.shape}, not {expected.dtype}{expected.shape}")
    if expected.dtype.kind != "f":
        if wrong := int(np.count_nonzero(expected != found)):
            raise RefusedError(f"the {name} form answers {wrong} of {len(expected)} rows with another label")
        return 0.0
    finite = np.isfinite(expected)
    if not np.array_equal(expected[~finite], found[~finite], equal_nan=True) or not np.isfinite(found[finite]).all():
        raise RefusedError(f"the {name} form is infinite elsewhere than the model")
    left, right = expected[finite].astype(np.float64), found[finite].astype(np.float64)
    apart = np.abs(left - right)
    if not apart.any():
        return 0.0
    return float((apart / scale(left)).max())
