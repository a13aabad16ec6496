"""Does a column look other than its reference? Tests with an effect size, over many columns at a false discovery rate.

Numbers: Kolmogorov-Smirnov with the distance D as effect. Categories: chi-squared test of homogeneity (a contingency
table of both samples, so that a small reference is not taken for the truth) with the total variation distance as
effect. Missing values are a category of their own test. PSI (reference-quantile bins) is reported and does not decide:
its null distribution depends on the sample sizes. A column drifts only where the q-value is small *and* the effect is
large: with enough rows every difference is "significant".

Pure statistics of one look at columns; which windows, how many of n, and what follows are the gate's business.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from numbers import Real
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from mlflow_deploy_plugin.errors import ConfigError
from pipelines.analysis.checks import Column, Flags
from pipelines.analysis.multiple import q_values

Kind = Literal["number", "category"]
Method = Literal["ks", "chi2", "none"]

PSI_BINS = 10
PSI_FLOOR = 1e-4
"""Share that an empty bin is taken for, so that the logarithm exists."""

MOST_CATEGORIES = 100
"""Categories of the reference that are kept apart; the rarer ones are tested together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftGate:
    """When a column counts as drifted."""

    q: float = 0.01
    """Largest q-value, false discovery rate over the columns."""

    effect: float = 0.1
    """Smallest effect: distance between the distributions, from 0 (same) to 1 (disjoint)."""

    missing: float = 0.1
    """Change of the share of missing values that counts as drift, given as small a q-value."""

    unseen: float = 0.01
    """Share of rows with a category that the reference lacks, beyond chance, from which the column drifts."""

    minimum_rows: int = 100
    """Rows with a value, in reference and in current, below which a column is not tested."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnDrift:
    """What was found of one column."""

    column: str
    kind: Kind
    method: Method
    """``none``: too few values to test."""

    effect: float
    """D of Kolmogorov-Smirnov or total variation distance; 0 where not tested."""

    p: float
    q: float
    """Benjamini-Hochberg over the columns of the same call."""

    psi: float
    """Population stability index; reported only."""

    missing_reference: float
    missing_current: float
    missing_q: float
    unseen: float
    """Share of current rows with a category that the reference lacks, beyond what a sample of its size would miss."""

    rows_reference: int
    rows_current: int
    is_drifted: bool
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftResult:
    """What was found of all columns."""

    columns: tuple[ColumnDrift, ...]
    absent: tuple[str, ...]
    """Columns of the reference that current lacks: the schema is broken."""

    unexpected: tuple[str, ...]
    """Columns of current that the reference lacks: not tested."""

    @property
    def drifted(self) -> tuple[str, ...]:
        """Names of the drifted columns."""
        return tuple(found.column for found in self.columns if found.is_drifted)

    @property
    def untested(self) -> tuple[str, ...]:
        """Names of the columns with too few values."""
        return tuple(found.column for found in self.columns if found.method == "none")


def compare_columns(
    reference: Mapping[str, ArrayLike], current: Mapping[str, ArrayLike], *, gate: DriftGate | None = None
) -> DriftResult:
    """Test every column that both samples have.

    Args:
        reference: columns by name, each of shape (rows,): numbers, or anything else as categories; NaN and None
            are missing.
        current: the same, other rows.
        gate: levels; the default is q <= .01 and effect >= .1.

    Returns:
        One result per common column, in the order of the reference.

    Raises:
        ConfigError: a column that is not one-dimensional.

    >>> calm = {"age": np.arange(1000.0), "plan": np.array(["a", "b"] * 500)}
    >>> moved = {"age": np.arange(1000.0) + 300, "plan": np.array(["a", "b"] * 500)}
    >>> compare_columns(calm, moved).drifted
    ('age',)
    """
    levels = gate or DriftGate()
    names = [name for name in reference if name in current]
    found = [_test(name, _column(reference[name], name), _column(current[name], name), levels) for name in names]
    adjusted = q_values([each.p for each in found])
    missing = q_values([each.missing_q for each in found])
    return DriftResult(
        columns=tuple(
            _judged(replace(each, q=float(q), missing_q=float(missing_q)), levels)
            for each, q, missing_q in zip(found, adjusted, missing, strict=True)
        ),
        absent=tuple(name for name in reference if name not in current),
        unexpected=tuple(name for name in current if name not in reference),
    )


def ks_distance(reference: ArrayLike, current: ArrayLike) -> tuple[float, float]:
    """Kolmogorov-Smirnov distance D of two samples without missing values, and its p-value.

    ``D = sup |F(x) - G(x)|`` (Smirnov 1948); the p-value is asymptotic, and conservative for ties.

    >>> ks_distance([1.0, 2.0, 3.0, 4.0], [3.0, 4.0, 5.0, 6.0])[0]
    0.5
    """
    x, y = np.asarray(reference, dtype=np.float64), np.asarray(current, dtype=np.float64)
    found = stats.ks_2samp(x, y, method="asymp")
    return float(found.statistic), float(found.pvalue)


def chi2_homogeneity(reference: ArrayLike, current: ArrayLike) -> tuple[float, float]:
    """Total variation distance of two columns of counts, and the chi-squared p-value that they share one distribution.

    Pearson (1900) on the contingency table of both samples; the reference is a sample too. Categories that neither
    sample holds are left out.

    Args:
        reference: counts by category, shape (categories,).
        current: counts by category, in the same order.

    >>> chi2_homogeneity([50, 50], [90, 10])[0]
    0.4
    """
    table = np.array([reference, current], dtype=np.float64)
    table = table[:, table.sum(axis=0) > 0]
    if table.shape[1] <= 1 or (table.sum(axis=1) == 0).any():
        return 0.0, 1.0
    shares = table / table.sum(axis=1, keepdims=True)
    p_value = stats.chi2_contingency(table, correction=False).pvalue
    return float(np.abs(shares[0] - shares[1]).sum() / 2), float(p_value)


def psi(reference: ArrayLike, current: ArrayLike) -> float:
    """Population stability index of two columns of counts: ``sum (c - r) ln(c / r)`` over the bins' shares.

    Empty bins are taken for a share of 0.0001. The usual reading is below .1 stable, above .2 moved.

    >>> round(psi([50, 50], [60, 40]), 4)
    0.0405
    """
    shares = [np.asarray(n, dtype=np.float64) for n in (reference, current)]
    r, c = (np.maximum(n / max(n.sum(), 1.0), PSI_FLOOR) for n in shares)
    return float(((c - r) * np.log(c / r)).sum())


def _column(values: ArrayLike, name: str) -> Column:
    column = np.asarray(values)
    if column.ndim != 1:
        raise ConfigError(f"column {name!r} has shape {column.shape}: must have one dimension")
    return column


def _is_numeric(column: Column) -> bool:
    return np.issubdtype(column.dtype, np.number) and not np.issubdtype(column.dtype, np.complexfloating)


def _missing(column: Column) -> Flags:
    """Mask of None and of what does not equal itself: NaN, NaT, pandas' NA."""
    if column.dtype.kind in "iubUS":
        return np.zeros(column.shape, dtype=np.bool_)
    if column.dtype.kind in "fmM":
        return np.asarray(np.isnat(column) if column.dtype.kind in "mM" else np.isnan(column))
    return np.array([value is None or not _equals_itself(value) for value in column], dtype=np.bool_)


