"""Rows on which a form is held against its model: the input example's, generated ones, those at the edges. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

SEED: Final = 20260101
GENERATED: Final = 128
"""Rows of each kind of generated ones."""
MOST_EDGES: Final = 2048
SPECIAL: Final = (0.0, -0.0, 1.0, -1.0, 1e-300, 1e6, -1e6, 1e12, 5e-324)
"""Values that a whole row is filled with; whole numbers where the columns are."""


def compared(
    kind: str, features: int, *, example: NDArray[np.float64] | None, edges: Mapping[int, NDArray[np.float64]]
) -> NDArray[np.float64]:
    """(rows, features), as ``float64`` that the columns' type ``kind`` can hold."""
    generator = np.random.default_rng(SEED)
    size = (GENERATED, features)
    parts = [generator.normal(size=size), generator.normal(size=size) * 10.0 ** generator.integers(-3, 5, size=size)]
    parts.append(np.repeat(np.array(SPECIAL)[:, None], features, axis=1))
    base = parts[0]
    if example is not None and len(example):
        known = example[generator.integers(0, len(example), size=GENERATED)]
        base = known
        parts += [example, known * generator.normal(1.0, 0.2, size=size), known + generator.normal(size=size)]
    parts.append(_at_edges(base, edges, generator))
    rows = np.concatenate(parts)
    if np.dtype(kind).kind in "iu":
        limits = np.iinfo(kind)
        rows = np.clip(np.rint(rows), max(limits.min, -(2**53)), min(limits.max, 2**53))
    return rows.astype(kind).astype(np.float64)


def _at_edges(
    base: NDArray[np.float64], edges: Mapping[int, NDArray[np.float64]], generator: np.random.Generator
) -> NDArray[np.float64]:
    """Rows of ``base`` with one feature at a threshold, just below it, or just above, in double and in float32."""
    places = [(feature, value) for feature, values in edges.items() for at in values for value in _around(at)]
    if len(places) > MOST_EDGES:
        places = [places[at] for at in generator.choice(len(places), MOST_EDGES, replace=False)]
    rows = base[generator.integers(0, len(base), size=len(places))].copy()
    for row, (feature, value) in zip(rows, places, strict=True):
        row[feature] = value
    return rows


def _around(threshold: float) -> list[float]:
    single = np.float32(threshold)
    neighbours = [float(np.nextafter(single, np.float32(side))) for side in (-np.inf, np.inf)]
    return [
        threshold,
        float(np.nextafter(threshold, -np.inf)),
        float(np.nextafter(threshold, np.inf)),
        float(single),
        *neighbours,
    ]
