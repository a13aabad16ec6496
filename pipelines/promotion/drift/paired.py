"""Is the present version at fault, where no other one has users? Judged beside the version before on the same inputs.

Both have scored the same logged inputs of the same users, whose labels are known: the test is paired, and needs far
fewer users than two arms would. Always-valid like every comparison of a rollout.
"""

from pipelines.analysis.gates import PairedGate
from pipelines.analysis.means import asymptotic_half_width
from pipelines.analysis.paired import Pairs, compare_paired
from pipelines.analysis.verdict import Failed
from pipelines.promotion.drift import words
from pipelines.promotion.drift.decision import Reason
from pipelines.promotion.drift.evidence import Arm, Shadow, UserSums
from pipelines.promotion.drift.policy import DriftPolicy


def judged(stable: Arm, shadow: Shadow, policy: DriftPolicy) -> tuple[Reason, bool]:
    """What the comparison says, and whether the present version is worse beyond the margin with certainty."""
    if shadow.users < policy.min_labelled_users:
        text = (
            f"{shadow.deployment} before this version has scored labelled inputs of {shadow.users} users;"
            f" {policy.min_labelled_users} are needed to compare the two"
        )
        return _reason(stable, text, {"users": shadow.users}), False
    if shadow.differences is not None:
        return _by_size(stable, shadow, shadow.differences, policy)
    pairs = Pairs(only_new_wrong=shadow.only_new_wrong, only_old_wrong=shadow.only_old_wrong, same=shadow.same)
    verdict = compare_paired(pairs, PairedGate(margin=policy.wrong_margin), alpha=policy.alpha)
    is_worse = isinstance(verdict, Failed)
    low, high = (words.points(float(verdict.numbers[end])) for end in ("low", "high"))
    found = (
        f"alone wrong for {pairs.only_new_wrong} of {pairs.users} users, the one before for {pairs.only_old_wrong}"
        f" (difference {words.points(pairs.difference)}, within {low} to {high})"
    )
    return _reason(stable, _sentence(stable, shadow, found, is_worse=is_worse), dict(verdict.numbers)), is_worse


def _by_size(stable: Arm, shadow: Shadow, sums: UserSums, policy: DriftPolicy) -> tuple[Reason, bool]:
    half = float(asymptotic_half_width(sums.squared_error, sums.users, alpha=policy.alpha))
    low, high = sums.mean - half, sums.mean + half
    is_worse = low > policy.error_margin * shadow.old_error
    found = f"absolute error {sums.mean:+.4g} beside it per user, within {low:+.4g} to {high:+.4g}"
    numbers = {"users": sums.users, "difference": sums.mean, "low": low, "high": high, "old_error": shadow.old_error}
    return _reason(stable, _sentence(stable, shadow, found, is_worse=is_worse), numbers), is_worse


def _sentence(stable: Arm, shadow: Shadow, found: str, *, is_worse: bool) -> str:
    before = shadow.deployment if shadow.deployment != stable.deployment else "the model before"
    verdict = "is worse than" if is_worse else "is not certainly worse than"
    return f"{stable.deployment} {verdict} {before} on the same logged inputs: {found}"


def _reason(stable: Arm, text: str, numbers: dict[str, float | int]) -> Reason:
    return Reason(gate="performance", subject=stable.deployment, text=text, numbers=numbers)
