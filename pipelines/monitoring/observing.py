"""The event store as a source of observations: both arms by distinct user, since the rollout began."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np

from pipelines.analysis.arms import Arm, Latencies, Missing, UserCounts, user_counts, user_latencies
from pipelines.monitoring.event_labels import LabelCut
from pipelines.monitoring.event_summaries import Window
from pipelines.monitoring.exposure import Period, Seen, SplitOf, periods, tally
from pipelines.monitoring.label_metric import FIRST_LABEL, label_metrics, own_past
from pipelines.monitoring.performance import wrong_of
from pipelines.promotion.observation import Observation

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from pipelines.monitoring.event_summaries import LatencySample
    from pipelines.monitoring.samples import EventLog
    from pipelines.promotion.drift.evidence import UserTally

MAX_LABELLED = 200_000
"""Labelled rows that the metric of labels is computed from; the newest."""
TOO_MANY = Missing(reason=f"more than {MAX_LABELLED:,} labelled predictions: the first labels are not all known")
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
    before: timedelta | None = None
    """How long before the rollout the users' own labels are looked up; ``None``: nobody asks."""

    def observe(self, *, stable: str, canary: str, since: datetime, now: datetime) -> Observation:
        """What the gateway and the labels say of the two arms.

        Raises:
            EventStoreError: the store cannot be read.
        """
        end = max(now, since) + timedelta(seconds=1)  # the end is not included
        window = Window(stage=self.stage, endpoint=self.endpoint, begin=since, end=end)
        exposure = self.log.exposure(window)
        seen = [
            Seen(arm=arm, commit=p.commit, began=p.began, users=p.users, failed=p.users_with_error)
            for arm, found in exposure.arms.items()
            for p in found.periods
        ]
        found, _ = periods(seen, arms=(stable, canary), split_of=self.split_of)
        cut = LabelCut(as_of=window.end, maturity=self.maturity)
        labelled = self.log.labelled(window, cut, limit=MAX_LABELLED).frame
        cut_off = {FIRST_LABEL: TOO_MANY} if len(labelled) >= MAX_LABELLED else {}
        labels = self._labels(window, cut, (stable, canary), found)
        past = self._past(since)  # after all others: its labels take the place of this window's
        sample = self.log.latencies(window, arms=(stable, canary))

        def arm(name: str) -> Arm:
            errors = tally(found, name)
            return Arm(
                name=name,
                errors=_counts(errors) if errors and errors.users else Missing(reason="no users have been seen yet"),
                labels=labels.get(name, Missing(reason="no labels have arrived")),
                latency=_latencies(sample, name, found),
                metrics=label_metrics(labelled, name, found, past=past) | cut_off,
            )

        missing = (*_holes(exposure.unreadable), *_unknown(seen, self.split_of))
        return Observation(stable=arm(stable), canary=arm(canary), missing=missing)

    def _past(self, since: datetime) -> "pd.Series[float] | None":
        """What users had before anybody was dealt: labels that had arrived by then, which no arm can have touched."""
        if self.before is None:
            return None
        window = Window(stage=self.stage, endpoint=self.endpoint, begin=since - self.before, end=since)
        return own_past(self.log.labelled(window, LabelCut(as_of=since), limit=MAX_LABELLED).frame)

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
