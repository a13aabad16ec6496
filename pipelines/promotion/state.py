"""Where a rollout stands, read from its route and deployments: git is the only memory. Pure."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from mlflow_deploy_plugin.manifests.model import Endpoint, Hold
from pipelines.promotion.plan import Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """The version that would take over."""

    deployment: str
    model_digest: str
    weight: int


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """One endpoint's rollout."""

    endpoint: str
    stage: str
    stable: str
    stable_weight: int
    candidate: Candidate | None
    """``None`` where there is no other version than stable, or more than one."""
    others: tuple[str, ...] = ()
    """Versions beside stable, where there is more than one that could be the candidate."""
    rollout: str = ""
    """Operation that began the rollout; empty: none runs."""
    phase: str = ""
    step: int = 0
    since: datetime | None = None
    """When this step began."""
    began: datetime | None = None
    """When the rollout began, by the log of commits."""
    hold: Hold | None = None

    @property
    def is_running(self) -> bool:
        """Whether a rollout has begun and not ended."""
        return bool(self.rollout) or (self.candidate is not None and self.candidate.weight > 0)

    def is_held(self, now: datetime) -> bool:
        """Whether automation must leave the candidate alone."""
        if self.hold is None or self.candidate is None or self.hold.model_digest != self.candidate.model_digest:
            return False
        return self.hold.until is None or now < self.hold.until

    def is_manual(self, plan: Plan) -> bool:
        """Whether somebody set weights that are not those of the step that the annotations name."""
        if self.candidate is None or not self.is_running:
            return False
        if not self.rollout:
            return self.candidate.weight != plan.steps[0].weight  # somebody may take the first step by hand
        expected = plan.steps[self.step].weight if self.step < len(plan.steps) else -1
        return self.candidate.weight != expected


def state_of(endpoint: Endpoint, *, began: datetime | None = None, retired: Collection[str] = ()) -> State:
    """The state that an endpoint's manifests say.

    The candidate is the one version beside stable that has users, else the one that is new: not the version that the
    hold names, unless it is the only one, and never a version that was stable before.

    Args:
        endpoint: as the newest commit says it.
        began: when the rollout began, by the log of commits.
        retired: deployments that were stable before, with the model that they have now.
    """
    route = endpoint.route
    weights = route.weights
    others = [name for name in endpoint.deployments if name != route.stable and name not in retired]
    active = [name for name in others if weights.get(name, 0)]
    fresh = [name for name in others if route.hold is None or name != route.hold.deployment]
    eligible = active or fresh or others
    return State(
        endpoint=route.endpoint,
        stage=route.stage,
        stable=route.stable,
        stable_weight=weights[route.stable],
        candidate=_candidate(endpoint, eligible[0]) if len(eligible) == 1 else None,
        others=tuple(eligible) if len(eligible) > 1 else (),
        rollout=route.rollout,
        phase=route.phase,
        step=route.step,
        since=route.since,
        began=began,
        hold=route.hold,
    )


def _candidate(endpoint: Endpoint, name: str) -> Candidate:
    digest = endpoint.deployments[name].model.digest
    return Candidate(deployment=name, model_digest=digest, weight=endpoint.route.weights.get(name, 0))