def _equals_itself(value: object) -> bool:
    is_equal = value == value  # noqa: PLR0124 -- the definition of NaN; pandas' NA answers NA, which has no truth
    return isinstance(is_equal, bool | np.bool_) and bool(is_equal)


def _numbers_if_all_are(column: Column) -> Column:
    """Objects that are all numbers as floats, times as ticks: pandas' nullable columns arrive as objects."""
    if column.dtype.kind in "mM":
        return column.astype(np.int64)
    is_all = column.dtype.kind == "O" and all(isinstance(v, Real) and not isinstance(v, bool) for v in column)
    return column.astype(np.float64) if is_all else column


def _test(name: str, reference: Column, current: Column, gate: DriftGate) -> ColumnDrift:
    """Test one column; q-values are filled in when all columns are known."""
    lost_r, lost_c = _missing(reference), _missing(current)
    rows = len(reference), len(current)
    kept_r, kept_c = _numbers_if_all_are(reference[~lost_r]), _numbers_if_all_are(current[~lost_c])
    is_number = _is_numeric(kept_r) and _is_numeric(kept_c)
    table = np.array([[lost_r.sum(), len(kept_r)], [lost_c.sum(), len(kept_c)]])
    missing_p = chi2_homogeneity(*table)[1] if min(rows) >= gate.minimum_rows else 1.0
    blank = ColumnDrift(
        column=name,
        kind="number" if is_number else "category",
        method="none",
        effect=0.0,
        p=1.0,
        q=1.0,
        psi=0.0,
        missing_reference=_share(int(lost_r.sum()), rows[0]),
        missing_current=_share(int(lost_c.sum()), rows[1]),
        missing_q=missing_p,
        unseen=0.0,
        rows_reference=rows[0],
        rows_current=rows[1],
        is_drifted=False,
        reason="",
    )
    if min(len(kept_r), len(kept_c)) < gate.minimum_rows:
        return blank
    return _numbers(blank, kept_r, kept_c) if is_number else _categories(blank, kept_r, kept_c)


