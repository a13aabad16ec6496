"""Is the canary's event rate above a line drawn from stable's? Exact sequential test and confidence sequence.

Null hypothesis: ``p_canary <= ratio * p_stable + margin`` for every user. A user falls on the canary with probability
theta, so one user gives a cell (arm, event) whose law lies in a convex set. For an alternative (q_s, q_c) the reverse
information projection onto that set is the point of the line that minimises
``theta KL(q_c | p_c) + (1 - theta) KL(q_s | p_s)``; the likelihood ratio against it has mean at most one under *every*
member of the null (Grünwald, de Heide & Koolen, "Safe testing", arXiv 1906.07801, theorem 1; Turner, Ly & Grünwald,
arXiv 2106.02693). Products over users and a finite mixture over alternatives keep that, so Ville's inequality holds at
every look, rates may wander in time, and the current counts suffice.

Exact where a counted user's outcome is final. For counts whose users may still turn from "no event" to "event" the
value is an e-value at each look and only the whole path is approximate; ``tests/laws`` measures it.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.special import expit, logit, logsumexp

from mlflow_deploy_plugin.errors import ConfigError
from pipelines.analysis.checks import Floats, positive

BASES = expit(np.arange(-7.5, 3.1, 0.5))
"""Alternatives for stable's rate: from 0.06 % to 95 %, even in log odds."""

BASE_WEIGHTS = 1 / (1 + ((np.arange(-7.5, 3.1, 0.5) + 3.5) / 2.5) ** 2)
"""Prior weights of the bases: error ratios of a few per cent come first."""

EFFECTS = np.array([0.08, 0.28, 0.46, 0.61, 0.74, 0.86, 0.99, 1.14, 1.32, 1.62])
"""Alternatives for the canary, equally likely: log odds beyond the line, about a normal law with mean 0.8."""

HALVINGS = 50
BOUND_HALVINGS = 20  # of a difference of shares: to a millionth
EDGE = 1e-12  # keeps rates inside (0, 1), where a logarithm exists


class Table(NamedTuple):
    """Users without and with the event, by arm; each of shape (..., periods)."""

    stable_without: Floats
    stable_with: Floats
    canary_without: Floats
    canary_with: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """The null hypothesis ``p_canary <= ratio * p_stable + margin``; with ``is_upper`` False, ``>=``."""

    ratio: float = 1.0
    margin: float = 0.0
    is_upper: bool = True

    def __post_init__(self) -> None:
        positive(self.ratio, "ratio")
        if not -1 <= self.margin <= 1:
            raise ConfigError(f"margin is {self.margin}: a difference of shares lies in [-1, 1]; a per cent is 0.01")

    @property
    def domain(self) -> tuple[float, float]:
        """Rates of stable between which the line lies inside the unit square; empty if low >= high."""
        return max(0.0, -self.margin / self.ratio), min(1.0, (1.0 - self.margin) / self.ratio)

    def at(self, stable: Floats) -> Floats:
        """Canary rate on the line."""
        return np.clip(self.ratio * stable + self.margin, EDGE, 1 - EDGE)


def log_e(table: Table, share: Floats, line: Line) -> Floats:
    """Log e-value against the line; reject at level alpha wherever it reaches ``-log(alpha)``.

    Args:
        table: counts of users, each (..., periods).
        share: theta, the canary's share of the two arms' users, shape (periods,).
        line: the null hypothesis.

    Returns:
        Shape (...).

    >>> counts = Table(*(np.array([n]) for n in (880.0, 20.0, 90.0, 10.0)))
    >>> round(float(log_e(counts, np.array([0.1]), Line())), 1)
    4.7
    """
    stable, canary, weights = _alternatives(line)
    if not stable.size:
        return np.zeros(np.shape(table.stable_with)[:-1])
    theta = np.asarray(share, dtype=np.float64)
    null = _project(stable, canary, theta, line)
    ratios = (
        np.log1p(-stable[:, None]) - np.log1p(-null),
        np.log(stable[:, None]) - np.log(null),
        np.log1p(-canary[:, None]) - np.log1p(-line.at(null)),
        np.log(canary[:, None]) - np.log(line.at(null)),
    )
    evidence = np.sum([n @ ratio.T for n, ratio in zip(table, ratios, strict=True)], axis=0)
    return np.asarray(logsumexp(evidence, axis=-1, b=weights))


def difference_bounds(table: Table, share: Floats, *, alpha: float) -> tuple[float, float]:
    """Confidence sequence of ``p_canary - p_stable``: each end fails with probability at most alpha, over all looks.

    The ends are where the tests of ``p_canary <= p_stable + margin`` and of ``>=`` stop to reject, found by bisection.

    >>> counts = Table(*(np.array([n]) for n in (891.0, 9.0, 99.0, 1.0)))
    >>> low, high = difference_bounds(counts, np.array([0.1]), alpha=0.01)
    >>> low < 0 < high
    True
    """
    threshold = -np.log(alpha)
    estimate = _rate(table.canary_with, table.canary_without) - _rate(table.stable_with, table.stable_without)
    ends = []
    for is_upper, extreme in ((True, -1.0), (False, 1.0)):
        rejected, kept = extreme, estimate
        for _ in range(BOUND_HALVINGS):
            middle = (rejected + kept) / 2
            is_rejected = float(log_e(table, share, Line(margin=middle, is_upper=is_upper))) >= threshold
            rejected, kept = (middle, kept) if is_rejected else (rejected, middle)
        ends.append(rejected)
    return ends[0], ends[1]


def _rate(with_event: Floats, without: Floats) -> float:
    users = float(np.sum(with_event) + np.sum(without))
    return float(np.sum(with_event)) / users if users else 0.5


def _alternatives(line: Line) -> tuple[Floats, Floats, Floats]:
    """Points beyond the line: stable's rates, the canary's, and their prior weights, each of shape (points,)."""
    height = line.ratio * BASES + line.margin
    start = np.maximum(height, BASES / 10) if line.is_upper else np.minimum(height, 1 - (1 - BASES) / 10)
    is_room = (start < 1 - EDGE) if line.is_upper else (start > EDGE)
    steps = EFFECTS if line.is_upper else -EFFECTS
    canary = expit(logit(start[is_room])[:, None] + steps)
    stable = np.broadcast_to(BASES[is_room][:, None], canary.shape)
    weights = np.broadcast_to(BASE_WEIGHTS[is_room][:, None], canary.shape)
    normalised = np.asarray(weights.ravel() / max(weights.sum(), EDGE), dtype=np.float64)
    return stable.ravel(), canary.ravel(), normalised


def _project(stable: Floats, canary: Floats, share: Floats, line: Line) -> Floats:
    """Stable's rate at the point of the line that is nearest to each alternative; shape (points, periods)."""
    q_s, q_c, theta = stable[:, None], canary[:, None], share[None, :]
    low, high = (np.full((stable.size, share.size), end) for end in line.domain)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        p_s, p_c = np.clip(middle, EDGE, 1 - EDGE), line.at(middle)
        slope_stable = (1 - theta) * (p_s - q_s) / (p_s * (1 - p_s))
        slope_canary = theta * line.ratio * (p_c - q_c) / (p_c * (1 - p_c))
        is_past = slope_stable + slope_canary > 0
        low, high = np.where(is_past, low, middle), np.where(is_past, middle, high)
    return np.asarray(np.clip((low + high) / 2, EDGE, 1 - EDGE), dtype=np.float64)
