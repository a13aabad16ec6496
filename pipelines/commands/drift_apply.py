"""What ``drift --revert`` commits: the last good split where a version is at fault, else a freeze or nothing."""

from datetime import datetime
from typing import Final

from mlflow_deploy_plugin.targets.base import DeploymentTarget
from pipelines.commands import endpoints
from pipelines.commands.committing import Applied, commit
from pipelines.commands.endpoints import Standing
from pipelines.promotion import codec, marks, wording
from pipelines.promotion.drift.decision import Halted, Healthy, HoldRouting, Revert, WorldMoved
from pipelines.promotion.drift.record import DriftRecord
from pipelines.promotion.freeze import Freeze
from pipelines.promotion.notices import fingerprint_of
from pipelines.promotion.rollback import Rollback, Why

FREEZES: Final = {
    "WorldMoved": ("world", "the world moved"),
    "HoldRouting": ("inputs", "the canary sees other inputs than stable"),
    "Halted": ("limit", "automation has reverted as often as it may"),
}
"""Which gate's reasons a freeze is committed with, and the end of its subject."""


def apply(
    target: DeploymentTarget, standing: Standing, decided: DriftRecord, *, now: datetime, is_dry: bool
) -> Applied:
    """Commit what the decision asks for; the same decision on the same state is committed once.

    Raises:
        ConflictError: the head no longer carries what was judged.
        GitError, RetryLaterError, AgentError: it could not be committed or brought to life.
    """
    match decided.decision:
        case Revert():
            wish = _rollback(standing, decided, decided.decision)
            done = f"reverted {', '.join(wish.digests)} to {wording.shares(wish.good.weights)}"
            return commit(target, wish, now=now, is_dry=is_dry, done=done)
        case WorldMoved() | Halted() | HoldRouting():
            if standing.endpoint.route.phase == marks.APPROVED:
                text = "unchanged: a person let this step go on, and a freeze would take that back"
                return Applied(state="unchanged", commit=standing.commit, text=text)
            freeze = _freeze(target, standing, decided, decided.decision)
            return commit(target, freeze, now=now, is_dry=is_dry, done="promotion frozen")
        case _:
            is_calm = isinstance(decided.decision, Healthy)
            return Applied(state="unchanged", commit=standing.commit, text=_nothing(standing, is_calm=is_calm))


def _freeze(
    target: DeploymentTarget, standing: Standing, decided: DriftRecord, decision: WorldMoved | Halted | HoldRouting
) -> Freeze:
    gate, why = FREEZES[decision.verdict]
    return Freeze(
        why=why,
        stage=target.stage_name,
        endpoint=decided.evidence.endpoint,
        state=standing.changed,
        reason="; ".join(reason.text for reason in decision.reasons if reason.gate == gate),
        evidence=codec.encode(decided),
        fingerprint=fingerprint_of(decided),
    )


def _rollback(standing: Standing, decided: DriftRecord, decision: Revert) -> Rollback:
    text = decision.reasons[0].text
    why = Why(reason=text, evidence=codec.encode(decided), fingerprint=fingerprint_of(decided))
    return endpoints.rollback(standing, decision.deployments, why)


def _nothing(standing: Standing, *, is_calm: bool) -> str:
    hold = standing.endpoint.route.hold
    if is_calm and standing.endpoint.route.phase == marks.FROZEN:
        return "unchanged: things are calm again; `python -m pipelines approve` ends the freeze"
    if hold and not standing.canaries:
        return f"unchanged: {hold.deployment} was taken out before ({hold.reason})"
    return "unchanged: the verdict asks for no commit"
