"""Canary against concurrent stable on a share of users: errors, wrong predictions, slow answers.

Which statistic speaks (all exact at every look, none needs the history):

==============================================  =====================================================================
guardrail                                       beta-binomial confidence sequence of the canary alone (:mod:`.rates`)
split known, margin relative, outcomes open     which arm the events fall on (:mod:`.event_share`)
split known otherwise                           both rates against the line (:mod:`.two_rates`)
split not known                                 one confidence sequence per arm at alpha/2: "assumes independence"
==============================================  =====================================================================

The order of judgement is: guardrail, sample ratio, missing exposure, margin. A guardrail breach needs no control and
so no valid split; everything else does.
"""

import math
from typing import NamedTuple

import numpy as np

from mlflow_deploy_plugin.errors import ConfigError
from pipelines.analysis import event_share, rates, srm, two_rates
from pipelines.analysis.arms import UserCounts
from pipelines.analysis.checks import Floats, level
from pipelines.analysis.gates import ErrorRatioGate
from pipelines.analysis.verdict import Failed, Inconclusive, Number, Numbers, Successful, Verdict

SRM_ALPHA = 0.001


def compare_error_ratio(stable: UserCounts, canary: UserCounts, gate: ErrorRatioGate, *, alpha: float) -> Verdict:
    """Judge the canary's share of users with the event against stable's, at this look and all others.

    Args:
        stable: counts of the control, by period.
        canary: counts of the new version, over the same periods.
        gate: margin, guardrail and minimum.
        alpha: chance, over all looks, of ``Failed`` for a canary within the margin, or ``Successful`` for one beyond.

    Returns:
        Failed, Successful or Inconclusive. Numbers: users and events of both arms, ratios, difference with ``low`` and
        ``high`` (each end wrong with probability at most alpha); with a known split also ``log_e_worse`` and
        ``log_e_not_worse``, which decide at ``log_e_needed``.

    Raises:
        ConfigError: periods that do not match, or one arm with shares and the other without.

    >>> from pipelines.analysis.arms import user_counts
    >>> gate = ErrorRatioGate(margin=0.005)
    >>> stable, canary = user_counts(9000, 90, shares=0.9), user_counts(1000, 60, shares=0.1)
    >>> compare_error_ratio(stable, canary, gate, alpha=0.01).reason
    'error ratio 6.00% against 1.00% of stable: worse by more than 0.50 pp [+2.6, +8.1]'
    """
    share = _canary_share(stable, canary)
    numbers = _counted(stable, canary) | {"alpha": level(alpha)}
    if breach := _breached(canary, gate, numbers):
        return breach
    if not stable.users or not canary.users:
        return Inconclusive(
            reason=f"no users of {'the canary' if stable.users else 'stable'} were seen", numbers=numbers
        )
    if share is None:
        return _verdict(gate, numbers, _by_arm(stable, canary, gate, alpha=alpha))
    if mismatch := _mismatched(stable, canary, share, numbers):
        return mismatch
    return _verdict(gate, numbers, _by_split(stable, canary, gate, share, alpha=alpha))


class _Finding(NamedTuple):
    is_worse: bool
    is_not_worse: bool
    numbers: Numbers


def _by_split(stable: UserCounts, canary: UserCounts, gate: ErrorRatioGate, share: Floats, *, alpha: float) -> _Finding:
    """Compare by the randomised split: exact e-values for both directions, and the interval of the difference."""
    cells = (stable.exposed - stable.events, stable.events, canary.exposed - canary.events, canary.events)
    table = two_rates.Table(*(cell.astype(np.float64) for cell in cells))
    ratio = 1 + gate.relative_margin
    if gate.margin or (stable.is_final and canary.is_final):
        lines = (two_rates.Line(ratio=ratio, margin=gate.margin, is_upper=is_upper) for is_upper in (True, False))
        worse, not_worse = (float(two_rates.log_e(table, share, line)) for line in lines)
    else:
        tests = (event_share.ShareTest(ratio=ratio, is_upper=is_upper) for is_upper in (True, False))
        worse, not_worse = (float(test.log_e(stable.events, canary.events, share)) for test in tests)
    low, high = two_rates.difference_bounds(table, share, alpha=alpha)
    threshold = -math.log(alpha)
    numbers = {"low": low, "high": high, "log_e_worse": worse, "log_e_not_worse": not_worse, "log_e_needed": threshold}
    return _Finding(is_worse=worse >= threshold, is_not_worse=not_worse >= threshold, numbers=numbers)


