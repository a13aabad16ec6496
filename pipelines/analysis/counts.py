"""Events counted without users: the Poisson canary test, which may hold or roll back and never promotes.

The events of both arms are Poisson processes with one profile in time; given an event, it falls on the canary with
probability ``share * r / (share * r + 1 - share)`` where r is the ratio of rates (Lindon & Malek, arXiv 2011.03567;
Netflix, "Sequential A/B testing keeps the world streaming", part 2). Same e-value as :mod:`.event_share`.

Assumes independent events: one user who retries in a loop breaks it. Where users can be seen, count users.
"""

import math

import numpy as np

from pipelines.analysis.arms import Missing
from pipelines.analysis.checks import counts, level
from pipelines.analysis.event_share import ShareTest
from pipelines.analysis.gates import CountGate
from pipelines.analysis.verdict import Failed, Inconclusive, Verdict


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
        return Failed(reason=f"{found}: {rate} (assumes independence)", numbers=numbers)
    return Inconclusive(
        reason=f"{found}: not {rate} with certainty; counts without users do not promote", numbers=numbers
    )
