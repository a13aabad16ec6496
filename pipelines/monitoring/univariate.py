"""Column by column: one arm against the training sample or against stable. The statistics are ``analysis.drift``'s.

Frames are aligned (:mod:`.columns`) and hold one row per user, since the tests assume independent rows.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pipelines.analysis.drift import ColumnDrift, DriftGate, compare_columns
from pipelines.promotion.drift import words
from pipelines.promotion.drift.evidence import Against, FeatureShift
from pipelines.promotion.drift.policy import DriftPolicy

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray


Part = tuple["pd.DataFrame", "pd.DataFrame"]
"""Rows of one part of the window, and those that they are compared with."""


def rows_needed(policy: DriftPolicy) -> int:
    """Values of a column, on each side, below which it is not tested."""
    return min(100, policy.min_users)


def shifts(
    frame: "pd.DataFrame", baseline: "pd.DataFrame", *, arm: str, against: Against, policy: DriftPolicy
) -> tuple[FeatureShift, ...]:
    """Every tested column of ``frame`` beside ``baseline``, greatest effect first; both frames are aligned.

    >>> import pandas as pd
    >>> then, now = pd.DataFrame({"age": [1.0, 2.0] * 100}), pd.DataFrame({"age": [2.0, 3.0] * 100})
    >>> found = shifts(now, then, arm="churn", against="reference", policy=DriftPolicy())
    >>> found[0].feature, found[0].effect, found[0].direction
    ('age', 0.5, 'mean 1.5 → 2.5')
    """
    gate = DriftGate(q=policy.fdr, effect=policy.enter_effect, minimum_rows=rows_needed(policy))
    result = compare_columns(_arrays(baseline), _arrays(frame), gate=gate)
    found = [s for column in result.columns for s in _both(column, frame, baseline, arm=arm, against=against)]
    return tuple(sorted(found, key=lambda s: (-s.effect, s.feature)))


def parts_of(times: "pd.Series[Any]", policy: DriftPolicy) -> "list[pd.Series[bool]]":
    """Masks of the window's parts, oldest first: as many users in each, as many parts as have users enough, or one."""
    count = max(1, min(policy.windows, len(times) // policy.min_users))
    order = times.rank(method="first") - 1
    number = (order * count // max(1, len(times))).astype("int64")
    return [number == part for part in range(count)]


def lasting(found: Sequence[FeatureShift], parts: "Sequence[Part]", policy: DriftPolicy) -> tuple[FeatureShift, ...]:
    """``found`` with the parts that show each shift counted; columns that have not shifted are not looked at again."""
    moved = sorted({s.feature for s in found if s.q <= policy.fdr and s.effect >= policy.enter_effect})
    gate = DriftGate(q=policy.window_p, effect=policy.enter_effect, minimum_rows=rows_needed(policy))
    hits: dict[tuple[str, bool], int] = {}
    for now, before in parts:
        columns = compare_columns(_arrays(before[moved]), _arrays(now[moved]), gate=gate).columns if moved else ()
        for column in columns:
            is_shifted = column.q <= gate.q and column.effect >= gate.effect
            is_lost = column.missing_q <= gate.q and _rise(column) >= gate.missing
            hits[column.column, False] = hits.get((column.column, False), 0) + is_shifted
            hits[column.column, True] = hits.get((column.column, True), 0) + is_lost
    return tuple(
        replace(s, hits=hits[s.feature, s.method == "missing"], parts=len(parts)) if s.feature in moved else s
        for s in found
    )


def _rise(column: ColumnDrift) -> float:
    return abs(column.missing_current - column.missing_reference)


def _arrays(frame: "pd.DataFrame") -> "dict[str, NDArray[Any]]":
    return {str(name): frame[name].to_numpy() for name in frame.columns}


def _both(
    column: ColumnDrift, frame: "pd.DataFrame", baseline: "pd.DataFrame", *, arm: str, against: Against
) -> Iterator[FeatureShift]:
    """The shift of a column's values, and where missing values rose, theirs."""
    if column.method != "none":
        yield FeatureShift(
            feature=column.column,
            arm=arm,
            against=against,
            method=column.method,
            effect=round(column.effect, 6),
            q=_rounded(column.q),
            direction=_direction(column, frame, baseline),
        )
    rise = _rise(column)
    if rise >= DriftGate().missing:
        yield FeatureShift(
            feature=column.column,
            arm=arm,
            against=against,
            method="missing",
            effect=round(rise, 6),
            q=_rounded(column.missing_q),
            direction=f"missing {column.missing_reference:.0%} → {column.missing_current:.0%}",
        )


def _direction(column: ColumnDrift, frame: "pd.DataFrame", baseline: "pd.DataFrame") -> str:
    before, now = baseline[column.column].dropna(), frame[column.column].dropna()
    if column.kind == "number":
        return f"mean {before.mean():.4g} → {now.mean():.4g}"
    shares = now.value_counts(normalize=True).sub(before.value_counts(normalize=True), fill_value=0.0)
    top = str(shares.abs().idxmax())
    was, now_is = (float((values == top).mean()) for values in (before, now))
    return f"'{words.value(top)}' {was:.0%} → {now_is:.0%}"


def _rounded(q: float) -> float:
    """Four digits: enough to decide by, and short."""
    return float(f"{q:.4g}")
