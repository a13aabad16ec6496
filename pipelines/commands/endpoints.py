"""How an endpoint stands at the head of its repository, and how it came there. Reads; changes nothing."""

import functools
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

from mlflow_deploy_plugin import manifests
from mlflow_deploy_plugin.errors import GitError, ManifestError, NotFoundError
from mlflow_deploy_plugin.manifests.model import Deployment, Endpoint
from mlflow_deploy_plugin.manifests.tree import endpoint_folder, rollout_file, stage_folder, stage_kustomization
from mlflow_deploy_plugin.repository.model import Commit
from mlflow_deploy_plugin.targets.base import DeploymentTarget
from pipelines.commands import people
from pipelines.promotion import marks
from pipelines.promotion.drift.evidence import Automation
from pipelines.promotion.plan import Plan
from pipelines.promotion.rollback import Rollback, Why, last_good
from pipelines.promotion.schema import read_plan
from pipelines.promotion.state import Word

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
    past: "Past" = field(compare=False)
    """The endpoint at every commit that touched it."""
    holdback: str = ""
    """The version before stable, where it kept users after the promotion and nobody else has any; empty: none."""

    @property
    def stable(self) -> Deployment:
        """The control: stable, or what it took over from as long as that keeps a holdback."""
        return self.endpoint.deployments[self.holdback or self.endpoint.route.stable]

    @property
    def canaries(self) -> tuple[Deployment, ...]:
        """Deployments beside the control that have users; a baseline is no canary."""
        weights, others = self.endpoint.route.weights, {self.stable.name, self.endpoint.route.baseline}
        return tuple(
            self.endpoint.deployments[name] for name, weight in weights.items() if weight and name not in others
        )

    @property
    def baseline(self) -> Deployment | None:
        """The fresh copy of stable that a canary is compared with."""
        return self.endpoint.deployments.get(self.endpoint.route.baseline)

    @property
    def shadow(self) -> str:
        """The deployment that is sent copies; empty: none."""
        mirror = self.endpoint.route.mirror
        return mirror.deployment if mirror else ""


def read(target: DeploymentTarget, name: str) -> Standing:
    """The endpoint ``name`` as the newest commit says it.

    Raises:
        NotFoundError: there is none; the message names those that are.
        ManifestError: the tree breaks a rule.
    """
    head = target.head()
    listing, folder = stage_kustomization(target.stage_name), endpoint_folder(target.stage_name, name)
    files = {**target.files_at(head, listing), **target.files_at(head, folder)}
    if (endpoint := manifests.find_endpoint(files, target.stage_name, name)) is None:
        whole = target.files_at(head, stage_folder(target.stage_name))
        known = ", ".join(manifests.deployments_by_endpoint(whole, target.stage_name)) or "none"
        raise NotFoundError(f"endpoint {name!r} not found in stage {target.stage_name!r}; known: {known}")
    commits = target.history(name, at=head)
    standing = Standing(
        commit=head,
        changed=commits[0].sha if commits else head,
        endpoint=endpoint,
        past=Past(target, name, commits),
    )
    return replace(standing, holdback=_holdback(standing))


def _holdback(standing: Standing) -> str:
    """Who was left as a control when the version that is stable now was promoted."""
    if standing.endpoint.route.phase != marks.SUCCESSFUL or len(standing.canaries) != 1:
        return ""
    (beside,) = standing.canaries
    return beside.name if beside.name in retired(standing) else ""


def plan_of(target: DeploymentTarget, standing: Standing) -> Plan | None:
    """The plan of the endpoint; ``None`` where it has none.

    Raises:
        ManifestError: it breaks a rule.
    """
    path = rollout_file(target.stage_name, standing.endpoint.route.endpoint)
    text = target.files_at(standing.commit, path).get(path, "")
    return read_plan(text, path=path) if text else None


def word(standing: Standing, *, override: str = "") -> Word:
    """What people have said about the versions beside stable, by the log of commits.

    An approval is for exactly the state that it was given on: any later commit that touches the endpoint voids it.
    """
    approvers: list[str] = []
    for commit in standing.past.commits:
        if commit.trailers is None or commit.trailers.action != "approve":
            break
        approvers.append(people.who(commit.trailers.by or commit.email))
    return Word(author=_author(standing), approvers=tuple(dict.fromkeys(approvers)), override=override)


def _author(standing: Standing) -> str:
    """Who brought the newest version beside stable in, with the model that it has now."""
    found, author = standing.endpoint.deployments, ""
    route = standing.endpoint.route
    beside = [name for name in found if name not in {route.stable, route.baseline}]
    if not beside:
        return ""
    newest = beside[-1]
    for commit, endpoint in standing.past:
        then = endpoint.deployments.get(newest)
        if then is None or then.model.digest != found[newest].model.digest:
            break
        author = people.who((commit.trailers.by if commit.trailers else "") or commit.email)
    return author


class Past:
    """An endpoint at every commit that touched it, newest first, each read once.

    Commits that cannot be read are passed over.
    """

    def __init__(self, target: DeploymentTarget, name: str, commits: Sequence[Commit]) -> None:
        self.commits: Final = tuple(commits)
        self._at = functools.cache(lambda commit: at(target, name, commit))

    def __iter__(self) -> Iterator[tuple[Commit, Endpoint]]:
        for commit in self.commits:
            if (endpoint := self._at(commit.sha)) is not None:
                yield commit, endpoint


