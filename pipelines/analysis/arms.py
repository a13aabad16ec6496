"""What was observed of one arm of a rollout, by distinct users.

A user's requests are not independent, so the user is the unit: counts are of distinct users, latency is one value per
user, a metric is a sum and a count per user. A value that cannot be (NaN, more events than users, a count below zero
after a counter reset) is refused when it is built. Nothing here reads an event store.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from mlflow_deploy_plugin.errors import ConfigError
from pipelines.analysis.checks import Floats, Integers, counts, sample


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
            raise ConfigError(
                f"events {self.events.tolist()} exceed users {self.exposed.tolist()}: count users once"
            )
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
