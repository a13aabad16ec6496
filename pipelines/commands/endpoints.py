"""How an endpoint stands at the head of its repository, and how it came there. Reads; changes nothing."""

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from mlflow_deploy_plugin import manifests
from mlflow_deploy_plugin.errors import GitError, ManifestError, NotFoundError
from mlflow_deploy_plugin.manifests.model import Deployment, Endpoint
from mlflow_deploy_plugin.repository.model import Commit
from mlflow_deploy_plugin.targets.base import DeploymentTarget
from pipelines.promotion import marks
from pipelines.promotion.drift.evidence import Automation
from pipelines.promotion.rollback import Rollback, Why, last_good

DAY: Final = timedelta(days=1)
HOUR: Final = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """One endpoint at one commit."""

    commit: str
    """The newest of the repository."""
    changed: str
    """The newest that touched this endpoint: what a decision on it is decided on."""
    endpoint: Endpoint

    @property
    def stable(self) -> Deployment:
        """The control."""
        return self.endpoint.deployments[self.endpoint.route.stable]

    @property
    def canaries(self) -> tuple[Deployment, ...]:
        """Deployments beside stable that have users."""
        route = self.endpoint.route
        return tuple(
            self.endpoint.deployments[name] for name, weight in route.weights.items() if weight and name != route.stable
        )


def read(target: DeploymentTarget, name: str) -> Standing:
    """The endpoint ``name`` as the newest commit says it.

    Raises:
        NotFoundError: there is none; the message names those that are.
        ManifestError: the tree breaks a rule.
    """
    head = target.head()
    stage = manifests.parse_stage(target.files_at(head), target.stage_name)
    if (endpoint := stage.endpoints.get(name)) is None:
        known = ", ".join(stage.endpoints) or "none"
        raise NotFoundError(f"endpoint {name!r} not found in stage {stage.name!r}; known: {known}")
    commits = target.history(name)
    return Standing(commit=head, changed=commits[0].sha if commits else head, endpoint=endpoint)


def past(target: DeploymentTarget, name: str) -> Iterator[tuple[Commit, Endpoint]]:
    """The endpoint at every commit that touched it, newest first; commits that cannot be read are passed over."""
    for commit in target.history(name):
        if (endpoint := at(target, name, commit.sha)) is not None:
            yield commit, endpoint


def at(target: DeploymentTarget, name: str, commit: str) -> Endpoint | None:
    """The endpoint at ``commit``; ``None`` where it was not there, or not well-formed."""
    try:
        return manifests.parse_endpoint(target.files_at(commit), target.stage_name, name)
    except (ManifestError, NotFoundError):  # the agent did not serve that commit either
        return None


def rollout_began(target: DeploymentTarget, standing: Standing) -> datetime | None:
    """Since when every canary has had users with the model it has now, beside the stable of now."""
    began = None
    for commit, endpoint in past(target, standing.endpoint.route.endpoint):
        if not all(_is_served(endpoint, each) for each in (standing.stable, *standing.canaries)):
            break
        began = commit.time
    return began


def retired(target: DeploymentTarget, standing: Standing) -> frozenset[str]:
    """Deployments beside stable that were stable before with the model that they have now."""
    found = standing.endpoint.deployments
    others = {name for name in found if name != standing.stable.name}
    known: set[str] = set()
    for _, endpoint in past(target, standing.endpoint.route.endpoint):
        if known == others:
            break
        name = endpoint.route.stable
        if name in others and endpoint.deployments[name].model.digest == found[name].model.digest:
            known.add(name)
    return frozenset(known)


def stable_since(target: DeploymentTarget, standing: Standing) -> datetime | None:
    """When what is stable now took over from another version; ``None`` where it never did."""
    since = None
    for commit, endpoint in past(target, standing.endpoint.route.endpoint):
        before = endpoint.deployments[endpoint.route.stable]
        if (before.name, before.model.digest) != (standing.stable.name, standing.stable.model.digest):
            return since
        since = commit.time
    return None


def is_rolled_back(target: DeploymentTarget, standing: Standing) -> bool:
    """Whether the endpoint serves what its newest rollback left, so that there is nothing to take back."""
    for commit, endpoint in past(target, standing.endpoint.route.endpoint):
        if commit.trailers is not None and commit.trailers.action == "rollback":
            return _served(endpoint) == _served(standing.endpoint)
    return False


def automation(target: DeploymentTarget, standing: Standing, *, now: datetime) -> Automation:
    """What automation has done to the endpoint: commits that took a version out and carry their evidence."""
    reverts, taken_out = list[datetime](), set[tuple[str, str]]()
    for commit, endpoint in past(target, standing.endpoint.route.endpoint):
        said = commit.trailers
        if said is None or said.action != "rollback" or not said.evidence:
            continue
        reverts.append(commit.time)
        if (hold := endpoint.route.hold) is not None:
            taken_out.add((hold.deployment, hold.model_digest))
    last = max(reverts, default=None)
    return Automation(
        is_frozen=standing.endpoint.route.phase == marks.FROZEN,
        reverts_today=sum(now - when < DAY for when in reverts),
        last_revert=last.isoformat(timespec="seconds") if last else "",
        hours_since=round(max(0.0, (now - last) / HOUR), 4) if last else 0.0,
        put_back=tuple(
            each.name for each in (standing.stable, *standing.canaries) if (each.name, each.model.digest) in taken_out
        ),
    )


def rollback(target: DeploymentTarget, standing: Standing, faulty: Sequence[str], why: Why) -> Rollback:
    """The wish to take ``faulty`` out, back to the newest split and models without them that can still be served.

    Raises:
        NotFoundError: there is no such split.
    """
    route, found = standing.endpoint.route, standing.endpoint.deployments
    history = (endpoint for _, endpoint in past(target, route.endpoint))
    return Rollback(
        stage=route.stage,
        endpoint=route.endpoint,
        digests={name: found[name].model.digest for name in faulty},
        rollout=route.rollout,
        state=standing.changed,
        good=last_good(history, faulty=faulty, present=standing.endpoint),
        why=why,
    )


class Splits:
    """Weights of one endpoint at any commit, each read once."""

    def __init__(self, target: DeploymentTarget, name: str) -> None:
        self._at = functools.cache(lambda commit: at(target, name, commit))

    def __call__(self, commit: str) -> Mapping[str, int] | None:
        """Weights at ``commit``; ``None`` where this repository does not know it."""
        if not commit:
            return None
        try:
            endpoint = self._at(commit)
        except GitError:  # of another repository, or rewritten away
            return None
        return endpoint.route.weights if endpoint else None


def _served(endpoint: Endpoint) -> frozenset[tuple[str, str]]:
    weights = endpoint.route.weights.items()
    return frozenset((name, endpoint.deployments[name].model.digest) for name, weight in weights if weight)


def _is_served(endpoint: Endpoint, deployment: Deployment) -> bool:
    found = endpoint.deployments.get(deployment.name)
    same = found is not None and found.model.digest == deployment.model.digest
    return same and endpoint.route.weights.get(deployment.name, 0) > 0
