"""How many users, and how long, before a rollout starts.

Fixed-horizon numbers of the z-test (Fleiss, Levin & Paik, "Statistical methods for rates and proportions", 2003,
chapter 4), and the expected length of the anytime-valid test beside them: ``tests/laws`` holds its median to 1.25
times the fixed number and its 95th percentile to 3 times.
"""

import math
from dataclasses import dataclass
from datetime import timedelta

from scipy.stats import norm

from mlflow_deploy_plugin.errors import ConfigError
from pipelines.analysis.checks import level, positive

MEDIAN_FACTOR = 1.25
LATE_FACTOR = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A change of a share of users that is to be found."""

    baseline: float
    """Stable's share of users with the event."""

    changed: float
    """The canary's."""

    share: float = 0.5
    """The canary's share of the users of both arms."""

    def __post_init__(self) -> None:
        for name in ("baseline", "changed", "share"):
            level(getattr(self, name), name)
        if self.baseline == self.changed:
            raise ConfigError(f"both proportions are {self.baseline}: no number of users tells them apart")


@dataclass(frozen=True, slots=True, kw_only=True)
class Needed:
    """Users of the canary, and the time that they take to come."""

    fixed_users: int
    """Canary users of the fixed-horizon z-test."""

    typical_users: int
    """Canary users by which half of the true regressions are found by the anytime-valid test, at most."""

    late_users: int
    """Canary users by which 95 % are found, at most."""

    typical: timedelta
    late: timedelta


def users_per_arm(change: Change, *, alpha: float, power: float = 0.8, sides: int = 2) -> int:
    """Canary users of a fixed-horizon z-test of two proportions.

    ``n = (z_a sqrt(pbar qbar (1 + 1/k)) + z_b sqrt(p2 q2 + p1 q1 / k))^2 / (p1 - p2)^2`` with k stable users per canary
    user and pbar the pooled proportion.

    Args:
        change: p1, p2 and the canary's share of the users.
        alpha: error probability of the test.
        power: probability to find the change.
        sides: 2, or 1 for "worse" alone.

    Raises:
        ConfigError: alpha or power outside (0, 1).

    >>> users_per_arm(Change(baseline=0.10, changed=0.12), alpha=0.05)
    3841
    """
    p1, p2 = change.baseline, change.changed
    k = (1 - change.share) / change.share
    pooled = (p2 + k * p1) / (1 + k)
    z_alpha, z_power = norm.isf(level(alpha) / sides), norm.ppf(level(power, "power"))
    spread = z_alpha * math.sqrt(pooled * (1 - pooled) * (1 + 1 / k)) + z_power * math.sqrt(
        p2 * (1 - p2) + p1 * (1 - p1) / k
    )
    return math.ceil((spread / (p2 - p1)) ** 2)


def users_for_mean(deviation: float, effect: float, *, alpha: float, power: float = 0.8, share: float = 0.5) -> int:
    """Canary users of a fixed-horizon two-sided z-test of two means: ``(z_{a/2} + z_b)^2 s^2 (1 + 1/k) / effect^2``.

    Args:
        deviation: standard deviation of the metric over users.
        effect: difference of means to find, in the same unit.
        alpha: error probability.
        power: probability to find it.
        share: the canary's share of the users of both arms.

    >>> users_for_mean(1.0, 0.1, alpha=0.05)
    1570
    """
    k = (1 - level(share, "share")) / share
    z = norm.isf(level(alpha) / 2) + norm.ppf(level(power, "power"))
    return math.ceil((z * positive(deviation, "deviation") / positive(effect, "effect")) ** 2 * (1 + 1 / k))


def needed(change: Change, *, alpha: float, users_per_day: float) -> Needed:
    """Users and time by which the anytime-valid error gate finds a change of the error ratio.

    Args:
        change: error ratios of stable and canary, and the canary's share of the users.
        alpha: of the gate.
        users_per_day: distinct new users of both arms together, per day.

    >>> needed(Change(baseline=0.01, changed=0.03, share=0.1), alpha=0.01, users_per_day=10_000).typical
    datetime.timedelta(seconds=46138)
    """
    fixed = users_per_arm(change, alpha=alpha, sides=1)
    typical, late = math.ceil(MEDIAN_FACTOR * fixed), math.ceil(LATE_FACTOR * fixed)
    per_second = positive(users_per_day, "users_per_day") * change.share / 86_400
    return Needed(
        fixed_users=fixed,
        typical_users=typical,
        late_users=late,
        typical=timedelta(seconds=math.ceil(typical / per_second)),
        late=timedelta(seconds=math.ceil(late / per_second)),
    )


def most_after_none(users: int, *, confidence: float = 0.95) -> float:
    """Largest rate that no event among so many users leaves possible, at a fixed horizon: ``1 - (1 - c)^(1/n)``.

    >>> round(most_after_none(59), 4)
    0.0495
    """
    return float(1 - (1 - level(confidence, "confidence")) ** (1 / positive(users, "users")))
