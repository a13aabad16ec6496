"""What was observed of one arm of a rollout, by distinct users.

A user's requests are not independent, so the user is the unit: counts are of distinct users, latency is one value per
user, a metric is a sum and a count per user. A value that cannot be (NaN, more events than users, a count below zero
after a counter reset) is refused when it is built. Nothing here reads an event store.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from mlflow_deploy_plugin.errors import ConfigError
from pipelines.analysis.checks import Floats, Integers, counts, sample
from pipelines.analysis.checks import counts as whole_numbers

_TABLE = 2
"""Dimensions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UserCounts:
    """Distinct users of one arm, and how many of them had the event (an error, a wrong prediction, a slow answer).

    One entry per period of constant split, oldest first. A user belongs to the period in which the experiment first
    saw them, and to the arm that the split *assigned* them then, whoever answered. A user whom a growing canary takes
    over later stays where they were first counted.
    """

    exposed: Integers
    """Users seen, shape (periods,)."""

    events: Integers
    """Those of them with at least one event, shape (periods,)."""

    shares: Floats | None = None
    """Probability that the split assigns a user to this arm, shape (periods,); None: no randomised split is known."""

    is_final: bool = False
    """A counted user's outcome cannot change any more (one label per user); False: the event may yet come."""

    def __post_init__(self) -> None:
        if not len(self.exposed) == len(self.events) > 0:
            raise ConfigError(
                f"{len(self.exposed)} periods of exposed users and {len(self.events)} of events: must match"
            )
        if (self.events > self.exposed).any():
            raise ConfigError(f"events {self.events.tolist()} exceed users {self.exposed.tolist()}: count users once")
        if self.shares is None:
            return
        if len(self.shares) != len(self.exposed) or not ((self.shares > 0) & (self.shares < 1)).all():
            raise ConfigError(f"shares are {self.shares.tolist()}: one per period, each between 0 and 1, both excluded")

    @property
    def users(self) -> int:
        """Users exposed, all periods."""
        return int(self.exposed.sum())

    @property
    def users_with_event(self) -> int:
        """Users with the event, all periods."""
        return int(self.events.sum())

    @property
    def ratio(self) -> float:
        """Share of the users that had the event; NaN without users."""
        return self.users_with_event / self.users if self.users else math.nan


