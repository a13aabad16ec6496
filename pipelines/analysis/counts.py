"""Events counted without users: they may hold or roll back and never promote.

Where requests are counted too (:func:`compare_requests`), the arms' shares of the requests take the place of the split
and each request that of a user: Turner, Ly & Grünwald's 2x2 test (arXiv 2106.02693) by period. Where events alone are
counted (:func:`compare_counts`), the Poisson canary test:

The events of both arms are Poisson processes with one profile in time; given an event, it falls on the canary with
probability ``share * r / (share * r + 1 - share)`` where r is the ratio of rates (Lindon & Malek, arXiv 2011.03567;
Netflix, "Sequential A/B testing keeps the world streaming", part 2). Same e-value as :mod:`.event_share`.

Assumes independent events: one user who retries in a loop breaks it. Where users can be seen, count users.
"""

import math
from dataclasses import replace

import numpy as np

from pipelines.analysis.arms import Missing, RequestCounts, user_counts
from pipelines.analysis.checks import counts, level
from pipelines.analysis.error_ratio import compare_error_ratio
from pipelines.analysis.event_share import ShareTest
from pipelines.analysis.gates import CountGate, ErrorRatioGate
from pipelines.analysis.verdict import Error, Failed, Inconclusive, Successful, Verdict

NO_PROMOTION = "counts without users do not promote"
ASSUMED = "assumes independence"


def compare_requests(
    stable: RequestCounts, canary: RequestCounts, gate: ErrorRatioGate, *, alpha: float
) -> Failed | Inconclusive:
    """Judge the canary's share of failed requests against stable's, within periods that both arms served.

    Args:
        stable: requests of the control, by period.
        canary: requests of the new version, over the same periods.
        gate: margins and guardrail; ``minimum_users`` has no meaning here.
        alpha: chance, over all looks, of ``Failed`` for a canary within the margin, if requests are independent.

    Returns:
        Failed or Inconclusive: never Successful. Numbers as of :func:`.compare_error_ratio`, of requests.

    Raises:
        ConfigError: arms with other periods.

    >>> from pipelines.analysis.arms import request_counts
    >>> found = compare_requests(request_counts(9000, 90), request_counts(1000, 60), ErrorRatioGate(), alpha=0.01)
    >>> found.reason
    'error ratio 6.00% against 1.00% of stable: worse by more than 0.00 pp [+2.6, +8.1] (assumes independence)'
    """
    served = (stable.requests > 0) & (canary.requests > 0)
    if not served.any():
        return Inconclusive(reason="no period in which both arms had requests")
    share = canary.requests[served] / (stable.requests + canary.requests)[served]
    control, treated = (
        user_counts(arm.requests[served], arm.failures[served], shares=part, is_final=True)
        for arm, part in ((stable, 1 - share), (canary, share))
    )
    match _in_requests(compare_error_ratio(control, treated, gate, alpha=alpha)):
        case Failed(reason=reason, numbers=numbers):
            return Failed(reason=f"{reason} ({ASSUMED})", numbers=numbers)
        case Successful(reason=reason, numbers=numbers):
            return Inconclusive(reason=f"{reason}; {NO_PROMOTION}", numbers=numbers)
        case Inconclusive(reason=reason, numbers=numbers) | Error(reason=reason, numbers=numbers):
            return Inconclusive(reason=f"{reason} ({ASSUMED})", numbers=numbers)


def _in_requests(verdict: Verdict) -> Verdict:
    """The same verdict with its numbers named after what was counted."""
    return replace(verdict, numbers={name.replace("_users", "_requests"): n for name, n in verdict.numbers.items()})


def compare_counts(
    stable: int | Missing, canary: int | Missing, gate: CountGate, *, share: float, alpha: float
) -> Verdict:
    """Judge events of the canary against events of stable under one split of the traffic.

    Args:
        stable: events since the split began, such as errors by Envoy's counter; Missing after a reset.
        canary: the same of the canary.
        gate: allowed ratio of the two rates.
        share: the canary's share of the two arms' traffic, between 0 and 1.
        alpha: chance, over all looks, of ``Failed`` for a canary within the margin.

    Returns:
        Failed or Inconclusive: never Successful. Numbers: events, share, log e-value.

    >>> compare_counts(90, 60, CountGate(), share=0.1, alpha=0.01).reason
    '60 events of the canary and 90 of stable at a share of 10%: more than 1.00 times the rate (assumes independence)'
    """
    if isinstance(stable, Missing):
        return Inconclusive(reason=stable.reason)
    if isinstance(canary, Missing):
        return Inconclusive(reason=canary.reason)
    level(share, "share")
    on_stable, on_canary = counts(stable, "events of stable"), counts(canary, "events of the canary")
    evidence = float(ShareTest(ratio=1 + gate.relative_margin).log_e(on_stable, on_canary, np.array([share])))
    needed = -math.log(level(alpha))
    numbers = {
        "stable_events": int(on_stable[0]),
        "canary_events": int(on_canary[0]),
        "share": share,
        "log_e_worse": evidence,
        "log_e_needed": needed,
    }
    found = f"{on_canary[0]} events of the canary and {on_stable[0]} of stable at a share of {share:.0%}"
    rate = f"more than {1 + gate.relative_margin:.2f} times the rate"
    if evidence >= needed:
        return Failed(reason=f"{found}: {rate} ({ASSUMED})", numbers=numbers)
    return Inconclusive(reason=f"{found}: not {rate} with certainty; {NO_PROMOTION}", numbers=numbers)
