"""The thresholds of a drift decision, each with its unit and its reason."""

from dataclasses import dataclass, fields
from typing import Final

from mlflow_deploy_plugin.errors import ConfigError

_POSITIVE: Final = (
    "alpha", "fdr", "enter_effect", "exit_effect", "enter_auc", "exit_auc", "auc_p", "min_users", "min_labelled_users",
    "windows", "windows_needed", "window_p", "max_reverts_a_day",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftPolicy:
    """What counts as a shift and what as worse. A policy is written down with every decision."""

    alpha: float = 0.01
    """Probability of ever reverting a version that is no worse, per rollout; split over gates and arms."""
    fdr: float = 0.001
    """Share of false alarms among the features that are called shifted (Benjamini-Hochberg), at one look of the many
    that an hourly job takes: docs/drift.md has the false alarms in 90 days that follow from it."""
    enter_effect: float = 0.1
    """Smallest D or total variation that matters: with enough rows any difference is significant."""
    exit_effect: float = 0.08
    """Effect below which a column that froze the promotion counts as calm again: lower, so that nothing flaps."""
    windows: int = 4
    """Parts of the window, of as many users each, in which a shift is looked for again (n of "k of n")."""
    windows_needed: int = 3
    """Parts that must show a shift before it counts (k): a peak of an hour is no drift of the week."""
    window_p: float = 0.05
    """Largest q-value in one part, beside the smallest effect, and in the whole window of a shift that is known."""
    enter_auc: float = 0.6
    """Smallest out-of-fold AUC (0.5 to 1) of the domain classifier that matters: of many rows, any is significant."""
    exit_auc: float = 0.57
    """AUC below which a classifier's shift that froze the promotion counts as calm again: lower, so that nothing flaps.
    It must be sure as well, by ``window_p``."""
    auc_p: float = 1e-5
    """Largest p-value of the classifier at one look. Stricter than ``fdr``, since no parts of the window must agree and
    an hourly job takes two thousand looks in 90 days: docs/drift.md has the false alarms that follow from it."""
    min_users: int = 100
    """Distinct users of an arm below which its inputs are not judged."""
    min_labelled_users: int = 50
    """Distinct labelled users of an arm below which its performance is not judged."""
    wrong_margin: float = 0.01
    """Wrong-prediction ratio (0 to 1) by which a canary may be worse before it is at fault."""
    error_margin: float = 0.05
    """Share of stable's own mean absolute error by which a canary may be worse before it is at fault."""
    failure_margin: float = 0.005
    """Ratio of users who met a failed attempt (0 to 1) by which a canary may be worse before it is at fault."""
    failure_guardrail: float = 0.05
    """Ratio of users who met a failed attempt that no version may certainly exceed, whatever stable does."""
    cooldown_h: float = 1.0
    """Hours after a revert in which no other follows, unless a version fails beyond the guardrail."""
    max_reverts_a_day: int = 3
    """Reverts of one endpoint within 24 hours; one more freezes instead, since something else is wrong by then."""

    def __post_init__(self) -> None:
        for name in _POSITIVE:
            if (value := getattr(self, name)) <= 0:
                raise ConfigError(f"{name}={value} of the drift policy is not positive")
        if self.windows_needed > self.windows or self.exit_effect > self.enter_effect:
            raise ConfigError("the drift policy needs windows_needed ≤ windows and exit_effect ≤ enter_effect")
        if self.exit_auc > self.enter_auc or self.auc_p > self.window_p:
            raise ConfigError(
                "the drift policy needs exit_auc ≤ enter_auc and auc_p ≤ window_p, or a freeze would flap"
            )
        if negative := [f.name for f in fields(self) if getattr(self, f.name) < 0]:
            raise ConfigError(f"{negative[0]} of the drift policy is negative; margins are 0 or more")

    def needed_of(self, parts: int) -> int:
        """How many of ``parts`` must show a shift: as large a share as ``windows_needed`` of ``windows``.

        >>> [DriftPolicy().needed_of(parts) for parts in (1, 2, 3, 4)]
        [1, 2, 3, 3]
        """
        return -(-self.windows_needed * parts // self.windows)
