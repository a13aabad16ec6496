"""What ``drift --revert`` commits: the last good split where a version is at fault, a freeze where the world moved."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from mlflow_deploy_plugin.manifests.model import Files
from mlflow_deploy_plugin.manifests.trailers import Message
from mlflow_deploy_plugin.targets.base import DeploymentTarget
from pipelines.commands import endpoints
from pipelines.commands.endpoints import Standing
from pipelines.promotion import codec, wording
from pipelines.promotion.drift.decision import Revert, WorldMoved
from pipelines.promotion.drift.record import DriftRecord
from pipelines.promotion.freeze import Freeze
from pipelines.promotion.rollback import GoodSplit, Rollback, last_good

SHORT = 9
"""Characters of a commit in a sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """What became of a wish to commit."""

    state: Literal["applied", "pending", "unchanged", "dry-run"]
    commit: str
    text: str
    """For people: one line."""


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
            wish = _rollback(target, standing, decided)
            done = f"reverted {', '.join(wish.digests)} to {wording.shares(wish.good.weights)}"
            return commit(target, wish, now=now, is_dry=is_dry, done=done)
        case WorldMoved():
            reason = "; ".join(r.text for r in decided.decision.reasons if r.gate == "world")
            freeze = Freeze(
                stage=target.stage_name,
                endpoint=decided.evidence.endpoint,
                state=standing.changed,
                reason=reason,
                evidence=codec.encode(decided),
            )
            return commit(target, freeze, now=now, is_dry=is_dry, done="promotion frozen")
        case _:
            return Applied(state="unchanged", commit=standing.commit, text=_nothing(standing))


def commit(target: DeploymentTarget, wish: Rollback | Freeze, *, now: datetime, is_dry: bool, done: str) -> Applied:
    """Make the commit of ``wish``, or say what it would be.

    Raises:
        ConflictError: the head no longer carries what was judged.
    """
    edit = _edit(wish, now)
    if is_dry:
        before = target.files()
        after, message = edit(before)
        text = "unchanged" if dict(after) == dict(before) else f"would commit: {message.subject}"
        return Applied(state="dry-run", commit="", text=text)
    outcome = target.commit(edit, operation=wish.operation, endpoint=wish.endpoint)
    if outcome.state == "unchanged":
        text = f"unchanged: {done} before, by commit {outcome.commit[:SHORT]}"
        return Applied(state="unchanged", commit=outcome.commit, text=text)
    live = "live" if outcome.state == "applied" else "pushed; whoever applies this repository brings it to life"
    text = f"{done} by commit {outcome.commit[:SHORT]} ({live})"
    return Applied(state=outcome.state, commit=outcome.commit, text=text)


def good_split(target: DeploymentTarget, standing: Standing, faulty: tuple[str, ...]) -> GoodSplit:
    """The newest split without ``faulty`` that can still be served.

    Raises:
        NotFoundError: there is none.
    """
    route = standing.endpoint.route
    return last_good(
        (endpoint.route for _, endpoint in endpoints.past(target, route.endpoint)),
        faulty=faulty,
        known=tuple(standing.endpoint.deployments),
        stable=route.stable,
    )


def _rollback(target: DeploymentTarget, standing: Standing, decided: DriftRecord) -> Rollback:
    decision = decided.decision
    deployments = decision.deployments if isinstance(decision, Revert) else ()
    found = standing.endpoint.deployments
    return Rollback(
        stage=target.stage_name,
        endpoint=decided.evidence.endpoint,
        digests={name: found[name].model.digest for name in deployments},
        rollout=decided.evidence.rollout,
        state=standing.changed,
        good=good_split(target, standing, deployments),
        reason=decision.reasons[0].text,
        evidence=codec.encode(decided),
    )


def _edit(wish: Rollback | Freeze, now: datetime) -> Callable[[Files], tuple[Files, Message]]:
    return lambda files: wish.apply(files, now=now)


def _nothing(standing: Standing) -> str:
    hold = standing.endpoint.route.hold
    if hold and not standing.canaries:
        return f"unchanged: {hold.deployment} was taken out before ({hold.reason})"
    return "unchanged: the verdict asks for no commit"
