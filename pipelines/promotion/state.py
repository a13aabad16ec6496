"""Where a rollout stands, read from its route and deployments: git is the only memory. Pure."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime

from mlflow_deploy_plugin.manifests.model import Endpoint, Hold, standing_hold
from pipelines.promotion import marks


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A version beside stable."""

    deployment: str
    model_digest: str
    weight: int
    mirrored: int = 0
    """Share of the requests that are copied to it in the shadow, of 1000."""
    processes: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """What people have said about this rollout; from the log of commits, and from whoever runs this tick."""

    author: str = ""
    """Who brought the version in."""
    approvers: tuple[str, ...] = ()
    """Who has let the present step go on."""
    override: str = ""
    """Why a hold or a freeze window does not count this time; empty: they count."""


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """One endpoint's rollout."""

    endpoint: str
    stage: str
    stable: str
    stable_weight: int
    candidates: tuple[Candidate, ...] = ()
    """Versions that could take over: those with users or in the shadow, else those that are new."""
    baseline: Candidate | None = None
    """A fresh copy of stable, which the canary is compared with for as long as its rollout runs."""
    holdback: Candidate | None = None
    """The version before stable, where it kept users after the promotion: the control of what comes later."""
    idle: tuple[Candidate, ...] = ()
    """Versions that were stable before and have no users."""
    waiting: tuple[Candidate, ...] = ()
    """Versions without users that are no candidates now: they are held, or others are in a rollout."""
    rollout: str = ""
    """Operation that began the rollout; empty: none runs."""
    phase: str = ""
    step: int = 0
    salt: str = ""
    since: datetime | None = None
    """When this step began."""
    began: datetime | None = None
    """When the rollout began, by the log of commits."""
    holds: tuple[Hold, ...] = ()
    word: Word = Word()

    @property
    def candidate(self) -> Candidate | None:
        """The only candidate; ``None`` where there is no other version than stable, or more than one."""
        return self.candidates[0] if len(self.candidates) == 1 else None

    @property
    def is_running(self) -> bool:
        """Whether a rollout has begun and not ended."""
        return bool(self.rollout) or any(one.weight or one.mirrored for one in self.candidates)

    @property
    def is_watching(self) -> bool:
        """Whether the version that took over is still compared with the one before it."""
        return self.holdback is not None and self.phase == marks.SUCCESSFUL and not self.is_running

    def hold_on(self, candidate: Candidate, now: datetime) -> Hold | None:
        """Why automation must leave ``candidate`` alone; ``None``: it need not."""
        return standing_hold(self.holds, candidate.model_digest, now)

    def find(self, deployment: str) -> Candidate | None:
        """The candidate of that name."""
        return next((one for one in self.candidates if one.deployment == deployment), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two versions that are to be compared, and since when."""

    stable: str
    canary: str
    since: datetime
    is_shadow: bool = False


def comparisons(state: State) -> Iterator[Comparison]:
    """What must be observed before anything is decided on ``state``."""
    if (since := state.began or state.since) is None:
        return
    if state.is_watching and state.holdback is not None:
        yield Comparison(stable=state.holdback.deployment, canary=state.stable, since=since)
        return
    control = state.stable
    if state.baseline is not None and state.baseline.weight:
        control = state.baseline.deployment
        yield Comparison(stable=state.stable, canary=control, since=since)
    for one in state.candidates:
        if one.mirrored or one.weight:
            yield Comparison(stable=control, canary=one.deployment, since=since, is_shadow=bool(one.mirrored))


def state_of(
    endpoint: Endpoint,
    *,
    now: datetime,
    began: datetime | None = None,
    retired: Collection[str] = (),
    word: Word = Word(),
) -> State:
    """The state that an endpoint's manifests say.

    Candidates are the versions beside stable that have users or stand in the shadow, else those that are new: not the
    versions that are held, unless there are no others, and never a version that was stable before.

    Args:
        endpoint: as the newest commit says it.
        now: holds whose time is over by then do not count.
        began: when the rollout began, by the log of commits.
        retired: deployments that were stable before, with the model that they have now.
        word: what people have said.
    """
    route = endpoint.route
    known = {name: _candidate(endpoint, name) for name in endpoint.deployments if name != route.stable}
    baseline = known.pop(route.baseline, None)
    beside = tuple(known.values())
    others = [one for one in beside if one.deployment not in retired]
    before = [one for one in beside if one.deployment in retired]
    active = [one for one in others if one.weight or one.mirrored]
    fresh = [one for one in others if standing_hold(route.holds, one.model_digest, now) is None]
    candidates = tuple(active or fresh or others)
    return State(
        endpoint=route.endpoint,
        stage=route.stage,
        stable=route.stable,
        stable_weight=route.weights[route.stable],
        candidates=candidates,
        baseline=baseline,
        holdback=next((one for one in before if one.weight), None),
        idle=tuple(one for one in before if not one.weight),
        waiting=tuple(one for one in others if one not in candidates),
        rollout=route.rollout,
        phase=route.phase,
        step=route.step,
        salt=route.salt,
        since=route.since,
        began=began,
        holds=route.holds,
        word=word,
    )


def _candidate(endpoint: Endpoint, name: str) -> Candidate:
    route, deployment = endpoint.route, endpoint.deployments[name]
    return Candidate(
        deployment=name,
        model_digest=deployment.model.digest,
        weight=route.weights.get(name, 0),
        mirrored=route.mirror.share if route.mirror and route.mirror.deployment == name else 0,
        processes=deployment.replicas * deployment.workers,
    )
