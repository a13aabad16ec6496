"""Scaling steps and a linear model, computed step by step as scikit-learn computes them, in NumPy alone. Pure.

The steps are not folded into one matrix: that would save about 5 µs per *batch* and cost the last digits. Doubles stay
doubles from the body to the answer.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, Self

import numpy as np

from mlflow_deploy_plugin.serving.compiled import links
from mlflow_deploy_plugin.serving.compiled.form import Computed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from numpy.typing import NDArray

    from mlflow_deploy_plugin.serving.request import Wants

Op = Literal["subtract", "divide", "multiply", "add"]
Link = Literal["values", "labels", "logistic", "softmax", "one-vs-rest"]
"""What the scores mean: the prediction itself, or a class by its score, without or with probabilities."""

OPS: Final[Mapping[str, Callable[..., Any]]] = {
    "subtract": np.subtract,
    "divide": np.divide,
    "multiply": np.multiply,
    "add": np.add,
}


@dataclass(frozen=True, slots=True)
class Step:
    """One operation on every row."""

    op: Op
    vector: NDArray[np.float64]  # (features,)


def applied(steps: Iterable[Step], values: NDArray[Any]) -> NDArray[Any]:
    """The values after all steps, each of which keeps their type, float32 or double, as scikit-learn's scalers do.

    >>> applied([Step("add", np.array([1e-9]))], np.ones((1, 1), dtype=np.float32))
    array([[1.]], dtype=float32)
    """
    for step in steps:
        values = OPS[step.op](values, step.vector).astype(values.dtype, copy=False)
    return values


@dataclass(frozen=True, slots=True, kw_only=True)
class LinearForm:
    """``link(steps(x) @ coefficients + intercept)``."""

    steps: tuple[Step, ...] = ()
    coefficients: NDArray[np.float64]  # (features, scores)
    intercept: NDArray[np.float64]  # (scores,)
    link: Link
    name: str = field(default="linear", init=False)

    def compute(self, values: NDArray[Any], wants: Wants) -> Computed:
        """The answers to a table."""
        scaled = values
        for step in self.steps:
            scaled = OPS[step.op](scaled, step.vector)
        scores = scaled @ self.coefficients + self.intercept
        if self.link == "values":
            return Computed(scores)
        if scores.shape[1] == 1:
            scores = scores[:, 0]
            labels = (scores > 0).view(np.int8)
        else:
            labels = scores.argmax(axis=1)
        probability = self._probability(scores) if wants == "probability" else None
        return Computed(labels, probability, is_index=True)

    def _probability(self, scores: NDArray[np.float64]) -> NDArray[np.float64] | None:
        if self.link == "labels":
            return None
        if scores.ndim == 1:
            return links.two_classes(scores)
        return links.softmax(scores) if self.link == "softmax" else links.shares(links.logistic(scores))

    def to_document(self) -> dict[str, Any]:
        """As JSON values; floats survive exactly."""
        return {
            "steps": [[step.op, step.vector.tolist()] for step in self.steps],
            "coefficients": self.coefficients.tolist(),
            "intercept": self.intercept.tolist(),
            "link": self.link,
        }

    @classmethod
    def of_document(cls, document: Mapping[str, Any]) -> Self:
        """What :meth:`to_document` wrote.

        Raises:
            KeyError, TypeError, ValueError: it did not write this.
        """
        return cls(
            steps=tuple(Step(op, np.array(vector, dtype=np.float64)) for op, vector in document["steps"]),
            coefficients=np.asfortranarray(np.array(document["coefficients"], dtype=np.float64)),
            intercept=np.array(document["intercept"], dtype=np.float64),
            link=document["link"],
        )
