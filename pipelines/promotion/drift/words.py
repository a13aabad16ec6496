"""Numbers as people read them. Text only; nothing is decided here.

>>> percent(0.3123)
'31.2 %'
>>> points(0.06)
'+6.0 pp'
>>> listed(["age", "income", "visits"])
'age, income and visits'
"""

from collections.abc import Sequence

from pipelines.promotion.drift.evidence import FeatureShift

MANY = 6
"""Names that a sentence holds before it counts the rest."""
SHOWN = 40
"""Characters of a value that somebody sent."""


def value(text: str) -> str:
    r"""What somebody sent, as short as a sentence bears it and on one line: it may be a page, or move a cursor.

    What cannot be printed is escaped, so that values that differ look different.

    >>> value("basic"), value("two\nlines"), len(value("x" * 5000))
    ('basic', 'two\\nlines', 41)
    """
    told = text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text[:SHOWN])
    return told if len(told) <= SHOWN else f"{told[:SHOWN]}…"


def percent(share: float) -> str:
    """A share as per cent with one decimal."""
    return f"{share * 100:.1f} %"


def points(difference: float) -> str:
    """A difference of shares as signed percentage points."""
    return f"{difference * 100:+.1f} pp"


def listed(names: Sequence[str]) -> str:
    """Names as a sentence would list them, the tail counted."""
    if len(names) > MANY:
        return f"{', '.join(names[:MANY])} and {len(names) - MANY} more"
    if len(names) < 2:  # noqa: PLR2004  one name needs no "and"
        return "".join(names)
    return f"{', '.join(names[:-1])} and {names[-1]}"


def shift(item: FeatureShift) -> str:
    """One shifted column: its name, its effect and which way it went."""
    certainty = f"q {item.q:.1g}" if item.q else "q below 1e-300"
    effect = f"effect {item.effect:.2f}, {certainty}"
    return f"{item.feature} ({item.direction}; {effect})" if item.direction else f"{item.feature} ({effect})"


def shifts(items: Sequence[FeatureShift]) -> str:
    """Shifted columns as a sentence lists them."""
    return listed([shift(item) for item in items])
