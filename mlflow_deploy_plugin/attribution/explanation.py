"""What an explanation says, and the law that it keeps. Pure; no SHAP here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Self

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Array = np.ndarray[Any, np.dtype[Any]]

Unit = Literal["probability", "output"]
"""The probability of a class, or whatever number the model answers."""


class Found(NamedTuple):
    """What a method says."""

    base: Array
    """(outputs,)."""
    values: Array
    """(rows, columns, outputs)."""

    def total(self) -> Array:
        """(rows, outputs): what base and values give."""
        total: Array = self.base + self.values.sum(axis=1)
        return total

    def adds_up(self, answers: Array, *, within: Array) -> bool:
        """Whether that is ``answers``, as closely as ``within``, of their shape or of one for all rows."""
        if self.values.shape[2] != answers.shape[1]:
            return False
        return bool((np.abs(self.total() - answers) <= within).all())


class Explanation(NamedTuple):
    """For each row: ``base + sum(attributions) = prediction``, all in the unit of the output that is explained."""

    method: str
    unit: Unit
    columns: Sequence[str]
    outputs: Sequence[Any]
    """Which output of a row is explained: the class that was predicted, the number of an output, or null: the only."""
    base: Sequence[float]
    attributions: Sequence[Sequence[float]]
    """(rows, columns)."""
    predictions: Sequence[float]

    @classmethod
    def of_largest(
        cls, found: Found, answers: Array, *, method: str, columns: Sequence[str], classes: Sequence[Any] = ()
    ) -> Self:
        """Of each row's largest output: the predicted class of ``classes``, or the number of an output.

        >>> found = Found(np.array([1.0]), np.array([[[2.0]]]))
        >>> Explanation.of_largest(found, np.array([[3.0]]), method="exact", columns=["a"]).attributions
        [[2.0]]
        """
        chosen = answers.argmax(axis=1)
        rows = np.arange(len(answers))
        has_one = answers.shape[1] == 1
        return cls(
            method=method,
            unit="output",
            columns=list(columns),
            outputs=[classes[at] if classes else None if has_one else int(at) for at in chosen],
            base=found.base[chosen].tolist(),
            attributions=found.values[rows, :, chosen].tolist(),
            predictions=answers[rows, chosen].tolist(),
        )

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Self:
        """An explanation from its form in JSON."""
        return cls(**{name: document[name] for name in cls._fields})
