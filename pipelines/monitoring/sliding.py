"""The drift job's figures of every column at every hour of a long stream, all windows at once.

The same distances and p-values as :mod:`pipelines.analysis.drift` computes of one window (a test holds them together),
from counts between the values of the training sample that slide along: thousands of days in seconds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

LEAST_P = 0.1
"""Larger p-values are given as 1: no q-value below it depends on them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrivals:
    """Users of every hour, as evenly as whole users allow, and windows of ``window_h`` hours over them."""

    per_hour: float
    hours: int
    window_h: int

    @property
    def until(self) -> Integers:
        """Users that had come before each hour, shape (hours + 1,)."""
        return np.asarray(np.floor(np.arange(self.hours + 1) * self.per_hour), dtype=np.int64)

    @property
    def looks(self) -> range:
        """Hours at whose begin a whole window lies behind."""
        return range(self.window_h, self.hours)

    def rows(self, hour: int) -> slice:
        """Users of the window that ends at ``hour``."""
        until = self.until
        return slice(int(until[hour - self.window_h]), int(until[hour]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Every column at every look, shape (looks, columns)."""

    effect: Floats
    q: Floats


def figures(stream: "pd.DataFrame", base: "pd.DataFrame", arrivals: Arrivals) -> Figures:
    """Effects and q-values of ``stream``'s windows beside ``base``; numbers, and text whose values the base has twice.

    >>> import pandas as pd
    >>> base = pd.DataFrame({"x": np.arange(100.0)})
    >>> arrivals = Arrivals(per_hour=1, hours=202, window_h=200)
    >>> figures(pd.DataFrame({"x": np.arange(202.0)}), base, arrivals).effect.round(3).tolist()
    [[0.5], [0.505]]
    """
    found = [_column(stream[name].to_numpy(), base[name].to_numpy(), arrivals) for name in stream.columns]
    effect, p = (np.stack([pair[place] for pair in found], axis=1) for place in (0, 1))
    return Figures(effect=effect, q=stats.false_discovery_control(p, axis=1, method="bh"))


def _column(values: NDArray[np.generic], base: NDArray[np.generic], arrivals: Arrivals) -> tuple[Floats, Floats]:
    if np.issubdtype(values.dtype, np.number):
        return _kolmogorov(values.astype(np.float64), np.sort(base.astype(np.float64)), arrivals)
    kinds, counts = np.unique(base.astype(str), return_counts=True)
    places = np.searchsorted(kinds, values.astype(str))
    return _homogeneity(_in_windows(places, len(kinds), arrivals), counts)


def _in_windows(places: Integers, kinds: int, arrivals: Arrivals) -> Integers:
    """How many values of each window lie at each place, shape (looks, kinds)."""
    hour = np.repeat(np.arange(arrivals.hours), np.diff(arrivals.until))
    counts = np.zeros((arrivals.hours + 1, kinds), dtype=np.int32)
    np.add.at(counts, (hour + 1, places[: len(hour)]), 1)
    summed = counts.cumsum(axis=0, dtype=np.int32)
    looks = np.asarray(arrivals.looks)
    return np.asarray(summed[looks] - summed[looks - arrivals.window_h], dtype=np.int64)


def _kolmogorov(values: Floats, base: Floats, arrivals: Arrivals) -> tuple[Floats, Floats]:
    """D and p: between two values of the base its distribution stands still, so D lies at one of their two sides."""
    rows = len(base)
    below = _in_windows(np.searchsorted(base, values, side="left"), rows + 1, arrivals).cumsum(axis=1)
    size = below[:, -1]
    window = below[:, :-1] / size[:, None]  # share at or below each value of the base; ties have no chance
    steps = np.arange(rows) / rows
    distance = np.maximum(np.abs(window - steps), np.abs(window - steps - 1 / rows)).max(axis=1)
    effective = np.round(size * rows / (size + rows))
    p = np.ones_like(distance)
    worth = special.kolmogorov(np.sqrt(effective) * distance) <= LEAST_P  # the exact law takes a thousand times longer
    p[worth] = np.clip(stats.kstwo.sf(distance[worth], effective[worth]), 0.0, 1.0)
    return distance, p


def _homogeneity(window: Integers, base: Sequence[int] | Integers) -> tuple[Floats, Floats]:
    """Total variation and the p-value of Pearson's chi-squared."""
    reference = np.asarray(base, dtype=np.float64)
    size, rows = window.sum(axis=1, keepdims=True), reference.sum()
    pooled = (window + reference) / (size + rows)
    statistic = (
        (window - pooled * size) ** 2 / (pooled * size) + (reference - pooled * rows) ** 2 / (pooled * rows)
    ).sum(axis=1)
    variation = np.abs(window / size - reference / rows).sum(axis=1) / 2
    return variation, stats.chi2.sf(statistic, len(reference) - 1)
