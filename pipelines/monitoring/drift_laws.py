"""What the drift gate promises, measured: how often it reverts, after how many labels, how often it freezes or holds.

Reverts are counted on every repetition by the very e-values that the decision compares with its threshold, for all
looks at once; on some repetitions the decision function itself is asked at that look and at the one before it, and
must agree. What is said of the inputs is counted on some repetitions, since it costs a second a tick.
"""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

import numpy as np
from scipy import stats

from pipelines.analysis import two_rates
from pipelines.analysis.multiple import split_alpha
from pipelines.analysis.paired import Pairs, log_e
from pipelines.monitoring import univariate
from pipelines.monitoring.drift_streams import (
    CYCLE,
    FEATURES,
    LATE,
    SCENARIOS,
    SHARE,
    TICKS,
    USERS,
    ArmName,
    Counts,
    Floats,
    Integers,
    Scenario,
    counts,
    features,
    reference,
)
from pipelines.promotion.drift.decide import decide_drift
from pipelines.promotion.drift.decision import DriftDecision, Revert, WorldMoved
from pipelines.promotion.drift.evidence import (
    Against,
    Arm,
    Automation,
    DriftEvidence,
    FeatureShift,
    Performance,
    Reference,
    UserTally,
    Window,
)
from pipelines.promotion.drift.faults import GATES
from pipelines.promotion.drift.policy import DriftPolicy

if TYPE_CHECKING:
    import pandas as pd

POLICY: Final = DriftPolicy()
SURE: Final = 0.99
INPUTS_EVERY: Final = 2
"""Ticks between two looks at the inputs."""
ALONE_USERS: Final = 200
"""Labelled users of one tick that both versions have scored, where one version has all users."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one scenario."""

    name: str
    about: str
    promise: str
    """``rarely`` or ``surely``."""
    reverts: int
    repetitions: int
    labels: tuple[int, ...] = ()
    """Labels of the new version that each revert had."""
    said: Counter[str] = field(default_factory=Counter)
    """Verdicts on the inputs, as shares of ``looked`` runs in which each was said at least once."""
    freezes: int = 0
    """Times that a freeze began, over the runs whose inputs were looked at."""
    looked: int = 0

    @property
    def p(self) -> float:
        """Probability of such a count or a worse one where the promise holds."""
        if self.promise == "surely":
            return float(stats.binomtest(self.reverts, self.repetitions, SURE, alternative="less").pvalue)
        return float(stats.binomtest(self.reverts, self.repetitions, POLICY.alpha, alternative="greater").pvalue)


def outcomes(*, repetitions: int, looked: int, seed: int) -> tuple[Outcome, ...]:
    """Every scenario; the inputs of the first ``looked`` repetitions are looked at too.

    >>> [one.name[0] for one in outcomes(repetitions=2, looked=0, seed=1)]
    ['A', 'A', 'B', 'C', 'D', 'E', 'F', 'G', 'H', 'I']
    """
    found = [_outcome(scenario, repetitions, looked, seed + place) for place, scenario in enumerate(SCENARIOS)]
    return (*found, *_alone(repetitions, seed=seed))


def reverted_at(drawn: Counts) -> Integers:
    """Tick at which each repetition is first reverted, shape (repetitions,); -1: never."""
    alphas = split_alpha(POLICY.alpha, GATES, arms=1)
    labelled = {arm: _until(drawn.users[arm], late=LATE) for arm in drawn.users}
    wrong = {arm: _until(drawn.wrong[arm], late=LATE) for arm in drawn.wrong}
    met = {arm: _until(drawn.failed[arm]) for arm in drawn.failed}
    seen = {arm: _until(drawn.users[arm]) for arm in drawn.users}
    is_worse = _crossed(labelled, wrong, margin=POLICY.wrong_margin, alpha=alphas["performance"])
    is_worse &= np.minimum(labelled["stable"], labelled["canary"]) >= POLICY.min_labelled_users
    is_worse |= _crossed(seen, met, margin=POLICY.failure_margin, alpha=alphas["errors"])
    return np.where(is_worse.any(axis=1), is_worse.argmax(axis=1), -1)


