"""JSON values to a :class:`..request.Matrix`, where a table of numbers is proven against the signature. Pure.

The proof is exact: what comes out equals what MLflow's own parsing and enforcement would have made, or nothing comes
out and the caller takes the slow way. Only numbers pass; a string, a boolean or a null in a numeric column is for
MLflow to judge.
"""

from __future__ import annotations

from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np

from mlflow_deploy_plugin.serving.faults import Fault, RequestError
from mlflow_deploy_plugin.serving.request import Matrix

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mlflow_deploy_plugin.serving.signature import Signature


SPARSE_CELLS: Final = 1_000_000
"""Cells that a table may have however few of them are filled."""


def check_density(rows: Sequence[Any]) -> None:
    """Refuse objects that share so few names that a table of them would be nearly empty, and far larger than the body.

    Raises:
        RequestError: MALFORMED.
    """
    records = [row for row in rows if isinstance(row, dict)]
    names = set().union(*records)
    if len(names) * len(records) > max(SPARSE_CELLS, 10 * sum(map(len, records))):
        raise RequestError(
            Fault.MALFORMED,
            f"the {len(records)} rows have {len(names)} different names in all; send rows of the same names",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TablePlan:
    """A signature of named numbers of one type, ready to check bodies against."""

    columns: tuple[str, ...]
    names: list[str]
    dtype: np.dtype[Any]
    kinds: str
    """NumPy kinds that a body's numbers may have: whole numbers become floats, never the reverse."""
    pick: Callable[[Any], Any]

    @classmethod
    def of(cls, signature: Signature) -> Self | None:
        """The plan, where the signature is such a table."""
        if not signature.matrix_type:
            return None
        columns = tuple(column.name for column in signature.columns)
        dtype = np.dtype(signature.matrix_type)
        one = columns[0]
        pick = itemgetter(*columns) if len(columns) > 1 else lambda record: (record[one],)
        return cls(
            columns=columns, names=list(columns), dtype=dtype, kinds="fi" if dtype.kind == "f" else "i", pick=pick
        )

    def from_rows(self, rows: Any) -> Matrix | None:  # noqa: ANN401  any JSON value
        """A list of lists, in the signature's order."""
        try:
            values = np.array(rows)
        except ValueError:  # ragged
            return None
        if values.ndim != 2 or values.shape[1] != len(self.names) or values.dtype.kind not in self.kinds:  # noqa: PLR2004
            return None
        cast = values if values.dtype == self.dtype else self._cast(values)
        return None if cast is None else Matrix(values=cast, columns=self.columns)

    def _cast(self, values: np.ndarray) -> np.ndarray | None:
        """To the signature's type; None where a whole number does not fit in it (``integer`` has 32 bits)."""
        cast = values.astype(self.dtype)
        return cast if self.dtype.kind == "f" or np.array_equal(cast, values) else None

    def from_records(self, records: Any) -> Matrix | None:  # noqa: ANN401
        """A list of objects that each have exactly the signature's names."""
        if type(records) is not list:
            return None
        width = len(self.names)
        try:
            rows = [self.pick(record) for record in records if len(record) == width]
        except (KeyError, TypeError):
            return None
        return self.from_rows(rows) if len(rows) == len(records) else None

    def from_columns(self, columns: Any) -> Matrix | None:  # noqa: ANN401
        """An object of lists, one for each of the signature's names."""
        if type(columns) is not dict or len(columns) != len(self.names):
            return None
        try:
            by_column = np.array([columns[name] for name in self.names])
        except (KeyError, ValueError):
            return None
        return self.from_rows(by_column.T.copy()) if by_column.ndim == 2 else None  # noqa: PLR2004
