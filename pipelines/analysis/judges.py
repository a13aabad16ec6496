"""Judges of simulated streams: ours, and those that others use, each looking after every user (or at its own ticks).

A judge answers, for each repetition, at which user it first says "the canary is worse": an index, or -1 for never.
The competitors are written down as they are used, peeking included: their measured false alarm rate is the point.
"""

import math
from collections.abc import Callable

import numpy as np
from scipy import stats

from pipelines.analysis import srm, two_rates
from pipelines.analysis.checks import Flags, Integers
from pipelines.analysis.event_share import ShareTest
from pipelines.analysis.gates import QuantileGate
from pipelines.analysis.quantiles import thresholds
from pipelines.analysis.simulate import Requests, Timings, Users, first_true

Judge = Callable[[Users], Integers]

EVENTS_AT_ONCE = 2000
LOOKS = 250
TICK_USERS = 25
"""Canary users between two looks of the Mann-Whitney judge, which compares windows."""

FEWEST_WINDOWS = 10
TICKS = 60
"""Looks of the Mann-Whitney judge at most, denser at first: every window of the first few hundred users."""

FEWEST_REQUESTS = 20


def by_event_share(stream: Users, *, alpha: float) -> Integers:
    """Ours, for errors: the e-value changes only with an event, so a look after each event is one after each user."""
    test, theta, needed = ShareTest(), np.array([stream.share]), -math.log(alpha)
    found = np.full(len(stream.is_event), -1, dtype=np.int64)
    for row, (is_event, is_canary) in enumerate(zip(stream.is_event, stream.is_canary, strict=True)):
        when = np.flatnonzero(is_event)
        canary = np.cumsum(is_canary[when])
        stable = np.arange(1, when.size + 1) - canary
        for start in range(0, when.size, EVENTS_AT_ONCE):
            part = slice(start, start + EVENTS_AT_ONCE)
            is_over = test.log_e(stable[part, None], canary[part, None], theta) >= needed
            if is_over.any():
                found[row] = when[part][is_over.argmax()]
                break
    return found


def by_two_rates(stream: Users, *, alpha: float, line: two_rates.Line, looks: int = LOOKS) -> Integers:
    """Ours, with a margin or with final outcomes: looks evenly in the stream, as many as asked."""
    size = stream.is_event.shape[1]
    when = np.unique(np.linspace(0, size - 1, min(looks, size)).astype(np.int64))
    cells = [
        np.cumsum(is_arm & is_kind, axis=1, dtype=np.int64)[:, when, None].astype(np.float64)
        for is_arm in (~stream.is_canary, stream.is_canary)
        for is_kind in (~stream.is_event, stream.is_event)
    ]
    theta = np.array([stream.share])
    evidence = [two_rates.log_e(two_rates.Table(*row), theta, line) for row in zip(*cells, strict=True)]
    return _at(when, first_true(np.stack(evidence) >= -math.log(alpha)))


def by_split(stream: Users, *, alpha: float) -> Integers:
    """Sequential SRM: at which user it first says that the arms do not get the users of the split."""
    canary = stream.canary_seen
    seen = np.arange(1, canary.shape[1] + 1)
    split = np.array([1 - stream.share, stream.share])
    found = [srm.sequential_p(np.stack([seen - row, row], axis=-1), split) <= alpha for row in canary]
    return first_true(np.stack(found))


def by_z_at(stream: Users, *, alpha: float, users: int) -> Integers:
    """Judge once, after so many users of both arms: one-sided z-test of two proportions, as it was planned."""
    at = min(users, stream.is_event.shape[1]) - 1
    is_worse = _z_scores(stream)[:, at] > stats.norm.isf(alpha)
    return np.where(is_worse, at, -1)


def by_peeked_z(stream: Users, *, alpha: float) -> Integers:
    """Judge by the same z-test after every user, from 20 canary users on: what a dashboard invites to."""
    return first_true((_z_scores(stream) > stats.norm.isf(alpha)) & (stream.canary_seen >= FEWEST_REQUESTS))


def by_ratio(stream: Users, *, bound: float) -> Integers:
    """Judge ">5 % errors": the canary's ratio so far is above the bound, from 20 canary users on."""
    seen = stream.canary_seen
    errors = np.cumsum(stream.is_canary & stream.is_event, axis=1)
    return first_true((errors > bound * seen) & (seen >= FEWEST_REQUESTS))


