"""Latency by bins beside the exact quantile."""

import math
from itertools import groupby

import numpy as np
import pytest

from pipelines.monitoring.traffic import WIDTH, quantile


def binned(values: list[float]) -> list[tuple[int, float]]:
    """As the query counts."""
    groups = groupby(sorted(values), key=lambda value: math.floor(math.log(max(value, 0.001)) / math.log(WIDTH)))
    return [(len(found), found[-1]) for _, group in groups if (found := list(group))]


@pytest.mark.parametrize("count", [1, 7, 100, 20_000])
@pytest.mark.parametrize("share", [0.5, 0.99])
def test_a_quantile_of_bins_is_at_most_a_bin_above_the_exact_one(count: int, share: float) -> None:
    values = np.random.default_rng(count).lognormal(3, 1, count).tolist()
    exact = float(np.quantile(values, share, method="inverted_cdf"))
    found = quantile(binned(values), share)
    assert found is not None
    assert exact <= found <= exact * WIDTH


def test_without_answers_there_is_no_latency() -> None:
    assert quantile([], 0.99) is None
