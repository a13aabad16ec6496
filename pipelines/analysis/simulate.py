"""Streams of users with a known truth, from a seed: what the laws of the statistics are proven on.

Many repetitions at once: the first axis is the repetition, the second the order in which users (or requests) come. A
stream knows which arm the split gave each user and what happened; judges (:mod:`.judges`) see only that.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.analysis.checks import Flags, Floats, Integers, level, positive

MOST_REQUESTS = 1000
LATENCY_MS = 40.0
"""Median latency of a simulated user."""

BROKEN = 0.01
"""Share of users whose requests nearly all fail: a client with a fault that retries."""

LATENCY_SPREAD = 0.5
"""Standard deviation of the log latency: p99 is 3.2 times the median."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Users:
    """Users in the order in which they come, each with one final outcome; both of shape (repetitions, users)."""

    is_canary: Flags
    is_event: Flags
    share: float
    """Probability that the split gave for the canary."""

    @property
    def canary_seen(self) -> Integers:
        """Canary users up to and with each user, shape (repetitions, users)."""
        return np.cumsum(self.is_canary, axis=1, dtype=np.int64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Requests:
    """Requests of one repetition in the order in which they come, by users who return; shape (requests,)."""

    user: Integers
    is_canary: Flags
    """By request: the arm of its user, who keeps it."""

    is_error: Flags
    share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Timings:
    """One latency per user, in the order in which they come; shape (repetitions, users)."""

    is_canary: Flags
    latency_ms: Floats
    share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """Size of a simulation and the split of it."""

    repetitions: int
    users: int
    share: float = 0.5
    """Probability that a user is the canary's."""

    def __post_init__(self) -> None:
        positive(self.repetitions, "repetitions")
        positive(self.users, "users")
        level(self.share, "share")


def users(scene: Scene, *, stable: float, canary: float, seed: int) -> Users:
    """Draw independent users, each with the event at the rate of their arm; equal rates are an A/A test.

    Args:
        scene: repetitions, users, share.
        stable: probability of the event on stable.
        canary: probability of the event on the canary.
        seed: same seed, same stream.

    >>> users(Scene(repetitions=2, users=3), stable=0.01, canary=0.03, seed=1).is_event.shape
    (2, 3)
    """
    rng = np.random.default_rng(seed)
    shape = scene.repetitions, scene.users
    is_canary = rng.random(shape, dtype=np.float32) < scene.share
    is_event = rng.random(shape, dtype=np.float32) < np.where(is_canary, np.float32(canary), np.float32(stable))
    return Users(is_canary=is_canary, is_event=is_event, share=scene.share)


def timings(scene: Scene, *, slowdown: float, seed: int) -> Timings:
    """Draw log-normal latencies; the canary's are ``slowdown`` times stable's (1.5: its p99 is 50 % above).

    >>> timings(Scene(repetitions=1, users=5), slowdown=1.5, seed=1).latency_ms.shape
    (1, 5)
    """
    rng = np.random.default_rng(seed)
    shape = scene.repetitions, scene.users
    is_canary = rng.random(shape) < scene.share
    latency = LATENCY_MS * np.exp(LATENCY_SPREAD * rng.standard_normal(shape))
    return Timings(
        is_canary=is_canary,
        latency_ms=np.where(is_canary, latency * positive(slowdown, "slowdown"), latency),
        share=scene.share,
    )


def clustered_requests(scene: Scene, *, rate: float, seed: int) -> Requests:
    """Draw one repetition of an A/A test in which users differ and return.

    Users send 1 to 1,000 requests (even in the logarithm), their error rates differ by a Beta law with mean ``rate``
    and a hundredth of the users fail nearly always; requests of all users mix in time.

    Args:
        scene: ``users`` counts users; ``repetitions`` is not used.
        rate: mean error rate of a user's request.
        seed: same seed, same stream.

    >>> stream = clustered_requests(Scene(repetitions=1, users=50), rate=0.01, seed=1)
    >>> len(np.unique(stream.user))
    50
    """
    rng = np.random.default_rng(seed)
    sent = np.exp(rng.uniform(0, np.log(MOST_REQUESTS), scene.users)).astype(np.int64)
    is_canary = rng.random(scene.users) < scene.share
    propensity = np.where(rng.random(scene.users) < BROKEN, 0.9, rng.beta(0.2, 0.2 / rate, scene.users))
    user = rng.permutation(np.repeat(np.arange(scene.users), sent))
    is_error = rng.random(user.size) < propensity[user]
    return Requests(user=user, is_canary=is_canary[user], is_error=is_error, share=scene.share)


def first_true(flags: NDArray[Any]) -> Integers:
    """Index of the first true value of each row, shape (repetitions,); -1 where there is none.

    >>> first_true(np.array([[False, True], [False, False]])).tolist()
    [1, -1]
    """
    return np.asarray(np.where(flags.any(axis=1), flags.argmax(axis=1), -1), dtype=np.int64)
