"""A mean compared by sums of the users' values: the same answer as user by user, of any number of users.

Only the asymptotic comparison of :mod:`.metrics` can be had so: bounds ask for the users in their order.
"""

import numpy as np
from numpy.typing import ArrayLike

from pipelines.analysis.arms import UserMoments
from pipelines.analysis.checks import Floats, level
from pipelines.analysis.gates import MeanGate
from pipelines.analysis.metrics import Estimate, averaged, judged
from pipelines.analysis.verdict import Inconclusive, Verdict


def compare_moments(stable: UserMoments, canary: UserMoments, gate: MeanGate, *, alpha: float) -> Verdict:
    """Judge a metric as :func:`.metrics.compare_mean` does, without the users.

    >>> control = UserMoments(period=np.array([0]), users=np.array([9000]), mean=np.array([10.0]),
    ...     squares=np.array([36000.0]))
    >>> treated = UserMoments(period=np.array([0]), users=np.array([1000]), mean=np.array([9.0]),
    ...     squares=np.array([4000.0]))
    >>> compare_moments(control, treated, MeanGate(margin=0.2), alpha=0.01).reason
    'metric 9 against 10 of stable: worse by more than 0.2 [-1.24, -0.7602]'
    """
    sizes = int(stable.users.sum()), int(canary.users.sum())
    users = {"stable_users": sizes[0], "canary_users": sizes[1], "alpha": level(alpha)}
    if gate.bounds is not None:
        many = f"{sum(sizes):,} users are too many to be looked at one by one"
        return Inconclusive(reason=f"{many}, as the bounds of {gate.metric} ask: leave them out", numbers=users)
    if min(sizes) < max(gate.minimum_users, 2):
        return Inconclusive(reason=f"{min(sizes)} users of an arm are fewer than {gate.minimum_users}", numbers=users)
    by_period = [_estimates(arm, *_adjustment(stable, canary)) for arm in (stable, canary)]
    pairs = [(by_period[0][period], by_period[1][period]) for period in sorted(by_period[0].keys() & by_period[1])]
    if not pairs:
        return Inconclusive(reason=f"no period of {gate.metric} has two users of each arm", numbers=users)
    past = ", adjusted by their past" if stable.past is not None and canary.past is not None else ""
    return judged(averaged(pairs, alpha), gate, users, past=past)


def _estimates(arm: UserMoments, theta: float, centre: float) -> dict[int, Estimate]:
    """By period, less what the past explains; periods of one user are left out."""
    mean, squares = arm.mean, arm.squares
    if arm.past is not None:
        mean = mean - theta * (arm.past.mean - centre)
        left = squares - theta * (2 * arm.past.products - theta * arm.past.squares)
        squares = np.maximum(left, 0.0)  # by rounding it is less where the past explains all
    return {
        int(period): Estimate(float(value), float(square) / (int(n) - 1) / int(n), int(n))
        for period, n, value, square in zip(arm.period, arm.users, mean, squares, strict=True)
        if n > 1
    }


def _adjustment(stable: UserMoments, canary: UserMoments) -> tuple[float, float]:
    """CUPED's theta and centre over the users of both arms and all periods; 0 where there is no past or it is alike."""
    if stable.past is None or canary.past is None:
        return 0.0, 0.0
    users = _both(stable.users, canary.users)
    values, past = _both(stable.mean, canary.mean), _both(stable.past.mean, canary.past.mean)
    centre = float(np.average(past, weights=users))
    apart = users * (past - centre)  # of the periods' means, which their own sums do not hold
    squares = float(_both(stable.past.squares, canary.past.squares).sum() + apart @ (past - centre))
    products = float(
        _both(stable.past.products, canary.past.products).sum() + apart @ (values - values.mean())
    )  # any middle does
    pasts = (stable.past, canary.past)
    is_alike = min(past.least.min() for past in pasts) == max(past.largest.max() for past in pasts)
    return (0.0 if is_alike or squares <= 0 else products / squares), centre  # squares may round to 0


def _both(stable: ArrayLike, canary: ArrayLike) -> Floats:
    return np.concatenate([np.asarray(stable, dtype=np.float64), np.asarray(canary, dtype=np.float64)])