def evidence_at(drawn: Counts, repetition: int, tick: int) -> DriftEvidence:
    """What the job would gather at one tick of one repetition, inputs left out."""
    return DriftEvidence(
        endpoint="simulated",
        stage="production",
        commit="",
        rollout="",
        window=Window(since="", until=""),
        stable=_arm(drawn, "stable", repetition, tick),
        canaries=(_arm(drawn, "canary", repetition, tick),),
        reference=Reference(source="simulated", digest="", rows=0),
    )


def inputs_said(scenario: Scenario, *, seed: int, every: int = 1) -> tuple[list[DriftDecision], int]:
    """What is decided on the inputs of one run at ``every`` so many ticks, and how often a freeze began."""
    rng = np.random.default_rng(seed)
    base = _frame(reference(scenario, rng=rng))
    rows = {arm: features(scenario, arm, ticks=range(TICKS), rng=rng) for arm in _ARMS}
    decisions: list[DriftDecision] = []
    freezes, is_frozen = 0, False
    for tick in range(CYCLE - 1, TICKS, every):
        window = {arm: rows[arm][tick - CYCLE + 1 : tick + 1] for arm in _ARMS}
        evidence = replace(
            _BLANK, shifts=tuple(_shifts(window, base)), automation=Automation(is_frozen=is_frozen), features_tested=4
        )
        decisions.append(decide_drift(evidence, POLICY))
        has_moved = isinstance(decisions[-1], WorldMoved)
        freezes += has_moved and not is_frozen
        is_frozen = has_moved
    return decisions, freezes


_ARMS: Final[tuple[ArmName, ArmName]] = ("stable", "canary")
_BLANK: Final = DriftEvidence(
    endpoint="simulated",
    stage="production",
    commit="",
    rollout="",
    window=Window(since="", until=""),
    stable=Arm(deployment="stable", model_digest="", weight=900, rows=1, users=1),
    canaries=(Arm(deployment="canary", model_digest="", weight=100, rows=1, users=1),),
    reference=Reference(source="simulated", digest="", rows=0),
)


def _outcome(scenario: Scenario, repetitions: int, looked: int, seed: int) -> Outcome:
    drawn = counts(scenario, repetitions=repetitions, seed=seed)
    at = reverted_at(drawn)
    labels = _until(drawn.users["canary"], late=LATE)
    said: Counter[str] = Counter()
    freezes = 0
    for number in range(looked):
        decisions, begun = inputs_said(scenario, seed=seed * 1000 + number, every=INPUTS_EVERY)
        said.update({each.verdict for each in decisions})
        freezes += begun
    return Outcome(
        name=scenario.name,
        about=scenario.about,
        promise=scenario.reverts,
        reverts=int((at >= 0).sum()),
        repetitions=repetitions,
        labels=tuple(int(labels[row, tick]) for row, tick in enumerate(at) if tick >= 0),
        said=said,
        freezes=freezes,
        looked=looked,
    )


def _alone(repetitions: int, *, seed: int) -> Iterator[Outcome]:
    """One version with all users, beside the version before on the same logged inputs."""
    cases = (
        ("H alone, world drift", "both versions wrong for 13 %, on other users for 5 % each", "rarely", (0.05, 0.05)),
        ("I alone, worse", "alone wrong for 6 %, the version before for 2 %", "surely", (0.06, 0.02)),
    )
    for place, (name, about, promise, (new, old)) in enumerate(cases):
        rng = np.random.default_rng(seed + 100 + place)
        drawn = rng.multinomial(ALONE_USERS, [new, old, 1 - new - old], (repetitions, TICKS)).cumsum(axis=1)
        labels = [users for users in map(_alone_labels, drawn) if users]
        yield Outcome(
            name=name, about=about, promise=promise, reverts=len(labels), repetitions=repetitions, labels=tuple(labels)
        )


def _alone_labels(run: Integers) -> int:
    """Users at the first look at which the present version is certainly worse; 0: never."""
    for new, old, same in run:
        pairs = Pairs(only_new_wrong=int(new), only_old_wrong=int(old), same=int(same))
        if log_e(pairs, margin=POLICY.wrong_margin) >= -math.log(POLICY.alpha):
            return pairs.users
    return 0


def _until(values: Integers, *, late: int = 0) -> Integers:
    """Sums of all ticks that are known at each tick."""
    summed = np.cumsum(values, axis=1)
    return summed if not late else np.pad(summed, ((0, 0), (late, 0)))[:, :-late]


