"""Users without machines: a source of observations that a test, or a curious person, steers. Ships; seeded; pure.

    sim = TrafficSimulator(seed=1)
    sim.error_rate(stable=0.01, canary=0.05)
    sim.run_until_settled(plan)          # a three-day canary in milliseconds

Users arrive evenly, each is dealt to an arm by the split of the moment, and fails once or never. In the shadow every
copied user is predicted for twice. What a decision does to the weights is what :mod:`.effects` says it does.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Final, assert_never

import numpy as np

from mlflow_deploy_plugin.manifests.model import Route
from mlflow_deploy_plugin.manifests.split import layout
from mlflow_deploy_plugin.spec import annotations
from mlflow_deploy_plugin.spec.names import TOTAL_WEIGHT
from pipelines.analysis.arms import Arm, Missing, UserCounts, metric, user_counts
from pipelines.promotion import marks
from pipelines.promotion.decide import decide
from pipelines.promotion.decision import (
    Abort,
    Advance,
    Conclude,
    Decision,
    Expire,
    Hold,
    Promote,
    Retire,
    SetMirror,
    SetWeights,
    Unchanged,
)
from pipelines.promotion.effects import Context, Effect, effect_of
from pipelines.promotion.observation import Observation, Observed
from pipelines.promotion.plan import Plan
from pipelines.promotion.state import Candidate, Comparison, State, comparisons

START: Final = datetime(2026, 1, 1, tzinfo=UTC)
LONGEST: Final = timedelta(days=60)
RATE: Final = 0.01


@dataclass(slots=True, kw_only=True)
class _Period:
    """Users of one constant split."""

    weights: Mapping[str, int]
    mirror: str = ""
    users: dict[str, int] = field(default_factory=dict)
    failed: dict[str, int] = field(default_factory=dict)
    copies: int = 0
    copies_failed: int = 0
    differing: int = 0


@dataclass(slots=True, kw_only=True)
class TrafficSimulator:
    """An endpoint with users; satisfies :class:`~.observation.Observer`."""

    seed: int
    users_per_hour: int = 500
    stable: str = "v3"
    arms: tuple[str, ...] = ("v4",)
    tick: timedelta = timedelta(minutes=10)
    now: datetime = START
    _rates: dict[str, float] = field(default_factory=dict)
    _disagreement: float = 0.0
    _means: dict[str, float] = field(default_factory=dict)
    _values: dict[str, list[float]] = field(default_factory=dict)
    _periods: list[_Period] = field(default_factory=list)

    def error_rate(self, *, stable: float, canary: float) -> None:
        """From now on this share of the users of stable, and of every other arm, fails."""
        self.error_rates({self.stable: stable, **dict.fromkeys(self.arms, canary)})

    def error_rates(self, rates: Mapping[str, float]) -> None:
        """From now on this share of the users of each arm fails."""
        self._rates |= rates

    def _rate(self, name: str, state: State) -> float:
        """Share of an arm's users that fails: a baseline does as stable, unless somebody said otherwise."""
        is_baseline = state.baseline is not None and name == state.baseline.deployment
        return self._rates.get(name, self._rates.get(self.stable, RATE) if is_baseline else RATE)

    def disagreement(self, share: float) -> None:
        """From now on the shadow predicts something else for this share of the users."""
        self._disagreement = share

    def labels(self, means: Mapping[str, float]) -> None:
        """From now on users have a label that is 0 or 1, with this mean by arm."""
        self._means |= means

    def observe(self, *, stable: str, canary: str, since: datetime, now: datetime) -> Observation:  # noqa: ARG002
        """Everything since the rollout began: the simulator forgets what was before."""
        if any(period.mirror == canary for period in self._periods[-1:]):
            return self._shadowed(stable, canary)
        return Observation(stable=self._arm(stable, (stable, canary)), canary=self._arm(canary, (stable, canary)))

    def run_until_settled(self, plan: Plan) -> Decision:
        """Tick until the rollout ends; the decision that ended it, or the last one after two months."""
        return list(self.decisions(plan))[-1]

    def decisions(self, plan: Plan) -> Iterator[Decision]:
        """Every decision of a rollout from its first step to its end."""
        state, end = self._begin(), self.now + LONGEST
        random = np.random.default_rng(self.seed)
        while self.now < end:
            decision = decide(plan, state, self._seen(state), self.now)
            yield decision
            match decision:
                case Advance() | SetWeights() | SetMirror():
                    state = self._after(state, decision, plan)
                case Promote() | Conclude() | Abort() | Expire() | Retire() | Unchanged():
                    return
                case Hold():
                    pass
                case _:
                    assert_never(decision)
            self._serve(random, state)

    def _begin(self) -> State:
        return State(
            endpoint="endpoint",
            stage="production",
            stable=self.stable,
            stable_weight=TOTAL_WEIGHT,
            candidates=tuple(_candidate(name, 0) for name in self.arms),
        )

    def _seen(self, state: State) -> Observed:
        return tuple(self._look(each) for each in comparisons(state))

    def _look(self, each: Comparison) -> Observation:
        return self.observe(stable=each.stable, canary=each.canary, since=each.since, now=self.now)

    def _after(self, state: State, decision: Advance | SetWeights | SetMirror, plan: Plan) -> State:
        beside = (*state.candidates, *([state.baseline] if state.baseline else []))
        weights = {state.stable: state.stable_weight, **{one.deployment: one.weight for one in beside}}
        route = Route(
            endpoint=state.endpoint,
            stage=state.stage,
            backends=layout({name: weight for name, weight in weights.items() if weight}, state.stable),
            stable=state.stable,
            salt=state.salt or "none",
        )
        holdback = plan.terms.holdback
        context = Context(state=state, route=route, operation="r1", holdback=holdback, now=self.now)
        return self._moved(state, effect_of(decision, context))

    def _moved(self, state: State, effect: Effect) -> State:
        mirror = effect.mirror
        shares = {mirror.deployment: mirror.share} if mirror else {}
        users = {name: weight for name, weight in effect.weights.items() if weight}
        self._periods.append(_Period(weights=users, mirror=mirror.deployment if mirror else ""))
        names = [name for name in self.arms if users.get(name) or shares.get(name)]
        baseline = effect.notes.get(annotations.BASELINE) or ""
        is_first = state.stable_weight == TOTAL_WEIGHT and users[state.stable] < TOTAL_WEIGHT
        return replace(
            state,
            stable_weight=users[state.stable],
            candidates=tuple(_candidate(name, users.get(name, 0), shares.get(name, 0)) for name in names),
            baseline=_candidate(baseline, users[baseline]) if baseline else None,
            rollout=effect.notes.get(annotations.ROLLOUT) or state.rollout,
            phase=marks.PROGRESSING,
            step=int(effect.notes.get(annotations.STEP) or 0),
            salt=effect.notes.get(annotations.SALT) or state.salt,
            since=self.now,
            began=self.now if is_first else state.began,
        )

    def _arm(self, name: str, pair: tuple[str, str]) -> Arm:
        found = [period for period in self._periods if all(arm in period.weights for arm in pair)]
        if not found:
            return Arm(name=name)
        counts = user_counts(
            [period.users.get(name, 0) for period in found],
            [period.failed.get(name, 0) for period in found],
            shares=[period.weights[name] / TOTAL_WEIGHT for period in found],
        )
        values = self._values.get(name)
        seen = metric(values) if values else Missing(reason="no labels have arrived")
        return Arm(name=name, errors=counts, metrics={"label": seen})

    def _shadowed(self, stable: str, shadow: str) -> Observation:
        period = self._periods[-1]
        if not period.copies:
            return Observation(stable=Arm(name=stable), canary=Arm(name=shadow))
        live = user_counts(period.copies, min(period.copies, round(period.copies * self._rates.get(stable, RATE))))
        copy = user_counts(period.copies, period.copies_failed)
        differing: UserCounts = user_counts(period.copies, period.differing)
        return Observation(
            stable=Arm(name=stable, errors=live), canary=Arm(name=shadow, errors=copy), disagreeing=differing
        )

    def _serve(self, random: np.random.Generator, state: State) -> None:
        self.now += self.tick
        if not self._periods or not state.is_running:
            return
        period = self._periods[-1]
        users = int(random.poisson(self.users_per_hour * self.tick / timedelta(hours=1)))
        dealt = random.multinomial(users, [weight / TOTAL_WEIGHT for weight in period.weights.values()])
        for name, number in zip(period.weights, dealt, strict=True):
            period.users[name] = period.users.get(name, 0) + int(number)
            failed = int(random.binomial(number, self._rate(name, state)))
            period.failed[name] = period.failed.get(name, 0) + failed
            if name in self._means:
                self._values.setdefault(name, []).extend(random.binomial(1, self._means[name], number).tolist())
        for one in state.candidates:
            if one.mirrored:
                copies = int(random.binomial(users, one.mirrored / TOTAL_WEIGHT))
                period.copies += copies
                period.copies_failed += int(random.binomial(copies, self._rates.get(one.deployment, RATE)))
                period.differing += int(random.binomial(copies, self._disagreement))


def _candidate(name: str, weight: int, mirrored: int = 0) -> Candidate:
    return Candidate(deployment=name, model_digest=f"sha256:{name}", weight=weight, mirrored=mirrored)
