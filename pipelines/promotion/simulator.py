"""Users without machines: a source of observations that a test, or a curious person, steers. Ships; seeded; pure.

    sim = TrafficSimulator(seed=1)
    sim.error_rate(stable=0.01, canary=0.05)
    sim.run_until_settled(plan)          # a three-day canary in milliseconds

Users arrive evenly, each is dealt to an arm by the split of the moment, and fails once or never.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Final

import numpy as np

from mlflow_deploy_plugin.spec.names import TOTAL_WEIGHT
from pipelines.analysis.arms import Arm, user_counts
from pipelines.promotion import marks
from pipelines.promotion.decide import decide
from pipelines.promotion.decision import Abort, Advance, Decision, Expire, Hold, Promote, Unchanged
from pipelines.promotion.observation import Observation, nothing
from pipelines.promotion.plan import Plan
from pipelines.promotion.state import Candidate, State

START: Final = datetime(2026, 1, 1, tzinfo=UTC)
LONGEST: Final = timedelta(days=60)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Period:
    """Users of one constant split."""

    share: float
    stable: int = 0
    canary: int = 0
    stable_failed: int = 0
    canary_failed: int = 0


@dataclass(slots=True, kw_only=True)
class TrafficSimulator:
    """An endpoint with users; satisfies :class:`~.observation.Observer`."""

    seed: int
    users_per_hour: int = 500
    stable: str = "v3"
    canary: str = "v4"
    tick: timedelta = timedelta(minutes=10)
    now: datetime = START
    _rates: dict[str, float] = field(default_factory=lambda: {"stable": 0.01, "canary": 0.01})
    _periods: list[_Period] = field(default_factory=list)

    def error_rate(self, *, stable: float, canary: float) -> None:
        """From now on this share of the users of each arm fails."""
        self._rates = {"stable": stable, "canary": canary}

    def observe(self, *, stable: str, canary: str, since: datetime, now: datetime) -> Observation:  # noqa: ARG002
        """Everything since the rollout began: the simulator forgets what was before."""
        if not self._periods:
            return nothing(stable, canary)
        found = self._periods
        share = np.array([period.share for period in found])
        ours = user_counts([p.canary for p in found], [p.canary_failed for p in found], shares=share)
        theirs = user_counts([p.stable for p in found], [p.stable_failed for p in found], shares=1 - share)
        return Observation(stable=Arm(name=stable, errors=theirs), canary=Arm(name=canary, errors=ours))

    def run_until_settled(self, plan: Plan) -> Decision:
        """Tick until the rollout ends; the decision that ended it, or the last one after two months."""
        return list(self.decisions(plan))[-1]

    def decisions(self, plan: Plan) -> Iterator[Decision]:
        """Every decision of a rollout from its first step to its end."""
        state = State(
            endpoint="endpoint",
            stage="production",
            stable=self.stable,
            stable_weight=TOTAL_WEIGHT,
            candidate=Candidate(deployment=self.canary, model_digest="sha256:4", weight=0),
        )
        began, end = self.now, self.now + LONGEST
        random = np.random.default_rng(self.seed)
        while self.now < end:
            seen = self.observe(stable=self.stable, canary=self.canary, since=began, now=self.now)
            decision = decide(plan, state, seen, self.now)
            yield decision
            match decision:
                case Promote() | Abort() | Expire() | Unchanged():
                    return
                case Advance():
                    state = self._stepped(state, decision, began)
                case Hold():
                    pass
            self._serve(random, state)

    def _stepped(self, state: State, decision: Advance, began: datetime) -> State:
        self._periods.append(_Period(share=decision.weight / TOTAL_WEIGHT))
        candidate = Candidate(deployment=self.canary, model_digest="sha256:4", weight=decision.weight)
        return replace(
            state,
            candidate=candidate,
            stable_weight=TOTAL_WEIGHT - decision.weight,
            rollout="r1",
            phase=marks.PROGRESSING,
            step=decision.step,
            since=self.now,
            began=began,
        )

    def _serve(self, random: np.random.Generator, state: State) -> None:
        self.now += self.tick
        if not self._periods or not state.is_running:
            return
        period = self._periods[-1]
        users = int(random.poisson(self.users_per_hour * self.tick / timedelta(hours=1)))
        ours = int(random.binomial(users, period.share))
        self._periods[-1] = replace(
            period,
            canary=period.canary + ours,
            stable=period.stable + users - ours,
            canary_failed=period.canary_failed + int(random.binomial(ours, self._rates["canary"])),
            stable_failed=period.stable_failed + int(random.binomial(users - ours, self._rates["stable"])),
        )
