"""Reading what a model returned: split it by rows, name its parts. Pure; knows no protocol and no model.

A pyfunc may return a DataFrame, a Series, an array, a list, a dict of columns, or one value for everything. pandas is
never imported here: an output can only be a DataFrame where the model has imported it already.
"""

from __future__ import annotations

import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from mlflow_deploy_plugin.errors import ModelserveError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class UnsplittableError(ModelserveError):
    """An output of a batch cannot be dealt back to the requests; the model must be served unbatched."""


def split(output: Any, sizes: Sequence[int]) -> list[Any]:  # noqa: ANN401  a model returns anything
    """The output of a batch, dealt back to requests of ``sizes`` rows.

    >>> split([1, 2, 3], [1, 2])
    [[1], [2, 3]]

    Raises:
        UnsplittableError: it does not have exactly one entry per row.
    """
    if isinstance(output, dict):
        columns = {name: _parts(column, sizes) for name, column in output.items()}
        if not columns:
            raise UnsplittableError("the model returned an empty dict for a batch")
        return [{name: parts[index] for name, parts in columns.items()} for index in range(len(sizes))]
    return _parts(output, sizes)


def _parts(output: Any, sizes: Sequence[int]) -> list[Any]:  # noqa: ANN401
    rows, count = sum(sizes), row_count(output)
    if count != rows:
        found = "one value" if count is None else f"{count} entries"
        raise UnsplittableError(f"the model returned {found} ({type(output).__name__}) for {rows} rows")
    items = output.iloc if _is_pandas(output) else output
    parts, start = [], 0
    for size in sizes:
        parts.append(items[start : start + size])
        start += size
    return parts


def row_count(output: Any) -> int | None:  # noqa: ANN401
    """How many rows an output has; None where it is one value for all."""
    if isinstance(output, np.ndarray):
        return len(output) if output.ndim else None
    if isinstance(output, (list, tuple)) or _is_pandas(output):
        return len(output)
    return None


def _is_pandas(output: Any) -> bool:  # noqa: ANN401
    pandas = sys.modules.get("pandas")
    return pandas is not None and isinstance(output, (pandas.DataFrame, pandas.Series))


def named_arrays(output: Any, names: Sequence[str] = ()) -> Mapping[str, np.ndarray]:  # noqa: ANN401
    """The output as named arrays with rows first, for protocols of tensors; ``names`` are the signature's outputs.

    >>> named_arrays(np.zeros((2, 3)))["output-0"].shape
    (2, 3)
    """
    if isinstance(output, dict):
        return {str(name): np.asarray(column) for name, column in output.items()}
    if _is_pandas(output) and output.ndim == 2:  # noqa: PLR2004  a DataFrame
        return {str(name): output[name].to_numpy() for name in output.columns}
    if isinstance(output, tuple) and len(output) == len(names) > 1:
        return {name: np.asarray(part) for name, part in zip(names, output, strict=True)}
    array = output.to_numpy() if _is_pandas(output) else np.asarray(output)
    return {(names[0] if len(names) == 1 and names[0] else "output-0"): np.atleast_1d(array)}


def count_classes(output: Any, index: Mapping[Any, int]) -> dict[int, int]:  # noqa: ANN401
    """How often each class occurs, by its place in ``index``; -1 counts all that is no known class."""
    values = output.tolist() if isinstance(output, np.ndarray) or _is_series(output) else output
    if not isinstance(values, list):
        return {-1: row_count(output) or 1}
    counts: Counter[int] = Counter()
    for value, times in Counter(map(_hashable, values)).items():
        counts[index.get(value, -1)] += times
    return dict(counts)


def _is_series(output: Any) -> bool:  # noqa: ANN401
    return _is_pandas(output) and output.ndim == 1


def _hashable(value: Any) -> Any:  # noqa: ANN401
    return value if isinstance(value, (str, int, float, bool)) else None
