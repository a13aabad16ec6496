"""The event store as a source of observations: both arms by distinct user, since the rollout is served."""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np

from pipelines.analysis.arms import Arm, Latencies, Missing, UserCounts, user_counts, user_latencies
from pipelines.monitoring.event_labels import LabelCut, UserChoice
from pipelines.monitoring.event_summaries import Window
from pipelines.monitoring.exposure import Period, Seen, SplitOf, periods, settled, tally
from pipelines.monitoring.label_metric import FIRST_LABEL, LABEL, label_metrics
from pipelines.monitoring.performance import wrong_of
from pipelines.promotion.observation import Observation

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from pipelines.analysis.arms import Metric, UserMoments
    from pipelines.monitoring.event_summaries import LatencySample
    from pipelines.monitoring.samples import EventLog
    from pipelines.promotion.drift.evidence import UserTally

MAX_USERS = 1_000_000
"""Users of both arms whose labels are held in memory, about 250 bytes each, for the metrics of labels."""
MOST_UNKNOWN = 0.01
"""Share of the users whose exposure may be unknown before nothing is promoted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventObserver:
    """Satisfies :class:`pipelines.promotion.observation.Observer`."""

    log: "EventLog"
    stage: str
    endpoint: str
    split_of: SplitOf
    maturity: timedelta | None = field(default=None)
    asked: "Collection[str]" = ()
    """Metrics that somebody judges: of labels as numbers, nothing is added up for nobody."""
    before: timedelta | None = None
    """How long before the rollout the users' own labels are looked up; ``None``: nobody asks."""
    max_users: int = MAX_USERS
    """Beyond them labels are added up, and what needs each user's (bounds, the first label) holds."""

    def observe(self, *, stable: str, canary: str, since: datetime, now: datetime) -> Observation:
        """What the gateway and the labels say of the two arms.

        Raises:
            EventStoreError: the store cannot be read.
        """
        end = max(now, since) + timedelta(seconds=1)  # the end is not included
        window = Window(stage=self.stage, endpoint=self.endpoint, begin=since, end=end)
        seen, unreadable = self._seen(window)
        if (served := settled(seen, arms=(stable, canary), split_of=self.split_of)) is not None:
            window = window.since(served)
            seen, unreadable = self._seen(window)
        found, _ = periods(seen, arms=(stable, canary), split_of=self.split_of)
        cut = LabelCut(as_of=window.end, maturity=self.maturity)
        # metrics first: they look up the labels of before, too
        metrics = self._metrics(window, cut, (stable, canary), found, dealt=since)
        labels = self._labels(window, cut, (stable, canary), found)
        sample = self.log.latencies(window, arms=(stable, canary))

        def arm(name: str) -> Arm:
            errors = tally(found, name)
            return Arm(
                name=name,
                errors=_counts(errors) if errors and errors.users else Missing(reason="no users have been seen yet"),
                labels=labels.get(name, Missing(reason="no labels have arrived")),
                latency=_latencies(sample, name, found),
                metrics=metrics[name],
            )

        missing = (*_holes(unreadable), *_unknown(seen, self.split_of))
        return Observation(stable=arm(stable), canary=arm(canary), missing=missing)

    def _seen(self, window: Window) -> "tuple[list[Seen], Sequence[str]]":
        exposure = self.log.exposure(window)
        seen = [
            Seen(arm=arm, commit=p.commit, began=p.began, users=p.users, failed=p.users_with_error)
            for arm, found in exposure.arms.items()
            for p in found.periods
        ]
        return seen, exposure.unreadable

    def _metrics(
        self, window: Window, cut: LabelCut, arms: tuple[str, str], found: "Sequence[Period]", *, dealt: datetime
    ) -> "dict[str, dict[str, Metric | UserMoments | Missing]]":
        """By arm. What users had before is what had arrived before anybody was dealt: no arm can have touched it."""
        if not {LABEL, FIRST_LABEL} & set(self.asked):
            return {arm: {} for arm in arms}
        choice = UserChoice(
            arms=arms,
            splits=[period.began for period in found[1:]] if found else None,  # what is before the first belongs to it
            past=None if self.before is None else replace(window, begin=dealt - self.before, end=dealt),
            limit=self.max_users,
        )
        labels = self.log.user_labels(window, cut, choice)
        return {arm: label_metrics(labels, arm) for arm in arms}

    def _labels(
        self, window: Window, cut: LabelCut, arms: tuple[str, str], found: "Sequence[Period]"
    ) -> "dict[str, UserCounts]":
        outcomes = self.log.outcomes(window, cut, arms=arms, splits=[period.began for period in found])
        wrong = {arm: wrong_of(outcomes, arm, found) for arm in arms}
        return {arm: _counts(each, is_final=True) for arm, each in wrong.items() if each.users}


def _latencies(sample: "LatencySample", name: str, found: "Sequence[Period]") -> Latencies | Missing:
    """Users of one arm, each in the period whose split dealt them; users of no period are left out."""
    period_of = {commit: index for index, period in enumerate(found) for commit in period.commits}
    period = np.array([period_of.get(commit, -1) for commit in sample.commit], dtype=np.int64)
    kept = (sample.arm == name) & (period >= 0)
    if not kept.any():
        return Missing(reason="no latencies have been seen yet")
    return user_latencies(
        sample.values_ms[kept],
        order=sample.seen[kept],
        period=period[kept],
        shares=[each.shares[name] for each in found],
    )


def _counts(each: "UserTally", *, is_final: bool = False) -> UserCounts:
    return user_counts(each.exposed, each.events, shares=each.shares or None, is_final=is_final)


def _unknown(seen: "Sequence[Seen]", split_of: SplitOf) -> tuple[Missing, ...]:
    """Missing exposure: users of whom nobody can say with which probability they were dealt."""
    users = sum(row.users for row in seen)
    unknown = sum(row.users for row in seen if split_of(row.commit) is None)
    if unknown <= MOST_UNKNOWN * users:
        return ()
    return (Missing(reason=f"missing exposure: {unknown} of {users} users were dealt by a commit that nobody knows"),)


def _holes(unreadable: "Sequence[str]") -> tuple[Missing, ...]:
    if not unreadable:
        return ()
    return (Missing(reason=f"{len(unreadable)} files of the event store cannot be read, the first is {unreadable[0]}"),)
