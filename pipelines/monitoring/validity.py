"""Is the log fit to be judged? Asked before any statistic, since most "drift" is a broken column.

Evidently 0.7 drops a missing column without a word, fails on an empty one, and calls 90 % missing "no drift"; each of
those is a check of its own here. A range or a new category is told but blocks nothing: inputs that left the training
sample are what drift is.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from pipelines.analysis.checks import LARGEST
from pipelines.analysis.strata import Stratum, standardized
from pipelines.monitoring.columns import Columns
from pipelines.monitoring.event_summaries import ArmLabels, Oddities, Outcomes
from pipelines.promotion.drift import words
from pipelines.promotion.drift.evidence import Check, Scope

if TYPE_CHECKING:
    import pandas as pd

MISSING_RISE: Final = 0.1
"""Rise of a column's missing share over the reference's that is told."""
EMPTY: Final = 0.5
"""Rise beyond which the rest of the column says nothing, and it is not compared."""
OUTSIDE: Final = 0.01
"""Share of an arm's values outside the reference's range that is told."""
COVERAGE_USERS: Final = 100
"""Users with a mature prediction, of both arms, below which coverage is not compared."""
COVERAGE_GAP: Final = 0.1
"""Difference between two arms' shares of labelled users that is a fault."""
COVERAGE_P: Final = 0.001
"""Largest probability of such a difference by chance."""
UNMEASURED: Final = 0.01
"""Share of an arm's labelled users whose error cannot be added up, beyond which the others do not stand for them."""
NAMED: Final = 5
"""Columns that one check names."""


def schema_checks(frame: "pd.DataFrame", *, arm: str, reference: "pd.DataFrame", columns: Columns) -> Iterator[Check]:
    """Columns that the reference has and the log lacks, and the reverse. ``frame`` is as logged, not aligned."""
    if missing := [name for name in columns.compared if name not in frame.columns]:
        detail = f"the log of {arm} holds no value of {_named(missing)}, while another arm's does"
        yield Check(name="missing-columns", subject=arm, is_ok=False, scope="inputs", detail=detail)
    known = {str(name) for name in reference.columns}
    if extra := [str(name) for name in frame.columns if str(name) not in known]:
        detail = f"{arm} logs {_named(extra)}, unknown to the reference and not compared"
        yield Check(name="schema", subject=arm, is_ok=False, detail=detail)
    yield from (_wrong_type(frame, arm=arm, name=name) for name in columns.numbers if _is_text(frame, name))


def unlogged_check(unlogged: Collection[str], *, endpoint: str, is_all: bool) -> Check:
    """Columns of the reference that no arm logs: left out on purpose, unless all are."""
    detail = f"no log of {endpoint} holds {_named(sorted(unlogged))}; they are not compared"
    way_out = " (-C log=full keeps features, -C log_drop leaves columns out)"
    return Check(
        name="missing-columns",
        subject=endpoint,
        is_ok=False,
        scope="inputs" if is_all else "none",
        detail=detail + way_out,
    )


def untested(frame: "pd.DataFrame", baseline: "pd.DataFrame", *, needed: int) -> tuple[str, ...]:
    """Columns with too few values on one side for any test; both frames are aligned.

    >>> import pandas as pd
    >>> now, then = pd.DataFrame({"age": [1.0] * 100}), pd.DataFrame({"age": [1.0] * 99})
    >>> untested(now, then, needed=100), untested(now, now, needed=100)
    (('age',), ())
    """
    return tuple(str(name) for name in frame.columns if min(frame[name].count(), baseline[name].count()) < needed)


