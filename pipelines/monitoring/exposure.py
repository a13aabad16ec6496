"""Who was assigned to whom under which split: distinct users by arm and by period of constant weights.

The gateway's log says under which commit a user was first seen; the tree of that commit says with which probability
the split gave this user to each arm. Users whose commit is not known are left out and counted.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from mlflow_deploy_plugin.spec.names import TOTAL_WEIGHT
from pipelines.promotion.drift.evidence import UserTally

SplitOf = Callable[[str], Mapping[str, int] | None]
"""Weights at a commit of an endpoint's deployments that had their model of now; ``None`` where nobody knows."""

LAST_MOMENT: Final = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """Users of one arm whom the gateway first saw under one commit."""

    arm: str
    commit: str
    began: datetime
    users: int
    failed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """A stretch of time in which the arms' weights did not change, and the users first seen in it."""

    began: datetime
    commits: tuple[str, ...]
    """Those under which its users were first seen; a commit belongs to one period."""
    shares: Mapping[str, float]
    users: Mapping[str, int]
    failed: Mapping[str, int]


def periods(seen: Iterable[Seen], *, arms: Sequence[str], split_of: SplitOf) -> tuple[tuple[Period, ...], int]:
    """Periods in which every arm had weight, oldest first, and how many users fell into none of them."""
    by_commit: dict[str, list[Seen]] = {}
    for row in sorted(seen, key=lambda row: (row.began, row.arm)):
        by_commit.setdefault(row.commit, []).append(row)
    found: list[Period] = []
    lost = 0
    for commit, rows in by_commit.items():
        shares = _shares(split_of(commit), arms)
        for row in rows:
            if shares is None or row.arm not in shares:
                lost += row.users
                continue
            if not found or found[-1].shares != shares:
                found.append(Period(began=row.began, commits=(), shares=shares, users={}, failed={}))
            found[-1] = _joined(found[-1], row)
    return tuple(found), lost


def settled(seen: Sequence[Seen], *, arms: Sequence[str], split_of: SplitOf) -> datetime | None:
    """When the gateway began to deal users to ``arms`` with the models of now, where it still dealt otherwise before.

    A commit comes first, and a version takes its time to start: until then the gateway serves an earlier split, and a
    replaced model under the same name. The last moment there is, where nothing else was served yet; ``None`` where
    nothing came before.
    """
    began = {True: LAST_MOMENT, False: LAST_MOMENT}
    for row in seen:
        if (weights := split_of(row.commit)) is not None:
            is_now = _shares(weights, arms) is not None
            began[is_now] = min(began[is_now], row.began)
    return began[True] if began[False] < began[True] else None


def tally(found: Sequence[Period], arm: str) -> UserTally | None:
    """Users of one arm and those who met a failed attempt, by period; ``None`` where there was no period."""
    if not found:
        return None
    return UserTally(
        exposed=tuple(period.users.get(arm, 0) for period in found),
        events=tuple(period.failed.get(arm, 0) for period in found),
        shares=tuple(period.shares[arm] for period in found),
    )


def _joined(period: Period, row: Seen) -> Period:
    return Period(
        began=min(period.began, row.began),
        commits=tuple(dict.fromkeys((*period.commits, row.commit))),
        shares=period.shares,
        users={**period.users, row.arm: period.users.get(row.arm, 0) + row.users},
        failed={**period.failed, row.arm: period.failed.get(row.arm, 0) + row.failed},
    )


def _shares(weights: Mapping[str, int] | None, arms: Sequence[str]) -> dict[str, float] | None:
    """Shares of the arms; ``None`` where an arm had no weight, and so no control or no part."""
    if weights is None or any(not 0 < weights.get(arm, 0) < TOTAL_WEIGHT for arm in arms):
        return None
    return {arm: weights[arm] / TOTAL_WEIGHT for arm in arms}