def user_counts(
    exposed: ArrayLike, events: ArrayLike, *, shares: ArrayLike | None = None, is_final: bool = False
) -> UserCounts:
    """Build :class:`UserCounts` from numbers or sequences (one entry per period of constant split).

    Raises:
        ConfigError: NaN, negative or fractional counts, more events than users, shares outside (0, 1).

    >>> user_counts(1000, 12, shares=0.1).ratio
    0.012
    >>> user_counts(10, 12)
    Traceback (most recent call last):
    ...
    mlflow_deploy_plugin.errors.ConfigError: events [12] exceed users [10]: count users once
    """
    split = None if shares is None else sample(np.atleast_1d(np.asarray(shares, dtype=np.float64)), "shares")
    return UserCounts(
        exposed=counts(exposed, "exposed"), events=counts(events, "events"), shares=split, is_final=is_final
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestCounts:
    """Requests of one arm and those that failed, by a source that cannot see users: independence is assumed."""

    requests: Integers
    """Shape (periods,), over the same periods for both arms."""

    failures: Integers
    """Those of them that failed, shape (periods,)."""

    def __post_init__(self) -> None:
        if self.requests.shape != self.failures.shape or (self.failures > self.requests).any():
            raise ConfigError(
                f"failures {self.failures.tolist()} of requests {self.requests.tolist()}: one per period, never more"
            )


def request_counts(requests: ArrayLike, failures: ArrayLike) -> RequestCounts:
    """Build :class:`RequestCounts` from numbers or sequences.

    Raises:
        ConfigError: NaN, negative or fractional counts, more failures than requests.

    >>> request_counts(1000, 12).failures.tolist()
    [12]
    """
    return RequestCounts(requests=counts(requests, "requests"), failures=counts(failures, "failures"))


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestLatencies:
    """Requests of one arm by latency, counted in buckets by a source that cannot see users."""

    bounds_ms: Floats
    """Upper bounds, ascending, shape (bounds,)."""

    counts: Integers
    """Requests in each bucket, the last above all bounds; shape (periods, bounds + 1)."""

    def __post_init__(self) -> None:
        if self.counts.ndim != _TABLE or self.counts.shape[1] != self.bounds_ms.size + 1 or (self.counts < 0).any():
            raise ConfigError(
                f"counts of shape {self.counts.shape} for {self.bounds_ms.size} bounds: one more than bounds in each"
                " period, none negative"
            )
        if not self.bounds_ms.size or (np.diff(self.bounds_ms) <= 0).any():
            raise ConfigError(f"bounds are {self.bounds_ms.tolist()}: at least one, ascending")

    @property
    def requests(self) -> Integers:
        """All of them, shape (periods,)."""
        return np.asarray(self.counts.sum(axis=1), dtype=np.int64)

    def above(self, bound_ms: float) -> Integers:
        """Requests slower than one of the bounds, shape (periods,)."""
        index = int(np.searchsorted(self.bounds_ms, bound_ms))
        return np.asarray(self.counts[:, index + 1 :].sum(axis=1), dtype=np.int64)


def request_latencies(bounds_ms: ArrayLike, counts: ArrayLike) -> RequestLatencies:
    """Build :class:`RequestLatencies`.

    Raises:
        ConfigError: bounds that do not ascend, counts that do not fit them or are no whole numbers.

    >>> request_latencies([50, 100], [[7, 2, 1]]).above(50).tolist()
    [3]
    """
    table = np.asarray(counts)
    whole = whole_numbers(table.ravel(), "counts").reshape(table.shape)
    return RequestLatencies(bounds_ms=sample(bounds_ms, "bounds_ms", minimum=0.0), counts=whole)


@dataclass(frozen=True, slots=True, kw_only=True)
class Latencies:
    """One latency per distinct user of one arm: that of their first request, so that a user counts once."""

    values_ms: Floats
    """Milliseconds, shape (users,)."""

    order: Floats
    """When each was seen, on a clock that both arms share (seconds, say); shape (users,)."""

    period: Integers
    """Period of constant split in which the experiment first saw the user, from 0; shape (users,)."""

    shares: Floats | None = None
    """Probability that the split assigns a user to this arm, shape (periods,); None: no randomised split is known."""

    def __post_init__(self) -> None:
        if self.values_ms.shape != self.order.shape:
            raise ConfigError(f"{len(self.values_ms)} latencies and {len(self.order)} times: must match")
        if self.period.shape != self.order.shape:
            raise ConfigError(f"{len(self.order)} latencies and {len(self.period)} periods of them: must match")
        if self.shares is None:
            return
        if not ((self.shares > 0) & (self.shares < 1)).all():
            raise ConfigError(f"shares are {self.shares.tolist()}: each must lie between 0 and 1, both excluded")
        if self.period.size and int(self.period.max()) >= len(self.shares):
            raise ConfigError(
                f"period {int(self.period.max())} has no share among {self.shares.tolist()}: give one each"
            )


def user_latencies(
    values_ms: ArrayLike, *, order: ArrayLike, period: ArrayLike | None = None, shares: ArrayLike | None = None
) -> Latencies:
    """Build :class:`Latencies` from one value per user; without ``period`` all belong to the first.

    Raises:
        ConfigError: NaN, a negative latency, shapes that do not match, shares outside (0, 1).

    >>> user_latencies([20.0, 30.0], order=[1, 2], shares=0.1).period.tolist()
    [0, 0]
    """
    values = sample(values_ms, "values_ms", minimum=0.0)
    split = None if shares is None else sample(np.atleast_1d(np.asarray(shares, dtype=np.float64)), "shares")
    return Latencies(
        values_ms=values,
        order=sample(order, "order"),
        period=counts(np.zeros(values.shape) if period is None else period, "period"),
        shares=split,
    )


def first_latencies(
    values_ms: ArrayLike, *, users: ArrayLike, order: ArrayLike, share: float | None = None
) -> Latencies:
    """Keep each user's first request of one arm.

    Args:
        values_ms: latency of each request, shape (requests,).
        users: user of each request, shape (requests,).
        order: time of each request, shape (requests,).
        share: probability that the split assigns a user to this arm.

    Raises:
        ConfigError: NaN, a negative latency, shapes that do not match.

    >>> first_latencies([90.0, 20.0, 30.0], users=["a", "a", "b"], order=[2, 1, 3]).values_ms
    array([20., 30.])
    """
    values, times, who = sample(values_ms, "values_ms", minimum=0.0), sample(order, "order"), np.asarray(users)
    if not values.shape == times.shape == who.shape:
        raise ConfigError(f"{len(values)} latencies, {len(times)} times and {who.size} users: must match")
    by_time = np.argsort(times, kind="stable")
    first = np.sort(np.unique(who[by_time], return_index=True)[1])
    kept = by_time[first]
    return user_latencies(values[kept], order=times[kept], shares=share)


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A metric of one arm by distinct user: a sum, and a count where the metric is a ratio of the two."""

    sums: Floats
    """The user's total, shape (users,): revenue, clicks, loss."""

    counts: Floats | None = None
    """The user's denominator, shape (users,): requests, views. None: the metric is the mean of ``sums``."""

    before: Floats | None = None
    """The same metric of the same user from before the assignment, shape (users,), for CUPED. None: not used."""

    period: Integers | None = None
    """Period of constant split that dealt the user, from 0, the same for both arms, shape (users,). None: only one."""

    def __post_init__(self) -> None:
        for name, column in (("counts", self.counts), ("before", self.before), ("period", self.period)):
            if column is not None and column.shape != self.sums.shape:
                raise ConfigError(f"{len(self.sums)} users and {len(column)} of {name}: must match")


def metric(
    sums: ArrayLike,
    *,
    counts: ArrayLike | None = None,
    before: ArrayLike | None = None,
    period: ArrayLike | None = None,
) -> Metric:
    """Build a :class:`Metric`, one entry per user.

    Raises:
        ConfigError: NaN or infinity, a negative count, shapes that do not match.

    >>> len(metric([1.0, 0.0], counts=[10, 3]).sums)
    2
    """
    return Metric(
        sums=sample(sums, "sums"),
        counts=None if counts is None else sample(counts, "counts", minimum=0.0),
        before=None if before is None else sample(before, "before"),
        period=None if period is None else whole_numbers(period, "period"),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class UserMoments:
    """A metric of one arm's users, added up where they are: for comparisons that need no single user.

    One entry per period of constant split that has users; sums of squares and products are about the period's means.
    """

    period: Integers
    """From 0, the same for both arms, each once; shape (periods,)."""

    users: Integers
    """Shape (periods,)."""

    mean: Floats
    """Of the users' values, shape (periods,)."""

    squares: Floats
    """Sum of squared distances from the mean, shape (periods,)."""

    past: "PastMoments | None" = None
    """Of the same users before the assignment, for CUPED. None: not used."""

    def __post_init__(self) -> None:
        if len(set(self.period.tolist())) != len(self.period):
            raise ConfigError(f"periods are {self.period.tolist()}: add up each once")
        p = self.past
        past = () if p is None else (p.mean, p.squares, p.products, p.least, p.largest)
        if any(column.shape != self.period.shape for column in (self.users, self.mean, self.squares, *past)):
            raise ConfigError(f"{len(self.period)} periods and other numbers of sums: must match")


@dataclass(frozen=True, slots=True, kw_only=True)
class PastMoments:
    """The same users' metric from before, by period; shapes as in :class:`UserMoments`."""

    mean: Floats
    squares: Floats
    products: Floats
    """Sum of products of both distances: that of the metric and that of its past."""
    least: Floats
    largest: Floats
    """Where they are the same for all, the past explains nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """An observation that cannot be used: no source, a counter that was reset, a join that failed."""

    reason: str
    """In the words of a verdict: ``the canary's counter was reset``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """All that was observed of one arm. What was not observed is Missing, and its gates are Inconclusive."""

    name: str
    errors: UserCounts | RequestCounts | Missing = field(default=Missing(reason="no errors were observed"))
    labels: UserCounts | Missing = field(default=Missing(reason="no labels have arrived"))
    """Users with a wrong prediction among those with a label."""

    latency: Latencies | RequestLatencies | Missing = field(default=Missing(reason="no latencies were observed"))
    metrics: Mapping[str, Metric | UserMoments | Missing] = field(default_factory=dict)


def counter_increase(readings: ArrayLike, name: str = "counter") -> int | Missing:
    """Increase of a monotonic counter over its readings, or Missing where it went backwards or has gaps.

    >>> counter_increase([10, 12, 15])
    5
    >>> counter_increase([10, 12, 3])
    Missing(reason='counter was reset')
    """
    values = np.asarray(readings, dtype=np.float64)
    if values.size <= 1:
        return Missing(reason=f"{name} has fewer than two readings")
    if not np.isfinite(values).all():
        return Missing(reason=f"{name} has readings that are no numbers")
    if (np.diff(values) < 0).any():
        return Missing(reason=f"{name} was reset")
    return int(values[-1] - values[0])
