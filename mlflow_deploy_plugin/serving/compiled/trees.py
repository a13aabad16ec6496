"""Scaling steps and an ensemble of decision trees, walked in NumPy alone, all trees and rows at once. Pure.

The walk is scikit-learn's: a value goes left where it is at most the threshold, both in double precision, and trees
that were fitted on float32 see the values rounded to it. Leaves are added up one tree after another, in the ensemble's
order, so that sums round alike. What float32 cannot hold scikit-learn refuses, so this form leaves it to the model.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Final, Literal, Self

import numpy as np
import orjson

from mlflow_deploy_plugin.serving.compiled import links
from mlflow_deploy_plugin.serving.compiled.form import BeyondFormError, Computed
from mlflow_deploy_plugin.serving.compiled.linear import Step, applied

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from mlflow_deploy_plugin.serving.request import Wants

TreesLink = Literal["values", "exponential", "shares", "logistic", "softmax"]
"""What the sums mean: the prediction, its logarithm, shares of classes, or scores of classes."""

AT_ONCE: Final = 1 << 18
"""Places (rows times trees) that are walked together; more would only fill the memory."""

SWEEP: Final = 4
"""Steps after which walks that have ended are left out of the next ones."""
FEW: Final = 512
"""Walks that are so few that looking for ended ones costs more than it saves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trees:
    """The nodes of all trees, one after another. A leaf is its own child, so that a walk may stay there."""

    feature: NDArray[np.int32]  # (nodes,)
    threshold: NDArray[np.float64]  # (nodes,)
    children: NDArray[np.int32]  # (2 * nodes,): left and right of each
    values: NDArray[np.float64]  # (nodes, outputs)
    roots: NDArray[np.int32]  # (stages, trees of a stage)
    start: NDArray[np.float64]  # (scores,): what the first stage is added to
    divisor: NDArray[np.float64]  # (): what the sum is divided by
    depth: NDArray[np.int32]  # (): steps of the longest walk

    def sums(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """(rows, features) to (rows, scores), scores being trees of a stage times outputs."""
        stages, width = self.roots.shape
        rows = max(1, AT_ONCE // self.roots.size)
        parts = [self._sums(values[at : at + rows], stages, width) for at in range(0, max(len(values), 1), rows)]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _sums(self, values: NDArray[Any], stages: int, width: int) -> NDArray[np.float64]:
        leaves = self._leaves(values)  # (stages, rows, trees of a stage)
        terms = np.empty((stages + 1, len(values), len(self.start)))
        terms[0] = self.start
        terms[1:] = self.values.take(leaves, axis=0).reshape(stages, len(values), width * self.values.shape[1])
        total: NDArray[np.float64] = np.add.accumulate(terms, axis=0)[-1]  # in order, which ``sum`` does not promise
        return total / self.divisor

    def _leaves(self, values: NDArray[Any]) -> NDArray[np.intp]:
        """(stages, rows, trees of a stage): the node in which each walk ends."""
        flat = np.ascontiguousarray(values).reshape(-1)
        shape = (len(self.roots), len(values), self.roots.shape[1])
        places = np.broadcast_to(self.roots[:, None, :], shape).reshape(-1).astype(np.intp)
        first = np.arange(len(values), dtype=np.intp)[:, None] * values.shape[1]  # of each row, in ``flat``
        rows = np.broadcast_to(first, shape).reshape(-1)
        ended, walks = places, np.arange(len(places))
        for step in range(int(self.depth)):
            if step % SWEEP == SWEEP - 1 and len(places) > FEW:
                ended[walks] = places
                on = np.flatnonzero(self.children.take(2 * places) != places)
                walks, places, rows = walks[on], places[on], rows[on]
            seen = flat.take(rows + self.feature.take(places))
            places = self.children.take(2 * places + (seen > self.threshold.take(places))).astype(np.intp, copy=False)
        ended[walks] = places
        return ended.reshape(shape)


@dataclass(frozen=True, slots=True, kw_only=True)
class TreesForm:
    """``link(trees(steps(x)))``."""

    steps: tuple[Step, ...] = ()
    trees: Trees
    link: TreesLink
    is_rounded: bool
    """Whether the trees see float32."""
    is_zero_second: bool = False
    """Whether a score of exactly 0 is the second class of two."""
    name: str = field(default="trees", init=False)

    def compute(self, values: NDArray[Any], wants: Wants) -> Computed:
        """The answers to a table.

        Raises:
            BeyondFormError: a value is beyond float32.
        """
        scores = self.trees.sums(self._seen(values))
        if self.link == "values":
            return Computed(scores)
        if self.link == "exponential":
            return Computed(np.exp(scores))
        if self.link == "logistic":
            line = scores[:, 0]
            labels = ((line >= 0) if self.is_zero_second else (line > 0)).view(np.int8)
            return Computed(labels, links.two_classes(line) if wants == "probability" else None, is_index=True)
        probability = None
        if wants == "probability":
            probability = scores if self.link == "shares" else links.softmax(scores)
        return Computed(scores.argmax(axis=1), probability, is_index=True)

    def _seen(self, values: NDArray[Any]) -> NDArray[Any]:
        """The values as the trees see them."""
        seen = applied(self.steps, values if values.dtype.kind == "f" else values.astype(np.float64))
        if not self.is_rounded:
            return seen
        with np.errstate(over="ignore"):
            narrow = seen.astype(np.float32, copy=False)
        if not np.isfinite(narrow).all():
            raise BeyondFormError("a value is beyond float32, which the model's trees see")
        return narrow

    def write(self, path: Path) -> None:
        """Write the form into one file of arrays."""
        head = {
            "steps": [[step.op, step.vector.tolist()] for step in self.steps],
            "link": self.link,
            "is_rounded": self.is_rounded,
            "is_zero_second": self.is_zero_second,
        }
        arrays = {each.name: getattr(self.trees, each.name) for each in fields(Trees)}
        with path.open("wb") as file:
            np.savez(file, head=np.frombuffer(orjson.dumps(head), dtype=np.uint8), **arrays)

    @classmethod
    def of_file(cls, path: Path) -> Self:
        """What :meth:`write` wrote.

        Raises:
            KeyError, TypeError, ValueError: it did not write this.
        """
        with np.load(path, allow_pickle=False) as archive:
            head = orjson.loads(archive["head"].tobytes())
            trees = Trees(**{each.name: archive[each.name] for each in fields(Trees)})
        steps = tuple(Step(op, np.array(vector, dtype=np.float64)) for op, vector in head.pop("steps"))
        return cls(steps=steps, trees=trees, **head)