def _by_arm(stable: UserCounts, canary: UserCounts, gate: ErrorRatioGate, *, alpha: float) -> _Finding:
    """Compare without a split: each arm's own confidence sequence at alpha/2, by the union bound."""
    ends = rates.bounds(
        np.array([stable.users_with_event, canary.users_with_event]),
        np.array([stable.users, canary.users]),
        alpha=alpha / 2,
    )
    (stable_low, canary_low), (stable_high, canary_high) = (end.tolist() for end in ends)
    ratio = 1 + gate.relative_margin
    return _Finding(
        is_worse=canary_low > ratio * stable_high + gate.margin,
        is_not_worse=canary_high < ratio * stable_low + gate.margin,
        numbers={"low": canary_low - stable_high, "high": canary_high - stable_low},
    )


def _verdict(gate: ErrorRatioGate, counted: Numbers, finding: _Finding) -> Verdict:
    numbers = {**counted, **finding.numbers, "difference": counted["canary_ratio"] - counted["stable_ratio"]}
    interval = f"[{100 * numbers['low']:+.1f}, {100 * numbers['high']:+.1f}]"
    ratios = f"{gate.event} ratio {counted['canary_ratio']:.2%} against {counted['stable_ratio']:.2%} of stable"
    if finding.is_worse:
        return Failed(reason=f"{ratios}: worse by more than {_allowed(gate)} {interval}", numbers=numbers)
    if not finding.is_not_worse:
        return Inconclusive(
            reason=f"{ratios}: neither worse by more than {_allowed(gate)} nor within {interval}", numbers=numbers
        )
    if counted["canary_users"] < gate.minimum_users:
        reason = f"{ratios}: {counted['canary_users']} canary users are fewer than the {gate.minimum_users} asked for"
        return Inconclusive(reason=reason, numbers=numbers)
    return Successful(reason=f"{ratios}: not worse by more than {_allowed(gate)} {interval}", numbers=numbers)


def _allowed(gate: ErrorRatioGate) -> str:
    parts = [f"{100 * gate.margin:.2f} pp"] if gate.margin or not gate.relative_margin else []
    return " + ".join([*parts, f"{gate.relative_margin:.0%}"] if gate.relative_margin else parts)


def _breached(canary: UserCounts, gate: ErrorRatioGate, counted: Numbers) -> Failed | None:
    """Say Failed where the canary's ratio is above the absolute bound with certainty."""
    if gate.guardrail is None or not canary.users:
        return None
    low = float(rates.bounds(canary.users_with_event, canary.users, alpha=counted["alpha"])[0])
    if low <= gate.guardrail:
        return None
    ratio = f"{gate.event} ratio {canary.ratio:.2%} of the canary (at least {low:.2%})"
    reason = f"{ratio} is above the guardrail {gate.guardrail:.2%}"
    return Failed(reason=reason, numbers={**counted, "guardrail": gate.guardrail, "canary_low": low})


def _mismatched(stable: UserCounts, canary: UserCounts, share: Floats, counted: Numbers) -> Inconclusive | None:
    """Say Inconclusive where the users did not fall on the arms as the split says."""
    split = np.stack([1 - share, share], axis=-1)
    verdict = srm.judge_split(np.stack([stable.exposed, canary.exposed], axis=-1), split, alpha=SRM_ALPHA)
    if isinstance(verdict, Successful):
        return None
    return Inconclusive(reason=verdict.reason, numbers={**counted, "srm_p": verdict.numbers["p"]})


def _canary_share(stable: UserCounts, canary: UserCounts) -> Floats | None:
    """Probability that a user of these two arms is the canary's, by period; None where no split is known."""
    if len(stable.exposed) != len(canary.exposed):
        raise ConfigError(
            f"stable has {len(stable.exposed)} periods, the canary {len(canary.exposed)}: must be the same"
        )
    if stable.shares is None and canary.shares is None:
        return None
    if stable.shares is None or canary.shares is None:
        raise ConfigError("shares of one arm are known and of the other not: give both, or none")
    if (stable.shares + canary.shares > 1 + 1e-9).any():
        raise ConfigError(
            f"shares {stable.shares.tolist()} and {canary.shares.tolist()} sum to more than 1 in a period"
        )
    return np.asarray(canary.shares / (stable.shares + canary.shares))


def _counted(stable: UserCounts, canary: UserCounts) -> dict[str, Number]:
    return {
        "stable_users": stable.users,
        "stable_events": stable.users_with_event,
        "stable_ratio": stable.ratio,
        "canary_users": canary.users,
        "canary_events": canary.users_with_event,
        "canary_ratio": canary.ratio,
    }
