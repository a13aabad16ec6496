"""Lists of numbers as arrays: NumPy's own, to the bit, or none."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlflow_deploy_plugin.serving.codecs.packing import table

numbers = st.floats(allow_nan=True) | st.integers(-(2**63), 2**64) | st.booleans()
anything = numbers | st.none() | st.text(max_size=3) | st.lists(st.integers(0, 3), max_size=2)


def by_numpy(rows: list[Any], dtype: str) -> Any:
    with np.errstate(over="ignore"):
        return np.array(rows, dtype=dtype)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@given(width=st.integers(0, 5), data=st.data())
def test_numbers_become_what_numpy_makes_of_them(dtype: str, width: int, data: st.DataObject) -> None:
    rows = data.draw(st.lists(st.lists(numbers, min_size=width, max_size=width), min_size=1, max_size=4))
    found, expected = table(rows, np.dtype(dtype)), by_numpy(rows, dtype)
    if found is None and dtype == "float16":
        assert (np.isinf(expected) & np.isfinite(by_numpy(rows, "float64"))).any(), "only halves that do not fit"
        return
    assert found is not None
    assert (found.shape, found.dtype, found.tobytes()) == (expected.shape, expected.dtype, expected.tobytes())


@given(st.lists(st.lists(anything, max_size=3) | numbers, max_size=3))
def test_any_rows_become_what_numpy_makes_of_them_or_nothing(rows: list[Any]) -> None:
    found = table(rows, np.dtype("float64"))
    if found is not None:
        expected = by_numpy(rows, "float64")
        assert (found.shape, found.tobytes()) == (expected.shape, expected.tobytes())
