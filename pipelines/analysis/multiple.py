"""Many tests at once: false discovery rate, family-wise error, and one rollout's alpha split over its gates and arms.

Guardrails are not corrected among themselves (any may stop a rollout) beyond their share of alpha; drift over features
controls the false discovery rate; arms against one control use Dunnett or Holm.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike

from mlflow_deploy_plugin.errors import ConfigError
from pipelines.analysis.checks import Floats, level, sample


def q_values(p_values: ArrayLike, *, is_dependent: bool = False) -> Floats:
    """Adjust p-values to q-values: rejecting ``q <= alpha`` keeps the false discovery rate at alpha.

    Benjamini & Hochberg (1995), eq. 1, valid under independence or positive dependence; with ``is_dependent``
    Benjamini & Yekutieli (2001), theorem 1.3, valid under any.

    Args:
        p_values: shape (tests,), each in [0, 1].
        is_dependent: use Benjamini-Yekutieli.

    Returns:
        Shape (tests,); empty for no test.

    Raises:
        ConfigError: a value outside [0, 1] or NaN.

    >>> q_values([0.01, 0.02, 0.03]).tolist()
    [0.03, 0.03, 0.03]
    """
    from scipy import stats  # noqa: PLC0415  half a second, and every command splits an alpha

    p = _probabilities(p_values)
    return stats.false_discovery_control(p, method="by" if is_dependent else "bh") if p.size else p


def holm(p_values: ArrayLike) -> Floats:
    """Adjust p-values by Holm's step-down (Scand. J. Statist. 6:65, 1979): controls the family-wise error rate.

    >>> [round(float(p), 6) for p in holm([0.01, 0.04, 0.03])]
    [0.03, 0.06, 0.06]
    """
    p = _probabilities(p_values)
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate((p.size - np.arange(p.size)) * p[order])
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted


def step_down(rejects: Callable[[str, float], bool], names: Sequence[str], *, alpha: float) -> tuple[str, ...]:
    """Hypotheses that Holm's steps reject, where a test answers at a level instead of giving a p-value.

    All are asked at ``alpha`` over their number; when some are rejected, the rest anew at ``alpha`` over the rest's.
    The same set as :func:`holm` finds. Tests that hold at every look make the family hold at every look.

    Args:
        rejects: whether the hypothesis of that name is rejected at that level.
        names: all hypotheses, also those that nothing is known of yet.
        alpha: chance of one wrong rejection or more.

    >>> p = {"a": 0.01, "b": 0.04, "c": 0.03}
    >>> step_down(lambda name, level: p[name] <= level, tuple(p), alpha=0.05)
    ('a',)
    >>> step_down(lambda name, level: p[name] <= level, tuple(p), alpha=0.07)
    ('a', 'c', 'b')
    """
    left, rejected = list(names), list[str]()
    while hit := [name for name in left if rejects(name, level(alpha) / len(left))]:
        rejected += hit
        left = [name for name in left if name not in hit]
    return tuple(rejected)


def dunnett(control: ArrayLike, *arms: ArrayLike, seed: int = 0) -> Floats:
    """P-values of each arm's mean against one control, jointly (Dunnett, JASA 50:1096, 1955): a fixed-horizon test.

    Not safe under peeking: for the end of an A/B/n test whose length was fixed before the start.

    Args:
        control: values of the control, shape (users,).
        arms: values of each arm, shape (users_i,).
        seed: of the numerical integration.

    Returns:
        Shape (arms,).

    Raises:
        ConfigError: NaN, or no arm.

    >>> bool(dunnett([1.0, 2.0, 3.0, 2.0], [7.0, 8.0, 9.0, 8.0])[0] < 0.001)
    True
    """
    from scipy import stats  # noqa: PLC0415  as above

    if not arms:
        raise ConfigError("no arm to compare with the control: give at least one")
    samples = [sample(arm, f"arm {number}") for number, arm in enumerate(arms, start=1)]
    found = stats.dunnett(*samples, control=sample(control, "control"), rng=np.random.default_rng(seed))
    return np.asarray(found.pvalue, dtype=np.float64)


def split_alpha(alpha: float, gates: Sequence[str], *, arms: int = 1) -> dict[str, float]:
    """Split a rollout's alpha evenly over its gates and arms (Bonferroni): alpha of each gate, for one arm.

    Args:
        alpha: chance, per rollout, of a rollback of a version that is within every margin.
        gates: names of the gates, all different.
        arms: arms beside stable.

    Raises:
        ConfigError: no gate, a name twice, no arm.

    >>> split_alpha(0.01, ["errors", "p99"], arms=1)
    {'errors': 0.005, 'p99': 0.005}
    """
    if not gates or len(set(gates)) != len(gates):
        raise ConfigError(f"gates are {list(gates)}: need at least one, each name once")
    if arms < 1:
        raise ConfigError(f"arms are {arms}: there must be at least one beside stable")
    return dict.fromkeys(gates, level(alpha) / (len(gates) * arms))


def _probabilities(p_values: ArrayLike) -> Floats:
    p = sample(p_values, "p_values", minimum=0.0)
    if p.size and float(p.max()) > 1:
        raise ConfigError(f"p_values hold {float(p.max())}: must lie in [0, 1]")
    return p
