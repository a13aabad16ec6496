"""One look at a rollout: everything gathered, one decision made, nothing written yet."""

from argparse import Namespace
from dataclasses import dataclass
from datetime import datetime
from typing import assert_never

from mlflow_deploy_plugin.manifests.tree import rollout_file
from mlflow_deploy_plugin.targets.base import DeploymentTarget
from pipelines.commands import endpoints, room
from pipelines.commands.committing import Applied, Wish, commit
from pipelines.commands.doors import Doors
from pipelines.commands.endpoints import Standing
from pipelines.commands.sources import Sources
from pipelines.promotion import record as records
from pipelines.promotion.decide import findings, settle
from pipelines.promotion.decision import (
    Abort,
    Advance,
    Conclude,
    Decision,
    Expire,
    Findings,
    Hold,
    Promote,
    Retire,
    SetMirror,
    SetWeights,
    Unchanged,
)
from pipelines.promotion.notices import fingerprint_of
from pipelines.promotion.observation import Observed
from pipelines.promotion.plan import Plan
from pipelines.promotion.record import PromotionRecord
from pipelines.promotion.rollback import Why
from pipelines.promotion.rollout import Move
from pipelines.promotion.schema import read_plan
from pipelines.promotion.state import State, comparisons, state_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """What was found, and what follows."""

    now: datetime
    target: DeploymentTarget
    standing: Standing
    plan: Plan | None
    record: PromotionRecord
    decision: Decision
    """What follows."""

    @property
    def state(self) -> State:
        """Where the rollout stands."""
        return self.record.state

    @property
    def takes_back(self) -> bool:
        """Whether what follows takes a version out, which nobody need approve."""
        match self.decision:
            case Abort() | Expire(action="abort"):
                return True
            case SetWeights(dropped=dropped):
                return bool(dropped)
            case Conclude(ends_split=ends_split):
                return ends_split
            case _:
                return False

    def wish(self) -> Wish | None:
        """What the decision asks to be committed; ``None``: nothing.

        Raises:
            NotFoundError: there is no split to go back to.
        """
        match self.decision:
            case Advance() | SetWeights() | SetMirror() | Promote() | Conclude() | Retire():
                return self._move(self.decision)
            case Expire(action="promote", deployment=name, reason=reason, gates=gates):
                return self._move(Promote(deployment=name, reason=reason, gates=gates))
            case Expire(action="abort", deployment=name):
                return self._rollback((name,), self.decision.reason)
            case Abort(deployments=names):
                return self._rollback(names, self.decision.reason)
            case Expire() | Hold() | Unchanged():
                return None
            case _:
                assert_never(self.decision)

    def _move(self, decision: Advance | SetWeights | SetMirror | Promote | Conclude | Retire) -> Wish:
        return Move(
            state=self.state,
            decision=decision,
            decided_on=self.standing.changed,
            holdback=self.plan.terms.holdback if self.plan else 0,
            evidence=records.encode(self.record),
            fingerprint=fingerprint_of(self.record),
        )

    def _rollback(self, names: tuple[str, ...], reason: str) -> Wish:
        why = Why(reason=reason, evidence=records.encode(self.record), fingerprint=fingerprint_of(self.record))
        return endpoints.rollback(self.standing, names, why)


def look(options: Namespace, doors: Doors) -> Tick:
    """Gather and decide; nothing is written.

    Raises:
        NotFoundError: no such endpoint.
        ManifestError: the tree or the plan breaks a rule.
        EventStoreError: the event store cannot be read.
    """
    now = doors.now()
    target = doors.open_target(options.target)
    standing = endpoints.read(target, options.endpoint)
    path = rollout_file(target.stage_name, options.endpoint)
    text = target.files_at(standing.commit, path).get(path, "")
    plan = read_plan(text, path=path) if text else None
    state = state_of(
        standing.endpoint,
        now=now,
        began=endpoints.rollout_began(standing),
        retired=endpoints.retired(standing),
        word=endpoints.word(standing, override=getattr(options, "override", "")),
    )
    wanted = tuple(comparisons(state))
    seen: Observed = ()
    if plan and wanted:
        sources = Sources(options=options, doors=doors, target=target, standing=standing, state=state, plan=plan)
        seen = sources.observe(wanted, now)
    found, decision = _decide(plan, state, seen, now)
    record = PromotionRecord(
        plan=records.plan_text(text), state=state, findings=found, now=now, decision=records.without_gates(decision)
    )
    return Tick(now=now, target=target, standing=standing, plan=plan, record=record, decision=decision)


def apply(tick: Tick, *, is_dry: bool) -> Applied:
    """Commit what the tick asks for.

    Raises:
        ConflictError: somebody changed the endpoint meanwhile.
        ConfigError: what it starts does not fit on this machine, and nobody overrides that.
        GitError, RetryLaterError, AgentError: it could not be committed or brought to life.
    """
    wish = tick.wish()
    if wish is None:
        return Applied(state="unchanged", commit=tick.standing.commit, text=f"unchanged: {tick.decision.reason}")
    if not (tick.takes_back or tick.state.word.override):
        room.require(tick.target, wish, lambda: tick.target.files_at(tick.standing.commit), now=tick.now)
    done = f"{tick.decision.kind.lower()}: {tick.decision.reason}"
    return commit(tick.target, wish, now=tick.now, is_dry=is_dry, done=done)


def _decide(plan: Plan | None, state: State, seen: Observed, now: datetime) -> tuple[Findings, Decision]:
    if plan is None:
        reason = "rollout.yaml has no plan, so automation promotes nothing; `python -m pipelines schema` says how"
        return Findings(), Unchanged(reason=reason)
    found = findings(plan, state, seen)
    return found, settle(plan, state, found, now)
