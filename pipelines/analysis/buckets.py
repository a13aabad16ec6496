"""Latency counted in buckets, without users: it may hold or roll back and never promotes.

Every bound of the buckets asks one question of a share: are the canary's requests above ``(1 + relative_margin)`` times
the bound more frequent than stable's above it? Turner, Ly & Grünwald's 2x2 e-value by period (arXiv 2106.02693), the
arms' shares of the requests in place of the split. alpha is split evenly over all bounds, so that it does not matter
which of them lies near stable's quantile, and a margin is rounded up to the next bound: never too strict.

Assumes independent requests. Where users can be seen, :mod:`.quantiles` compares users.
"""

import math
from typing import NamedTuple

import numpy as np

from mlflow_deploy_plugin.errors import ConfigError
from pipelines.analysis import rates, two_rates
from pipelines.analysis.arms import RequestLatencies
from pipelines.analysis.checks import Flags, level
from pipelines.analysis.counts import ASSUMED, NO_PROMOTION
from pipelines.analysis.gates import QuantileGate
from pipelines.analysis.verdict import Failed, Inconclusive

NEAR = 5.0
"""A bound is asked where stable's share above it is within this factor of ``1 - quantile``."""


def compare_buckets(
    stable: RequestLatencies, canary: RequestLatencies, gate: QuantileGate, *, alpha: float
) -> Failed | Inconclusive:
    """Judge a quantile of the canary's latency against stable's by counts in buckets.

    Args:
        stable: requests of the control, by period.
        canary: requests of the new version, over the same periods and with the same bounds.
        gate: quantile, margin and guardrail; what it says of users has no meaning here.
        alpha: chance, over all looks, of ``Failed`` for a canary within the margin, if requests are independent.

    Returns:
        Failed or Inconclusive: never Successful.

    Raises:
        ConfigError: arms with other bounds or periods.

    >>> from pipelines.analysis.arms import request_latencies
    >>> calm = request_latencies([50, 100], [[8000, 900, 90]])
    >>> slow = request_latencies([50, 100], [[600, 300, 100]])
    >>> compare_buckets(calm, slow, QuantileGate(relative_margin=0.0), alpha=0.01).reason
    'p99: 100 of 1000 requests of the canary above 100 ms, 90 of 8990 of stable above 100 ms (assumes independence)'
    """
    if not np.array_equal(stable.bounds_ms, canary.bounds_ms) or stable.counts.shape != canary.counts.shape:
        raise ConfigError("latencies of the two arms have other buckets or periods: they cannot be compared")
    name = f"p{100 * gate.quantile:g}"
    if breach := _breached(canary, gate, name, alpha=level(alpha)):
        return breach
    served = (stable.requests > 0) & (canary.requests > 0)
    if not served.any():
        return Inconclusive(reason="no period in which both arms had requests")
    needed = -math.log(alpha / stable.bounds_ms.size)
    asked = [found for bound in stable.bounds_ms if (found := _at(stable, canary, gate, float(bound), served))]
    if not asked:
        return Inconclusive(reason=f"no bound of the buckets lies near {name} of stable")
    worst = max(asked, key=lambda found: found.log_e)
    numbers = {**worst._asdict(), "log_e_needed": needed}
    if worst.log_e >= needed:
        return Failed(reason=f"{name}: {worst} ({ASSUMED})", numbers=numbers)
    return Inconclusive(reason=f"{name}: {worst}: not slower with certainty; {NO_PROMOTION}", numbers=numbers)


class _Found(NamedTuple):
    canary_slow: int
    canary_requests: int
    canary_ms: float
    stable_slow: int
    stable_requests: int
    stable_ms: float
    log_e: float

    def __str__(self) -> str:
        return (
            f"{self.canary_slow} of {self.canary_requests} requests of the canary above {self.canary_ms:g} ms,"
            f" {self.stable_slow} of {self.stable_requests} of stable above {self.stable_ms:g} ms"
        )


def _at(
    stable: RequestLatencies, canary: RequestLatencies, gate: QuantileGate, bound: float, served: Flags
) -> _Found | None:
    """The evidence at one bound; None where it says nothing about the quantile."""
    allowed = _rounded(canary, bound * (1 + gate.relative_margin))
    if allowed is None:
        return None
    n_s, n_c = stable.requests[served], canary.requests[served]
    slow_s, slow_c = stable.above(bound)[served], canary.above(allowed)[served]
    tail = float(slow_s.sum() / n_s.sum())
    if not (1 - gate.quantile) / NEAR <= tail <= (1 - gate.quantile) * NEAR:
        return None
    cells = (n_s - slow_s, slow_s, n_c - slow_c, slow_c)
    table = two_rates.Table(*(cell.astype(np.float64) for cell in cells))
    evidence = float(two_rates.log_e(table, n_c / (n_s + n_c), two_rates.Line()))
    counted = (int(slow_c.sum()), int(n_c.sum()), allowed, int(slow_s.sum()), int(n_s.sum()), bound)
    return _Found(*counted, evidence)


def _rounded(arm: RequestLatencies, at_ms: float) -> float | None:
    """Smallest bound that is not below ``at_ms``; None above all of them."""
    index = int(np.searchsorted(arm.bounds_ms, at_ms * (1 - 1e-9)))
    return float(arm.bounds_ms[index]) if index < arm.bounds_ms.size else None


def _breached(canary: RequestLatencies, gate: QuantileGate, name: str, *, alpha: float) -> Failed | None:
    bound = None if gate.guardrail_ms is None else _rounded(canary, gate.guardrail_ms)
    if bound is None or not canary.requests.sum():
        return None
    slow, requests = int(canary.above(bound).sum()), int(canary.requests.sum())
    if float(rates.bounds(slow, requests, alpha=alpha)[0]) <= 1 - gate.quantile:
        return None
    reason = f"{name} is above the guardrail: {slow} of {requests} requests above {bound:g} ms ({ASSUMED})"
    return Failed(reason=reason, numbers={"canary_slow": slow, "canary_requests": requests, "guardrail_ms": bound})