def reference_checks(
    baseline: "pd.DataFrame", columns: Columns, few: Sequence[str], *, needed: int, arm: str
) -> Iterator[Check]:
    """Whether the training sample can say anything: what no test has looked at is not like it."""
    if not columns.compared:
        whys = _named(f"{name} ({why})" for name, why in columns.skipped) or "it has none that anybody logs"
        detail = f"no column of the training sample can be compared: {whys}; log one that has others, or -C reference="
        yield Check(name="reference", subject=arm, is_ok=False, scope="world", detail=detail)
    elif len(baseline) < needed:
        detail = (
            f"the training sample has {len(baseline)} rows, {needed} are needed; log a larger one, or -C reference="
        )
        yield Check(name="reference", subject=arm, is_ok=False, scope="world", detail=detail)
    elif few:
        scope: Scope = "world" if len(few) == len(columns.compared) else "none"
        detail = (
            f"{_named(few)}: fewer than {needed} values in the training sample or in the log of {arm}; not compared"
        )
        yield Check(name="reference", subject=arm, is_ok=False, scope=scope, detail=detail)


def missingness_checks(
    frame: "pd.DataFrame", *, arm: str, baseline: "pd.DataFrame", against: str
) -> Iterator[tuple[Check, str]]:
    """Columns that are missing more often than in ``baseline``, each with its name; both frames are aligned."""
    ours, theirs = frame.isna().mean(), baseline.isna().mean()
    for name in frame.columns:
        rise = float(ours[name] - theirs[name])
        if rise > MISSING_RISE:
            detail = f"{name} is missing in {ours[name]:.0%} of {arm}'s rows, in {theirs[name]:.0%} of {against}"
            scope: Scope = "inputs" if rise > EMPTY else "none"
            yield Check(name="missingness", subject=arm, is_ok=False, scope=scope, detail=detail), str(name)


def range_checks(frame: "pd.DataFrame", *, arm: str, reference: "pd.DataFrame", columns: Columns) -> Iterator[Check]:
    """Numbers outside the reference's range and categories that it never held."""
    for name in columns.numbers:
        low, high = reference[name].min(), reference[name].max()
        outside = float(((frame[name] < low) | (frame[name] > high)).mean())
        if outside > OUTSIDE:
            detail = f"{outside:.0%} of {arm}'s {name} lie outside {low:g} to {high:g} of the reference"
            yield Check(name="range", subject=arm, is_ok=False, detail=detail)
    for name in columns.categories:
        unseen = frame[name].dropna()[~frame[name].dropna().isin(set(reference[name].dropna()))]
        if len(unseen):
            detail = f"{name} has {unseen.nunique()} categories unknown to the reference: {_named(unseen.unique())}"
            yield Check(name="categories", subject=arm, is_ok=False, detail=detail)


def sample_size_check(*, arm: str, users: int, needed: int, is_stable: bool) -> Check:
    """Whether an arm has enough distinct users. A small canary is only told: stable can be judged without it."""
    return Check(
        name="sample-size",
        subject=arm,
        is_ok=users >= needed,
        scope="inputs" if is_stable else "none",
        detail=f"{users} distinct users of {arm}, {needed} are needed",
    )


def coverage_checks(
    spans: Sequence[Mapping[str, ArmLabels]], *, stable: str, canaries: Iterable[str]
) -> Iterator[Check]:
    """Canaries whose users' labels arrive more or less often than stable's: comparing what arrived would be unfair.

    ``spans`` are stretches of time with one split each. Within one the arms have the same users but for chance; over
    several a canary that has grown has its users late, and their labels too.
    """
    for name in canaries:
        pairs = [(span.get(name, ArmLabels()), span.get(stable, ArmLabels())) for span in spans]
        users = [sum(each.users_mature for each in arm) for arm in zip(*pairs, strict=True)]
        if min(users, default=0) < COVERAGE_USERS:
            continue
        found = standardized([_stratum(arm, control) for arm, control in pairs])
        if not abs(found.share - found.control_share) > COVERAGE_GAP or found.p > COVERAGE_P:
            continue
        detail = (
            f"labels have arrived for {found.share:.0%} of {name}'s users and for {found.control_share:.0%} of"
            f" {stable}'s at the same time; find out why, or give --maturity so that young predictions are not counted"
        )
        yield Check(name="labels", subject=name, is_ok=False, scope="labels", detail=detail)


