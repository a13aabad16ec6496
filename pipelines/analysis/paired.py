"""Two versions on the same inputs: is the new one more often wrong, does it disagree too often?

For shadow traffic and for logged inputs that another version scores again. Both versions see the same input, so only
the users where exactly one of them is wrong speak about which is worse (McNemar 1947). The three cells (new wrong, old
wrong, same) are tested against the half plane ``p_new - p_old <= margin`` by the likelihood ratio to its reverse
information projection (Grünwald, de Heide & Koolen, arXiv 1906.07801, theorem 1), mixed over alternatives: an exact
e-value at every look, also for few users. Without a margin that is the e-process of McNemar's test.

The unit is the user: of a user's inputs, the first that was scored by both.
"""

import functools
import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.special import expit, logit, logsumexp

from mlflow_deploy_plugin.errors import ConfigError
from pipelines.analysis import rates
from pipelines.analysis.arms import Missing, UserCounts
from pipelines.analysis.checks import Floats, level
from pipelines.analysis.gates import AgreementGate, PairedGate
from pipelines.analysis.verdict import Failed, Inconclusive, Number, Successful, Verdict

DISCORDANCE = expit(np.arange(-6.0, 1.1, 1.0))
"""Alternatives for the share of users with exactly one version wrong: from 0.2 % to 73 %."""

EFFECTS = np.linspace(0.2, 2.4, 8)
"""Alternatives for the log odds, beyond the null, that the new version is the wrong one."""

HALVINGS = 50
BOUND_HALVINGS = 20
EDGE = 1e-12
FARTHEST = 0.1  # share of the new version among the discordant from which alternatives start, at the least


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs:
    """Users whose input both versions scored and whose label is known."""

    only_new_wrong: int
    only_old_wrong: int
    same: int
    """Both right or both wrong."""

    def __post_init__(self) -> None:
        if min(self.only_new_wrong, self.only_old_wrong, self.same) < 0:
            raise ConfigError(f"counts of {self} must not be negative")

    @property
    def users(self) -> int:
        """Users in all."""
        return self.only_new_wrong + self.only_old_wrong + self.same

    @property
    def difference(self) -> float:
        """Share of users for whom the new version is wrong, less that of the old; NaN without users."""
        return (self.only_new_wrong - self.only_old_wrong) / self.users if self.users else math.nan


def log_e(pairs: Pairs, *, margin: float = 0.0, is_upper: bool = True) -> float:
    """Log e-value against ``p_new - p_old <= margin`` (``is_upper`` False: ``>=``).

    >>> round(log_e(Pairs(only_new_wrong=30, only_old_wrong=10, same=960)), 2)
    4.23
    """
    if not -1 < margin < 1:
        raise ConfigError(f"margin is {margin}: a difference of shares lies between -1 and 1; a per cent is 0.01")
    ratios = _log_ratios(margin, is_upper=is_upper)
    evidence = pairs.only_new_wrong * ratios.new + pairs.only_old_wrong * ratios.old + pairs.same * ratios.same
    return float(logsumexp(evidence) - math.log(evidence.size))


def difference_bounds(pairs: Pairs, *, alpha: float) -> tuple[float, float]:
    """Confidence sequence of ``p_new - p_old``; each end fails with probability at most alpha, over all looks.

    >>> low, high = difference_bounds(Pairs(only_new_wrong=60, only_old_wrong=10, same=930), alpha=0.01)
    >>> 0 < low < 0.05 < high
    True
    """
    threshold = -math.log(level(alpha))
    ends = []
    for is_upper, extreme in ((True, -1.0 + EDGE), (False, 1.0 - EDGE)):
        rejected, kept = extreme, pairs.difference if pairs.users else 0.0
        for _ in range(BOUND_HALVINGS):
            middle = (rejected + kept) / 2
            is_rejected = log_e(pairs, margin=middle, is_upper=is_upper) >= threshold
            rejected, kept = (middle, kept) if is_rejected else (rejected, middle)
        ends.append(rejected)
    return ends[0], ends[1]


