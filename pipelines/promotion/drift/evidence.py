"""What a drift decision is made from: counts, effects and checks, small enough to commit beside the decision.

Values only. No row of anybody's data is in here; :mod:`pipelines.monitoring` fills it, :mod:`.codec` writes it down.

Rules:
    * stable on the same traffic and over the same interval is the control of every arm;
    * a user counts once (a user's requests are not independent);
    * q-values are false-discovery-rate adjusted over *every* tested feature, also those that were left out here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

SCHEMA: Final = 1

CheckName = Literal[
    "reference",
    "schema",
    "missing-columns",
    "missingness",
    "range",
    "categories",
    "sample-size",
    "exposure",
    "labels",
]
Scope = Literal["traffic", "inputs", "world", "labels", "none"]
"""What a failed check makes worthless: every comparison of arms, those of the inputs, those against the reference,
those of the labels, or nothing (it is only told)."""

Against = Literal["reference", "stable"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One question of validity and its answer."""

    name: CheckName
    subject: str
    """Deployment, feature or file that was looked at."""
    is_ok: bool
    scope: Scope = "none"
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureShift:
    """How one column of one arm differs from what it is compared with."""

    feature: str
    arm: str
    against: Against
    method: str
    effect: float
    """0 (alike) to 1: Kolmogorov's D for numbers, total variation for categories."""
    q: float
    """p-value after the false-discovery-rate correction."""
    direction: str = ""
    """In words: ``mean 4.1 → 6.3``."""
    hits: int = 1
    """Parts of the window that show the shift too."""
    parts: int = 1
    """Parts that have users enough to be looked at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainTest:
    """How well a classifier tells an arm's rows from those that they are compared with, out of fold."""

    arm: str
    against: Against
    auc: float
    p: float
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class UserTally:
    """Distinct users of one arm and how many of them had the event, by period of constant split, oldest first.

    A user belongs to the period and to the arm in which the gateway first saw them.
    """

    exposed: tuple[int, ...]
    events: tuple[int, ...]
    shares: tuple[float, ...] = ()
    """Probability that the split gives a user to this arm, by period; empty: not known."""

    @property
    def users(self) -> int:
        """Users of all periods."""
        return sum(self.exposed)

    @property
    def ratio(self) -> float:
        """Share of the users that had the event; 0 where there are none."""
        return sum(self.events) / self.users if self.users else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class UserSums:
    """An error in the label's unit, one value per distinct user, as sums."""

    users: int
    total: float
    squares: float

    @property
    def mean(self) -> float:
        """Mean over users; 0 where there are none."""
        return self.total / self.users if self.users else 0.0

    @property
    def squared_error(self) -> float:
        """Square of the mean's standard error; 0 where there are fewer than two users."""
        if self.users < 2:  # noqa: PLR2004  a variance needs two
            return 0.0
        variance = (self.squares - self.total * self.total / self.users) / (self.users - 1)
        return max(0.0, variance) / self.users


@dataclass(frozen=True, slots=True, kw_only=True)
class Performance:
    """Matured ground truth of one arm: a tally of wrong predictions, or sums of absolute errors."""

    wrong: UserTally | None = None
    """Classification: users whose first labelled prediction was wrong."""
    error: UserSums | None = None
    """Regression: absolute error of each user's first labelled prediction."""
    coverage: float = 0.0
    """Share of the arm's predictions whose label has arrived."""

    @property
    def users(self) -> int:
        """Labelled users."""
        return sum(part.users for part in (self.wrong, self.error) if part is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One deployment that takes part in the split."""

    deployment: str
    model_digest: str
    weight: int
    rows: int
    users: int
    failures: UserTally | None = None
    """Users who met a failed attempt, by the gateway's log."""
    performance: Performance | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Shadow:
    """The version before, scored on the logged inputs of the present one: the control where all users have one version.

    Of each user the first labelled input. Classes are counted by who is wrong, numbers by the difference of the two
    absolute errors (present less before).
    """

    deployment: str
    model_digest: str
    only_new_wrong: int = 0
    only_old_wrong: int = 0
    same: int = 0
    differences: UserSums | None = None
    old_error: float = 0.0
    """Mean absolute error of the version before, where the labels are numbers."""

    @property
    def users(self) -> int:
        """Users whose input both versions have scored."""
        return self.differences.users if self.differences else self.only_new_wrong + self.only_old_wrong + self.same


@dataclass(frozen=True, slots=True, kw_only=True)
class Automation:
    """What automation has done to this endpoint, as the log of commits says."""

    is_frozen: bool = False
    """Whether promotion stands still now."""
    reverts_today: int = 0
    """Reverts by automation in the last 24 hours."""
    last_revert: str = ""
    """When the newest of them was committed."""
    hours_since: float = 0.0
    """Hours since then; 0 where there was none."""
    put_back: tuple[str, ...] = ()
    """Deployments with users whose model automation took out before, and a person put back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Which events were looked at. Times are RFC 3339 in UTC."""

    since: str
    """Inputs are compared from here on."""
    until: str
    rollout_since: str = ""
    """Failed attempts and labels are counted from here on."""
    split_since: str = ""
    """When the gateway first served the present split."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """The training sample that the stable deployment's inputs are compared with."""

    source: str
    digest: str
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftEvidence:
    """Everything that :func:`.decide.decide_drift` knows."""

    endpoint: str
    stage: str
    commit: str
    """Commit whose split was judged."""
    rollout: str
    window: Window
    stable: Arm
    canaries: tuple[Arm, ...] = ()
    reference: Reference | None = None
    checks: tuple[Check, ...] = ()
    shifts: tuple[FeatureShift, ...] = ()
    """Inputs, greatest effects first; see ``features_tested`` for how many there were."""
    predictions: tuple[FeatureShift, ...] = ()
    domain_tests: tuple[DomainTest, ...] = ()
    features_tested: int = 0
    shadow: Shadow | None = None
    automation: Automation = field(default_factory=Automation)
    versions: Mapping[str, str] = field(default_factory=dict)
    schema: int = SCHEMA