def _crossed(
    users: dict[ArmName, Integers], events: dict[ArmName, Integers], *, margin: float, alpha: float
) -> "np.ndarray[tuple[int, ...], np.dtype[np.bool_]]":
    cells = (
        users["stable"] - events["stable"], events["stable"], users["canary"] - events["canary"], events["canary"],
    )  # fmt: skip
    table = two_rates.Table(*(cell[..., None].astype(np.float64) for cell in cells))
    evidence = two_rates.log_e(table, np.array([SHARE]), two_rates.Line(margin=margin))
    return np.asarray(evidence >= -math.log(alpha))


def _arm(drawn: Counts, name: ArmName, repetition: int, tick: int) -> Arm:
    share = SHARE if name == "canary" else 1 - SHARE

    def tally(users: Integers, events: Integers, late: int) -> UserTally:
        known = slice(0, max(0, tick + 1 - late))
        counted = (int(each[repetition, known].sum()) for each in (users, events))
        return UserTally(exposed=(next(counted),), events=(next(counted),), shares=(share,))

    users = drawn.users[name]
    return Arm(
        deployment=name,
        model_digest="",
        weight=round(share * 1000),
        rows=1,
        users=1,
        failures=tally(users, drawn.failed[name], 0),
        performance=Performance(wrong=tally(users, drawn.wrong[name], LATE), coverage=1.0),
    )


def _frame(rows: Floats) -> "pd.DataFrame":
    import pandas as pd  # noqa: PLC0415  heavy

    return pd.DataFrame(rows, columns=list(FEATURES))


def _shifts(window: "dict[ArmName, list[Floats]]", base: "pd.DataFrame") -> Iterator[FeatureShift]:
    """Each arm beside the training sample and the canary beside stable, with the parts that show each shift."""
    frames = {arm: _frame(np.concatenate(parts)) for arm, parts in window.items()}
    pairs: Sequence[tuple[ArmName, Against, pd.DataFrame]] = (
        ("stable", "reference", base), ("canary", "reference", base), ("canary", "stable", frames["stable"]),
    )  # fmt: skip
    for arm, against, other in pairs:
        found = univariate.shifts(frames[arm], other, arm=arm, against=against, policy=POLICY)
        beside = [base] * CYCLE if against == "reference" else [_frame(part) for part in window["stable"]]
        parts = [(_frame(now), then) for now, then in zip(window[arm], beside, strict=True)]
        yield from univariate.lasting(found, parts, POLICY)


def agrees(drawn: Counts, repetition: int, tick: int) -> bool:
    """Whether the decision function reverts at ``tick`` and not before, or never where ``tick`` is -1."""
    last = TICKS - 1 if tick < 0 else tick
    now = isinstance(decide_drift(evidence_at(drawn, repetition, last), POLICY), Revert)
    if tick < 0:
        return not now
    before = tick > 0 and isinstance(decide_drift(evidence_at(drawn, repetition, tick - 1), POLICY), Revert)
    return now and not before


def table(found: Sequence[Outcome]) -> str:
    """The outcomes as Markdown."""
    lines = [
        "| scenario | truth | promised | reverts | p | labels at the revert: median, 95 % | inputs said |",
        "|---|---|---|---|---|---|---|",
    ]
    return "\n".join([*lines, *map(_row, found)])


def _row(one: Outcome) -> str:
    promise = f"≥ {SURE:.0%}" if one.promise == "surely" else f"≤ {POLICY.alpha:.0%}"
    rate = f"{one.reverts} of {one.repetitions} ({one.reverts / one.repetitions:.1%})"
    quantiles = [f"{np.quantile(one.labels, q, method='higher'):.0f}" for q in (0.5, 0.95)] if one.labels else ["-"]
    said = ", ".join(f"{name} {number}/{one.looked}" for name, number in sorted(one.said.items())) or "-"
    if one.freezes:
        said += f"; {one.freezes / one.looked:.1f} freezes a run"
    return f"| {one.name} | {one.about} | {promise} | {rate} | {one.p:.2g} | {', '.join(quantiles)} | {said} |"


def about() -> str:
    """The size of the simulation, in one sentence."""
    return (
        f"{USERS} users a tick of six hours, {SHARE:.0%} of them on the canary, {TICKS} ticks, {len(FEATURES)}"
        f" features; a label comes {LATE} ticks late; the gate looks at every tick, at the inputs at every second one"
    )