def at(target: DeploymentTarget, name: str, commit: str) -> Endpoint | None:
    """The endpoint at ``commit``; ``None`` where it was not there, or not well-formed."""
    try:
        files = target.files_at(commit, endpoint_folder(target.stage_name, name))
        return manifests.parse_endpoint(files, target.stage_name, name)
    except (ManifestError, NotFoundError):  # the agent did not serve that commit either
        return None


def rollout_began(standing: Standing) -> datetime | None:
    """Since when the versions that are compared have stood beside the control of now as they do, with their models.

    Canaries: since every one of them has had users; a version that took over: since it is stable beside its holdback;
    one in the shadow: since it is sent copies. ``None`` where nobody is compared.
    """
    if not standing.canaries and not standing.shadow:
        return None
    began = None
    for commit, endpoint in standing.past:
        if not _stood(endpoint, standing):
            break
        began = commit.time
    return began


def _stood(endpoint: Endpoint, standing: Standing) -> bool:
    """Whether the comparison of ``standing`` could be made at an earlier ``endpoint`` too."""
    route = endpoint.route
    compared = (standing.stable, *standing.canaries, *([standing.baseline] if standing.baseline else []))
    if not all(_is_served(endpoint, each) for each in compared):
        return False
    if standing.holdback:
        return route.stable == standing.endpoint.route.stable
    if standing.canaries:
        return True
    shadow, now = endpoint.deployments.get(standing.shadow), standing.endpoint.deployments[standing.shadow]
    is_shadow = route.mirror is not None and route.mirror.deployment == standing.shadow
    return is_shadow and shadow is not None and shadow.model.digest == now.model.digest


def retired(standing: Standing) -> frozenset[str]:
    """Deployments beside stable that were stable before with the model that they have now."""
    found = standing.endpoint.deployments
    others = {name for name in found if name != standing.endpoint.route.stable}
    known: set[str] = set()
    for _, endpoint in standing.past:
        if known == others:
            break
        name = endpoint.route.stable
        if name in others and endpoint.deployments[name].model.digest == found[name].model.digest:
            known.add(name)
    return frozenset(known)


def stable_since(standing: Standing) -> datetime | None:
    """When what is stable now took over from another version; ``None`` where it never did."""
    since, now = None, standing.endpoint.deployments[standing.endpoint.route.stable]
    for commit, endpoint in standing.past:
        before = endpoint.deployments[endpoint.route.stable]
        if (before.name, before.model.digest) != (now.name, now.model.digest):
            return since
        since = commit.time
    return None


def replaced_at(standing: Standing, name: str) -> datetime | None:
    """When the deployment ``name`` got the model that it has now; ``None`` where no other one had that name before."""
    since, digest = None, standing.endpoint.deployments[name].model.digest
    for commit, endpoint in standing.past:
        if name not in endpoint.deployments:
            continue
        if endpoint.deployments[name].model.digest != digest:
            return since
        since = commit.time
    return None


def is_rolled_back(standing: Standing) -> bool:
    """Whether the endpoint serves what its newest rollback left, so that there is nothing to take back."""
    for commit, endpoint in standing.past:
        if commit.trailers is not None and commit.trailers.action == "rollback":
            return _served(endpoint) == _served(standing.endpoint)
    return False


def automation(standing: Standing, *, now: datetime) -> Automation:
    """What automation has done to the endpoint: commits that took a version out and carry their evidence."""
    reverts, taken_out = list[datetime](), set[tuple[str, str]]()
    earlier = itertools.chain((endpoint.route.holds for _, endpoint in itertools.islice(standing.past, 1, None)), [()])
    for (commit, endpoint), before in zip(standing.past, earlier, strict=False):
        said = commit.trailers
        if said is None or said.action != "rollback" or not said.evidence:
            continue
        reverts.append(commit.time)
        taken_out |= {(hold.deployment, hold.model_digest) for hold in endpoint.route.holds if hold not in before}
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


def rollback(standing: Standing, faulty: Sequence[str], why: Why) -> Rollback:
    """The wish to take ``faulty`` out, back to the newest split and models without them that can still be served.

    Raises:
        NotFoundError: there is no such split.
    """
    route, found = standing.endpoint.route, standing.endpoint.deployments
    history = (endpoint for _, endpoint in standing.past)
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
    """Weights of one endpoint at any commit, each read once; of those deployments alone that had their model of now.

    A model that was replaced under its name goes on answering for as long as the next one takes to start.
    """

    def __init__(self, target: DeploymentTarget, standing: Standing) -> None:
        name = standing.endpoint.route.endpoint
        self._models = {each.name: each.model.digest for each in standing.endpoint.deployments.values()}
        self._at = functools.cache(lambda commit: at(target, name, commit))

    def __call__(self, commit: str) -> Mapping[str, int] | None:
        """Weights at ``commit``; ``None`` where this repository does not know it."""
        if not commit:
            return None
        try:
            endpoint = self._at(commit)
        except GitError:  # of another repository, or rewritten away
            return None
        if endpoint is None:
            return None
        then = endpoint.deployments
        return {
            name: weight
            for name, weight in endpoint.route.weights.items()
            if then[name].model.digest == self._models.get(name)
        }


def _served(endpoint: Endpoint) -> frozenset[tuple[str, str]]:
    weights = endpoint.route.weights.items()
    return frozenset((name, endpoint.deployments[name].model.digest) for name, weight in weights if weight)


def _is_served(endpoint: Endpoint, deployment: Deployment) -> bool:
    found = endpoint.deployments.get(deployment.name)
    same = found is not None and found.model.digest == deployment.model.digest
    return same and endpoint.route.weights.get(deployment.name, 0) > 0