def compare_paired(pairs: Pairs | Missing, gate: PairedGate, *, alpha: float) -> Verdict:
    """Judge the new version against the old one on the same labelled inputs, at this look and all others.

    >>> compare_paired(Pairs(only_new_wrong=60, only_old_wrong=10, same=930), PairedGate(), alpha=0.01).reason
    'wrong 5.00 pp more often than the old version on 1000 users: more than 0.00 pp [+2.4, +8.3]'
    """
    if isinstance(pairs, Missing):
        return Inconclusive(reason=pairs.reason)
    if not pairs.users:
        return Inconclusive(reason="no user was scored by both versions")
    worse, not_worse = (log_e(pairs, margin=gate.margin, is_upper=is_upper) for is_upper in (True, False))
    low, high = difference_bounds(pairs, alpha=alpha)
    needed = -math.log(alpha)
    numbers: dict[str, Number] = {
        "users": pairs.users,
        "only_new_wrong": pairs.only_new_wrong,
        "only_old_wrong": pairs.only_old_wrong,
        "difference": pairs.difference,
        "low": low,
        "high": high,
        "log_e_worse": worse,
        "log_e_not_worse": not_worse,
        "log_e_needed": needed,
    }
    found = f"wrong {100 * pairs.difference:.2f} pp more often than the old version on {pairs.users} users"
    bound = f"{100 * gate.margin:.2f} pp [{100 * low:+.1f}, {100 * high:+.1f}]"
    if worse >= needed:
        return Failed(reason=f"{found}: more than {bound}", numbers=numbers)
    if not_worse >= needed and pairs.users >= gate.minimum_users:
        return Successful(reason=f"{found}: not more than {bound}", numbers=numbers)
    return Inconclusive(reason=f"{found}: neither more than nor within {bound}", numbers=numbers)


def judge_agreement(disagreeing: UserCounts | Missing, gate: AgreementGate, *, alpha: float) -> Verdict:
    """Judge how many users would get another prediction, against an absolute bound.

    >>> from pipelines.analysis.arms import user_counts
    >>> judge_agreement(user_counts(5000, 20), AgreementGate(bound=0.02), alpha=0.01).reason
    'another prediction for 0.40% of 5000 users [0.1, 0.9]: within 2.00%'
    """
    if isinstance(disagreeing, Missing):
        return Inconclusive(reason=disagreeing.reason)
    if not disagreeing.users:
        return Inconclusive(reason="no user was scored by both versions")
    ends = rates.bounds(disagreeing.users_with_event, disagreeing.users, alpha=alpha)
    low, high = (float(end) for end in ends)
    numbers = {"users": disagreeing.users, "disagreeing": disagreeing.users_with_event, "low": low, "high": high}
    interval = f"[{100 * low:.1f}, {100 * high:.1f}]"
    found = f"another prediction for {disagreeing.ratio:.2%} of {disagreeing.users} users {interval}"
    if low > gate.bound:
        return Failed(reason=f"{found}: above {gate.bound:.2%}", numbers=numbers)
    if high <= gate.bound and disagreeing.users >= gate.minimum_users:
        return Successful(reason=f"{found}: within {gate.bound:.2%}", numbers=numbers)
    return Inconclusive(reason=f"{found}: neither above nor within {gate.bound:.2%} with certainty", numbers=numbers)


class _Points(NamedTuple):
    new: Floats
    old: Floats
    same: Floats


@functools.lru_cache(maxsize=64)
def _log_ratios(margin: float, *, is_upper: bool) -> _Points:
    """Log likelihood ratio of each alternative to its projection onto the null, by cell."""
    points = _alternatives(margin, is_upper=is_upper)
    null_old = _project(points, margin)
    null_new = np.clip(null_old + margin, EDGE, 1.0)
    null_same = np.clip(1 - null_old - null_new, EDGE, 1.0)
    return _Points(
        new=np.log(points.new) - np.log(null_new),
        old=np.log(points.old) - np.log(null_old),
        same=np.log(points.same) - np.log(null_same),
    )


def _alternatives(margin: float, *, is_upper: bool) -> _Points:
    """Points beyond the line, each of shape (points,): a share of discordant users, split beyond the null's odds."""
    steps = EFFECTS if is_upper else -EFFECTS
    # at discordance d the line has new = (d + margin) / 2; outside the triangle every split is beyond it, or none
    discordance = np.append(DISCORDANCE, (1 + abs(margin)) / 2)
    line = (1 + margin / discordance) / 2
    start = np.maximum(line, FARTHEST) if is_upper else np.minimum(line, 1 - FARTHEST)
    is_room = (start < 1 - EDGE) if is_upper else (start > EDGE)
    new_share = expit(logit(start[is_room])[:, None] + steps).ravel()
    total = np.repeat(discordance[is_room], steps.size)
    return _Points(total * new_share, total * (1 - new_share), 1 - total)


def _project(points: _Points, margin: float) -> Floats:
    """Old-only-wrong probability at the point of the line ``new = old + margin`` that is nearest in KL divergence."""
    low = np.full(points.old.shape, max(0.0, -margin))
    high = np.full(points.old.shape, (1 - margin) / 2)
    for _ in range(HALVINGS):
        old = (low + high) / 2
        slope = (
            2 * points.same / np.clip(1 - 2 * old - margin, EDGE, None)
            - points.old / np.clip(old, EDGE, None)
            - points.new / np.clip(old + margin, EDGE, None)
        )
        low, high = np.where(slope > 0, low, old), np.where(slope > 0, old, high)
    return np.asarray(np.clip((low + high) / 2, EDGE, 1.0), dtype=np.float64)