def _stratum(arm: ArmLabels, control: ArmLabels) -> Stratum:
    return Stratum(
        units=arm.users_mature,
        hits=arm.users_labelled,
        control_units=control.users_mature,
        control_hits=control.users_labelled,
    )


def oddity_checks(labels: Oddities, *, late: int, endpoint: str) -> Iterator[Check]:
    """Labels that came twice, contradict each other or belong to nothing; told, and no harm to the comparison."""
    since = f" since {labels.since:%Y-%m-%d %H:%M}" if labels.since else ""
    counted = {
        "came more than once (the first counts)": labels.duplicates,
        "rows have labels that contradict each other": labels.contradictions,
        f"belong to no logged prediction{since}": labels.unknown,
        "came too late to count": late,
    }
    if told := [f"{number} {what}" for what, number in counted.items() if number]:
        yield Check(name="labels", subject=endpoint, is_ok=False, detail=f"of the labels, {', '.join(told)}")


def unmeasured_checks(outcomes: Sequence[Outcomes]) -> Iterator[Check]:
    """Arms with users whose prediction or label is no number to add up; leaving out many would flatter the arm."""
    for arm in dict.fromkeys(row.deployment for row in outcomes):
        mine = [row for row in outcomes if row.deployment == arm]
        lost, users = sum(row.unmeasured for row in mine), sum(row.unmeasured + row.measured for row in mine)
        if not lost:
            continue
        are_many = are_too_many(lost, users)
        more = ", too many for the others to stand for them: correct those labels or that model" if are_many else ""
        detail = (
            f"the prediction or the label of {lost} of {users} users of {arm} is not finite or beyond {LARGEST:g};"
            f" their errors are left out{more}"
        )
        yield Check(name="labels", subject=arm, is_ok=False, scope="labels" if are_many else "none", detail=detail)


def contrary_checks(outcomes: Sequence[Outcomes], *, needed: int) -> Iterator[Check]:
    """Labels that no arm's answers are ever like: they are of another kind, and tell no arm from another.

    Args:
        outcomes: users by arm and period, of classes.
        needed: users of each arm below which that may be chance.
    """
    every = {arm: [row for row in outcomes if row.deployment == arm] for arm in {row.deployment for row in outcomes}}
    users = {arm: sum(row.users for row in rows) for arm, rows in every.items()}
    if not users or min(users.values()) < needed or any(row.wrong < row.users for row in outcomes):
        return
    detail = (
        f"none of {sum(users.values())} users was answered what their label says, by any version: labels must be as the"
        " model answers, a class by its number or its name; send them so, they tell nothing"
    )
    yield Check(name="labels", subject=min(users), is_ok=False, scope="labels", detail=detail)


def are_too_many(lost: int, users: int) -> bool:
    """Whether so many of all users were left out that the others do not stand for them.

    >>> are_too_many(1, 100), are_too_many(2, 100)
    (False, True)
    """
    return lost > UNMEASURED * users


def _wrong_type(frame: "pd.DataFrame", *, arm: str, name: str) -> Check:
    detail = f"{name} is text in the log of {arm} (first: {_first(frame, name)}) and a number in the reference"
    return Check(name="schema", subject=arm, is_ok=False, scope="inputs", detail=detail)


def _first(frame: "pd.DataFrame", name: str) -> str:
    return f"'{words.value(str(frame[name].dropna().iloc[0]))}'"


def _is_text(frame: "pd.DataFrame", name: str) -> bool:
    """Whether values are there and none of them reads as a number."""
    import pandas as pd  # noqa: PLC0415  heavy

    if name not in frame.columns:
        return False
    present = frame[name].dropna()
    return bool(len(present)) and bool(pd.to_numeric(present, errors="coerce").isna().all())


def _named(names: Iterable[object]) -> str:
    every = [words.value(str(name)) for name in names]
    more = f" and {len(every) - NAMED} more" if len(every) > NAMED else ""
    return ", ".join(every[:NAMED]) + more
