"""Integrated gradients of a torch module, averaged over a background: what SHAP calls expected gradients.

After Sundararajan et al. 2017 (https://arxiv.org/abs/1703.01365) and Erion et al. 2021. In double precision, by the
midpoint rule; twice the steps until base and attributions miss the answer by less than :data:`CLOSE`, then what is
missing is dealt to the columns in proportion, so that they add up.
"""

from __future__ import annotations

import copy
from typing import Any, Final

import numpy as np

STEPS: Final = (32, 128, 512)
CLOSE: Final = 1e-2
"""Of the distance between answer and base."""

Array = np.ndarray[Any, np.dtype[Any]]


class NotCloseError(ArithmeticError):
    """The function is too rough for the steps."""


def attributions(module: Any, values: Array, background: Array) -> tuple[Array, Array]:  # noqa: ANN401
    """Base (outputs,) and attributions (rows, columns, outputs).

    Raises:
        NotCloseError: as many steps as may be are too few.
    """
    import torch  # noqa: PLC0415  the model has it

    double = copy.deepcopy(module).double().eval()
    rows, others = (torch.tensor(array, dtype=torch.float64) for array in (values, background))
    with torch.no_grad():
        answers, base = _table(double(rows)).numpy(), _table(double(others)).mean(dim=0).numpy()
    for steps in STEPS:
        found = np.stack([_row(double, row, others, steps) for row in rows])
        gap = answers - base - found.sum(axis=1)
        if (np.abs(gap) <= CLOSE * np.maximum(np.abs(answers - base), CLOSE)).all():
            return base, _completed(found, gap)
    raise NotCloseError(f"{STEPS[-1]} steps leave a gap of {np.abs(gap).max():.3g}")


def _row(module: Any, row: Any, others: Any, steps: int) -> Array:  # noqa: ANN401  tensors
    """(columns, outputs) of one row."""
    import torch  # noqa: PLC0415

    places = (torch.arange(steps, dtype=torch.float64) + 0.5) / steps
    distance = row - others
    points = (others[:, None, :] + places[None, :, None] * distance[:, None, :]).reshape(-1, row.shape[0])
    points.requires_grad_(requires_grad=True)
    answers = _table(module(points))
    slopes = [torch.autograd.grad(answers[:, at].sum(), points, retain_graph=True)[0] for at in range(answers.shape[1])]
    means = [slope.reshape(len(others), steps, -1).mean(dim=1) for slope in slopes]
    return np.stack([(distance * mean).mean(dim=0).numpy() for mean in means], axis=-1)


def _table(answers: Any) -> Any:  # noqa: ANN401
    return answers if answers.ndim > 1 else answers[:, None]


def _completed(found: Array, gap: Array) -> Array:
    weights = np.abs(found)
    totals = weights.sum(axis=1, keepdims=True)
    even = np.full_like(found, 1 / found.shape[1])
    shares = np.divide(weights, totals, out=even, where=totals > 0)
    completed: Array = found + shares * gap[:, np.newaxis, :]
    return completed
