"""Shapley values of any model by its answers alone: columns outside a coalition are taken from the background. Pure.

In NumPy, and not by SHAP's explainers of the same names, which compile for a minute on a busy machine before their
first answer.
"""

from __future__ import annotations

from math import factorial
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    Array = np.ndarray[Any, np.dtype[Any]]
    Answer = Callable[[Array], Array]

ROUNDS: Final = 10
SEED: Final = 0


def by_definition(answer: Answer, rows: Array, background: Array) -> tuple[Array, Array]:
    """Base (outputs,) and values (rows, columns, outputs), by all coalitions.

    >>> base, values = by_definition(lambda x: x @ np.array([[2.0], [-1.0]]), np.array([[1.0, 1.0]]), np.zeros((3, 2)))
    >>> base.tolist(), values[0, :, 0].tolist()
    ([0.0], [2.0, -1.0])
    """
    width = rows.shape[1]
    members = (np.arange(2**width)[:, np.newaxis] >> np.arange(width) & 1).astype(bool)
    sizes = members.sum(axis=1)
    joining = np.array([0.0, *(factorial(size - 1) * factorial(width - size) for size in range(1, width + 1))])
    staying = np.array([*(factorial(size) * factorial(width - size - 1) for size in range(width)), 0.0])
    shares = np.where(members, joining[sizes][:, np.newaxis], -staying[sizes][:, np.newaxis]) / factorial(width)
    worths = [_worths(answer, row, background, members) for row in rows]
    return worths[0][0], np.stack([shares.T @ worth for worth in worths])


def by_permutations(
    answer: Answer, rows: Array, background: Array, *, rounds: int = ROUNDS, seed: int = SEED
) -> tuple[Array, Array]:
    """The same, estimated by ``rounds`` orders of the columns, each there and back; they add up all the same.

    >>> base, values = by_permutations(
    ...     lambda x: x[:, :1] * x[:, 1:], np.array([[2.0, 3.0]]), np.zeros((1, 2)), rounds=1, seed=0)
    >>> base.tolist(), values[0, :, 0].tolist()
    ([0.0], [3.0, 3.0])
    """
    random = np.random.default_rng(seed)
    orders = [order for _ in range(rounds) for order in _there_and_back(random.permutation(rows.shape[1]))]
    found = [_by_orders(answer, row, background, orders) for row in rows]
    return answer(background).mean(axis=0), np.stack(found)


def _there_and_back(order: Array) -> tuple[Array, Array]:
    return order, order[::-1]


def _by_orders(answer: Answer, row: Array, background: Array, orders: list[Array]) -> Array:
    """(columns, outputs) of one row."""
    total: Array | float = 0.0
    for order in orders:
        members = np.zeros((len(row) + 1, len(row)), dtype=bool)
        for step, column in enumerate(order, start=1):
            members[step:, column] = True
        gains = np.diff(_worths(answer, row, background, members), axis=0)
        total = total + gains[np.argsort(order)]
    return np.asarray(total) / len(orders)


def _worths(answer: Answer, row: Array, background: Array, members: Array) -> Array:
    """(coalitions, outputs): the mean answer where the members have the row's values."""
    mixed = np.where(members[:, np.newaxis, :], row, background[np.newaxis])
    answers = answer(mixed.reshape(-1, len(row)))
    worths: Array = answers.reshape(len(members), len(background), -1).mean(axis=1)
    return worths
