"""Prometheus as a source of observations: requests, failures and latencies of both arms, by counters at two times.

Counters know no users, so what is seen here assumes that requests are independent: it may hold and roll back, and
promotes nothing. Rules:

* one comparison per period of constant weights, so that an hour with many errors while the canary was small is not
  held for or against it; the first minute after a change is left out, while the gateway moves and scrapes are late;
* a counter counts from its first reading in the period, and from 0 where its series began in it;
* a counter that went backwards, a scrape that is missing at either end, a value that is no number: the whole arm is
  Missing, hence Inconclusive. A rate is never guessed over a hole.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal

import numpy as np

from pipelines.analysis.arms import Arm, Missing, RequestCounts, RequestLatencies, request_counts, request_latencies
from pipelines.monitoring.prometheus import Labels, Prometheus, Vector
from pipelines.promotion.observation import Observation

Counters = Literal["model", "envoy", "agent"]

SETTLE: Final = timedelta(minutes=1)
"""Left out after each change of weights; longer than the interval of scrapes, so that the reading before a stretch and
the first one in it are looked at for a reset."""

_MILLISECOND: Final = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Selectors:
    """Which series tell of one deployment."""

    alive: str
    """Present whenever the arm is scraped."""
    requests: str
    failures: str
    latency: str = ""
    """Buckets of a histogram; empty: not counted."""
    to_ms: float = 1.0
    """Milliseconds in the unit of its bounds."""


def selectors(counters: Counters, deployment: str) -> Selectors:
    """The Bentos' own metrics, Envoy's of the deployment's clusters, or the agent's count of the gateway's attempts.

    The last two outlive a dead Bento; of the first nothing is seen then, and nothing is decided.

    >>> selectors("model", "churn-v4").failures
    'model_requests_total{model_version="churn-v4",code=~"5..|429"}'
    """
    if counters == "model":
        arm = f'model_version="{deployment}"'
        return Selectors(
            alive=f"model_ready{{{arm}}}",
            requests=f"model_requests_total{{{arm}}}",
            failures=f'model_requests_total{{{arm},code=~"5..|429"}}',
            latency=f"model_prediction_latency_seconds_bucket{{{arm}}}",
            to_ms=1000.0,
        )
    if counters == "agent":
        arm = f'deployment="{deployment}"'
        return Selectors(
            alive=f"modelserve_deployment_weight_ratio{{{arm}}}",
            requests=f"modelserve_attempts_total{{{arm}}}",
            failures=f'modelserve_attempts_total{{{arm},outcome="failed"}}',
        )
    arm = f'envoy_cluster_name=~"{deployment}(@[0-9a-f]+)?"'
    return Selectors(
        alive=f"envoy_cluster_membership_total{{{arm}}}",
        requests=f"envoy_cluster_upstream_rq_completed{{{arm}}}",
        failures=f'envoy_cluster_upstream_rq_xx{{{arm},envoy_response_code_class="5"}}',
        latency=f"envoy_cluster_upstream_rq_time_bucket{{{arm}}}",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """A time in which the weights did not change."""

    begin: datetime
    end: datetime


def stretches(changes: Sequence[datetime], *, now: datetime, settle: timedelta = SETTLE) -> Iterator[Stretch]:
    """The time since the first of ``changes``, cut at each of them, without ``settle`` after it.

    >>> from datetime import UTC
    >>> noon = datetime(2026, 1, 1, 12, tzinfo=UTC)
    >>> [cut.end.hour for cut in stretches([noon, noon + timedelta(hours=1)], now=noon + timedelta(hours=3))]
    [13, 15]
    """
    ordered = sorted(changes)
    for begin, end in zip(ordered, [*ordered[1:], now], strict=True):
        if begin + settle < end:
            yield Stretch(begin=begin + settle, end=end)


@dataclass(frozen=True, slots=True, kw_only=True)
class CounterObserver:
    """Satisfies :class:`pipelines.promotion.observation.Observer`."""

    prometheus: Prometheus
    changes: Sequence[datetime]
    """When the weights changed since the rollout began, its beginning included."""
    counters: Counters = "model"
    settle: timedelta = SETTLE

    def observe(self, *, stable: str, canary: str, since: datetime, now: datetime) -> Observation:
        """What the counters say of the two arms.

        Raises:
            RetryLaterError: Prometheus is away.
            ModelserveError: it refuses the queries.
        """
        changes = [max(since, change) for change in self.changes] or [since]
        found = list(stretches(changes, now=now, settle=self.settle))
        return Observation(
            stable=Arm(name=stable, errors=self._counts(stable, found), latency=self._latencies(stable, found)),
            canary=Arm(name=canary, errors=self._counts(canary, found), latency=self._latencies(canary, found)),
            can_promote=False,
        )

    def _latencies(self, deployment: str, found: Sequence[Stretch]) -> RequestLatencies | Missing:
        """Counts by bucket; the buckets of Prometheus are cumulative."""
        chosen = selectors(self.counters, deployment)
        if not chosen.latency or not found:
            return Missing(reason="no latencies were counted")
        rows: list[dict[float, float]] = []
        for stretch in found:
            increases = self._increases(chosen.latency, stretch)
            if isinstance(increases, Missing):
                return increases
            row: dict[float, float] = {}
            for labels, risen in increases.items():
                bound = float(dict(labels).get("le", "nan")) * chosen.to_ms
                row[bound] = row.get(bound, 0.0) + risen
            rows.append(row)
        return _bucketed(rows)

    def _counts(self, deployment: str, found: Sequence[Stretch]) -> RequestCounts | Missing:
        if not found:
            return Missing(reason=f"less than {self.settle} since the weights changed")
        chosen = selectors(self.counters, deployment)
        requests: list[int] = []
        failures: list[int] = []
        for stretch in found:
            for moment in (stretch.begin, stretch.end):
                if not self.prometheus.query(chosen.alive, moment):
                    return Missing(reason=f"Prometheus has no {chosen.alive} at {moment.isoformat(timespec='seconds')}")
            for selector, counted in ((chosen.requests, requests), (chosen.failures, failures)):
                increase = self._increase(selector, stretch)
                if isinstance(increase, Missing):
                    return increase
                counted.append(increase)
        return request_counts(requests, np.minimum(failures, requests))

    def _increase(self, selector: str, stretch: Stretch) -> int | Missing:
        """Sum over all series of the selector."""
        found = self._increases(selector, stretch)
        return found if isinstance(found, Missing) else round(sum(found.values()))

    def _increases(self, selector: str, stretch: Stretch) -> dict[Labels, float] | Missing:
        """Of each series, from its readings at the two ends."""
        length = stretch.end - stretch.begin
        window, wider = (f"{selector}[{span // _MILLISECOND}ms]" for span in (length, length + self.settle))
        if any(self.prometheus.query(f"resets({wider})", stretch.end).values()):
            return Missing(reason=f"counter {selector} was reset")
        before: Vector = self.prometheus.query(selector, stretch.begin)
        after: Vector = self.prometheus.query(f"max_over_time({window})", stretch.end)
        increases: dict[Labels, float] = {}
        for labels, value in after.items():
            risen = value - before.get(labels, 0.0)
            if not math.isfinite(risen) or risen < 0:
                return Missing(reason=f"counter {selector} went from {before.get(labels)} to {value}")
            increases[labels] = risen
        return increases


def _bucketed(rows: Sequence[Mapping[float, float]]) -> RequestLatencies | Missing:
    """From cumulative counts by bound, one mapping a period, the last bound being infinite."""
    bounds = sorted(set().union(*rows))
    if len(bounds) <= 1 or not math.isinf(bounds[-1]) or any(row.keys() != set(bounds) for row in rows):
        return Missing(reason="no latencies were counted in buckets, or not in the same ones over the time")
    table = np.diff(np.array([[row[bound] for bound in bounds] for row in rows]), axis=1, prepend=0.0).round()
    if (table < 0).any():
        return Missing(reason="latencies were counted in buckets that do not add up")
    return request_latencies(bounds[:-1], table)