def by_mann_whitney(stream: Users, *, alpha: float) -> Integers:
    """Mann-Whitney on the ratios of windows, from the tenth window on, at 1 - alpha as Kayenta does at 98 %.

    The canary's windows are compared with those of a baseline of the same size, as Kayenta advises: every k-th user of
    stable. Windows of unequal size would have ratios that differ in law though the arms do not.
    """
    width = round(TICK_USERS / stream.share)
    windows = stream.is_event.shape[1] // width
    shape = len(stream.is_event), windows, width
    every = max(1, round((1 - stream.share) / stream.share))
    is_baseline = ~stream.is_canary & (np.cumsum(~stream.is_canary, axis=1) % every == 0)
    flags = (stream.is_canary, is_baseline, stream.is_event)
    is_canary, is_baseline, is_event = (each[:, : windows * width].reshape(shape) for each in flags)
    ratios = [
        (is_arm & is_event).sum(axis=2) / np.maximum(is_arm.sum(axis=2), 1) for is_arm in (is_canary, is_baseline)
    ]
    ticks = np.unique(np.geomspace(FEWEST_WINDOWS, max(windows, FEWEST_WINDOWS), TICKS).astype(np.int64))
    ticks = ticks[ticks <= windows]
    p_values = [
        stats.mannwhitneyu(
            ratios[0][:, :k], ratios[1][:, :k], alternative="greater", axis=1, method="asymptotic"
        ).pvalue
        for k in ticks
    ]
    if not p_values:
        return np.full(shape[0], -1, dtype=np.int64)
    return _at(ticks * width - 1, first_true(np.stack(p_values, axis=1) <= alpha))


def slow(stream: Timings, *, threshold_ms: float, factor: float = 1.0) -> Users:
    """Reduce latencies to the event "slower than the threshold"; the canary's are divided by ``factor`` before."""
    scaled = np.where(stream.is_canary, stream.latency_ms / factor, stream.latency_ms)
    return Users(is_canary=stream.is_canary, is_event=scaled > threshold_ms, share=stream.share)


def slow_by_gate(stream: Timings, gate: QuantileGate) -> Users:
    """Reduce latencies to "slower than stable's quantile so far", as the gate does; the uncalibrated are not slow."""
    factor = np.where(stream.is_canary, 1 + gate.relative_margin, 1.0)
    scaled = stream.latency_ms / factor
    above = np.stack([thresholds(row[~arm], arm, gate) for row, arm in zip(scaled, stream.is_canary, strict=True)])
    return Users(is_canary=stream.is_canary, is_event=scaled > above, share=stream.share)


def first_errors(stream: Requests) -> Users:
    """Reduce requests to users: an event at each user's first error, in the order of requests; one repetition.

    A request that is no user's first error has ``is_event`` False, so looks after every request stay in the stream.
    """
    errors = np.flatnonzero(stream.is_error)
    first = errors[np.unique(stream.user[errors], return_index=True)[1]]
    is_event: Flags = np.zeros(stream.user.size, dtype=np.bool_)
    is_event[first] = True
    return Users(is_canary=stream.is_canary[None, :], is_event=is_event[None, :], share=stream.share)


def by_open_rates(stream: Requests, *, alpha: float, line: two_rates.Line, looks: int = LOOKS) -> Integers:
    """Ours with a margin, on users who return: exposed at the first request, with the event from the first error on."""
    is_error = first_errors(stream).is_event[0]
    is_first: Flags = np.zeros(stream.user.size, dtype=np.bool_)
    is_first[np.unique(stream.user, return_index=True)[1]] = True
    regular = np.linspace(0, stream.user.size - 1, looks).astype(np.int64)
    when = np.unique(np.concatenate([regular, np.flatnonzero(is_error)]))
    arms = ~stream.is_canary, stream.is_canary
    exposed = [np.cumsum(is_first & arm)[when, None].astype(np.float64) for arm in arms]
    events = [np.cumsum(is_error & arm)[when, None].astype(np.float64) for arm in arms]
    table = two_rates.Table(exposed[0] - events[0], events[0], exposed[1] - events[1], events[1])
    is_over = two_rates.log_e(table, np.array([stream.share]), line) >= -math.log(alpha)
    return _at(when, first_true(is_over[None, :]))


def _z_scores(stream: Users) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """Pooled z of the difference of proportions after every user, shape (repetitions, users)."""
    canary = stream.canary_seen.astype(np.float64)
    stable = np.arange(1, canary.shape[1] + 1) - canary
    with_canary = np.cumsum(stream.is_canary & stream.is_event, axis=1)
    with_any = np.cumsum(stream.is_event, axis=1)
    pooled = with_any / (canary + stable)
    with np.errstate(divide="ignore", invalid="ignore"):
        deviation = np.sqrt(pooled * (1 - pooled) * (1 / canary + 1 / stable))
        score = (with_canary / canary - (with_any - with_canary) / stable) / deviation
    return np.nan_to_num(score, nan=0.0, posinf=0.0, neginf=0.0)


def _at(when: Integers, look: Integers) -> Integers:
    return np.asarray(np.where(look >= 0, when[look], -1), dtype=np.int64)
