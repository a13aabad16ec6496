"""One look at a rollout: everything gathered, one decision made, nothing written yet."""

from argparse import Namespace
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from mlflow_deploy_plugin.manifests.tree import rollout_file
from mlflow_deploy_plugin.targets.base import DeploymentTarget
from pipelines.commands import endpoints, sources
from pipelines.commands.committing import Applied, Wish, commit
from pipelines.commands.doors import Doors
from pipelines.commands.endpoints import Standing
from pipelines.promotion import codec
from pipelines.promotion.decide import findings, settle
from pipelines.promotion.decision import Abort, Advance, Decision, Expire, Findings, Promote, Unchanged
from pipelines.promotion.observation import Observation
from pipelines.promotion.plan import Plan
from pipelines.promotion.record import PromotionRecord
from pipelines.promotion.rollback import Why
from pipelines.promotion.rollout import Move
from pipelines.promotion.schema import read_plan
from pipelines.promotion.state import State, state_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """What was found, and what follows."""

    now: datetime
    target: DeploymentTarget
    standing: Standing
    plan: Plan | None
    record: PromotionRecord

    @property
    def state(self) -> State:
        """Where the rollout stands."""
        return self.record.state

    @property
    def decision(self) -> Decision:
        """What follows."""
        return self.record.decision

    @property
    def takes_back(self) -> bool:
        """Whether what follows takes a version out, which nobody need approve."""
        return isinstance(self.decision, Abort) or (
            isinstance(self.decision, Expire) and self.decision.action == "abort"
        )

    def wish(self) -> Wish | None:
        """What the decision asks to be committed; ``None``: nothing.

        Raises:
            NotFoundError: there is no split to go back to.
        """
        match self.decision:
            case Advance() | Promote():
                return self._move(self.decision)
            case Expire(action="promote", reason=reason, gates=gates):
                return self._move(Promote(reason=reason, gates=gates))
            case Abort() | Expire(action="abort"):
                return self._rollback(self.decision.reason)
            case _:
                return None

    def _move(self, decision: Advance | Promote) -> Wish | None:
        if self.state.candidate is None or self.plan is None:
            return None
        return Move(
            state=self.state,
            candidate=self.state.candidate,
            decision=decision,
            decided_on=self.standing.changed,
            holdback=self.plan.holdback,
            evidence=codec.encode(self.record),
        )

    def _rollback(self, reason: str) -> Wish | None:
        if self.state.candidate is None:
            return None
        why = Why(reason=reason, evidence=codec.encode(self.record))
        return endpoints.rollback(self.target, self.standing, (self.state.candidate.deployment,), why)


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
    text = target.files_at(standing.commit).get(path, "")
    plan = read_plan(text, path=path) if text else None
    began = endpoints.rollout_began(target, standing) if standing.canaries else None
    state = state_of(standing.endpoint, began=began, retired=endpoints.retired(target, standing))
    found, decision = _decide(plan, state, lambda: sources.observe(options, doors, target, state, now), now)
    record = PromotionRecord(plan=text, state=state, findings=found, now=now, decision=decision)
    return Tick(now=now, target=target, standing=standing, plan=plan, record=record)


def apply(tick: Tick, *, is_dry: bool) -> Applied:
    """Commit what the tick asks for.

    Raises:
        ConflictError: somebody changed the endpoint meanwhile.
        GitError, RetryLaterError, AgentError: it could not be committed or brought to life.
    """
    wish = tick.wish()
    if wish is None:
        return Applied(state="unchanged", commit=tick.standing.commit, text=f"unchanged: {tick.decision.reason}")
    done = f"{tick.decision.kind.lower()}: {tick.decision.reason}"
    return commit(tick.target, wish, now=tick.now, is_dry=is_dry, done=done)


def _decide(
    plan: Plan | None, state: State, observe: Callable[[], Observation], now: datetime
) -> tuple[Findings, Decision]:
    if plan is None:
        reason = "rollout.yaml has no plan, so automation promotes nothing; `python -m pipelines schema` says how"
        return Findings(), Unchanged(reason=reason)
    found = findings(plan, state, observe()) if state.is_running else Findings()
    return found, settle(plan, state, found, now)