def _numbers(blank: ColumnDrift, reference: Column, current: Column) -> ColumnDrift:
    x, y = reference.astype(np.float64), current.astype(np.float64)
    effect, p_value = ks_distance(x, y)
    edges = np.unique(np.quantile(x, np.linspace(0, 1, PSI_BINS + 1)[1:-1], method="lower"))
    binned = [np.bincount(np.searchsorted(edges, values), minlength=len(edges) + 1) for values in (x, y)]
    return replace(blank, method="ks", effect=effect, p=p_value, psi=psi(*binned))


def _categories(blank: ColumnDrift, reference: Column, current: Column) -> ColumnDrift:
    before, seen = (_counted(side) for side in (reference, current))
    once = sum(number == 1 for number in before.values())
    common = sorted((name for name in before if before[name] > 1), key=lambda name: -before[name])[:MOST_CATEGORIES]
    kept_r, kept_c = ([side.get(name, 0) for name in common] for side in (before, seen))
    unseen = sum(number for name, number in seen.items() if name not in before)
    # a reference value that occurs once is one that the rest of the reference lacks (Good 1953): ids do not drift
    table = (
        [*kept_r, len(reference) - sum(kept_r) - once, once],
        [*kept_c, len(current) - sum(kept_c) - unseen, unseen],
    )
    effect, p_value = chi2_homogeneity(*table)
    excess = max(0.0, _share(unseen, len(current)) - _share(once, len(reference)))
    return replace(blank, method="chi2", effect=effect, p=p_value, psi=psi(*table), unseen=excess)


def _counted(column: Column) -> dict[str, int]:
    values, numbers = np.unique(column.astype(str), return_counts=True)
    return dict(zip(values.tolist(), numbers.tolist(), strict=True))


def _judged(found: ColumnDrift, gate: DriftGate) -> ColumnDrift:
    change = abs(found.missing_current - found.missing_reference)
    reasons = []
    if found.q <= gate.q and found.effect >= gate.effect:
        reasons.append(f"{found.method} distance {found.effect:.2f}, q {found.q:.1g}")
    if found.missing_q <= gate.q and change >= gate.missing:
        reasons.append(f"missing {found.missing_reference:.0%} → {found.missing_current:.0%}")
    if found.unseen >= gate.unseen and found.q <= gate.q:
        reasons.append(f"{found.unseen:.0%} of rows hold a category that the reference lacks")
    calm = "too few values to test" if found.method == "none" else "like the reference"
    return replace(found, is_drifted=bool(reasons), reason="; ".join(reasons) or calm)


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
