"""Back to the endpoint's last good split and models, as a new commit: never a blind ``git revert``. Pure.

Rules:
    * the last good split is the newest in which none of the faulty versions had users; where there is none that can
      still be served, stable takes everything;
    * a model that was replaced in place (`mlflow deployments update -m`) comes back with what it ran by: image,
      variables and resources. How many replicas there are is of today, and stays;
    * a deployment that was removed since comes back whole;
    * a faulty version in the shadow is sent no more copies;
    * the baseline of a rollout goes with it: what it served counts as stable's;
    * a version that was rolled back before is never what a rollback goes back to;
    * what others changed since (other endpoints, other deployments, comments) stays;
    * every version that was at fault gets a hold, so that automation cannot bring it back;
    * decided on one state, applied to no other: where the head serves another version under that name, or another
      rollout, nothing is touched and the refusal says so. Where the version has no users any more, nothing is to do.
"""

import hashlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from mlflow_deploy_plugin import manifests
from mlflow_deploy_plugin.errors import ConflictError, NotFoundError
from mlflow_deploy_plugin.manifests.model import Deployment, Endpoint, Files, Hold, Route
from mlflow_deploy_plugin.manifests.trailers import Message, Trailers
from mlflow_deploy_plugin.manifests.tree import evidence_file
from mlflow_deploy_plugin.spec import annotations
from mlflow_deploy_plugin.spec.names import TOTAL_WEIGHT
from pipelines.promotion import marks, wording
from pipelines.promotion.marks import MAX_REASON


@dataclass(frozen=True, slots=True, kw_only=True)
class GoodSplit:
    """A split to go back to, and the models that served it."""

    weights: Mapping[str, int]
    stable: str
    models: Mapping[str, Deployment] = field(default_factory=dict)
    """Deployments whose model was replaced since, or that were removed, as they were."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Why:
    """What the commit and the hold say."""

    reason: str
    evidence: str = ""
    """JSON text to commit beside it; empty: a person's word is the evidence."""
    until: datetime | None = None
    """When the hold ends by itself; ``None``: when a person lifts it."""
    fingerprint: str = ""
    """Of the notice that people get."""
    cause: str = ""
    """Who asked, where it asks again and again: an alert and when it began. Acted on once, whatever came since."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollback:
    """The wish to take versions out of a split, and what it was decided on."""

    stage: str
    endpoint: str
    digests: Mapping[str, str]
    """Model digest of each faulty deployment, as it was judged."""
    rollout: str
    state: str
    """Commit that last changed the endpoint when this was decided: the same wish on the same state is one act."""
    good: GoodSplit
    why: Why

    @property
    def operation(self) -> str:
        """Name of this act, the same however often it is tried."""
        decided_on = self.why.cause or f"{sorted(self.digests.items())}\n{self.rollout}\n{self.state}"
        said = f"rollback\n{self.stage}\n{self.endpoint}\n{decided_on}"
        return hashlib.sha256(said.encode()).hexdigest()[:16]

    def apply(self, files: Files, *, now: datetime) -> tuple[Files, Message]:
        """The tree with the good split restored, and its message; the same tree where that is done already.

        Raises:
            ConflictError: the head does not carry what was judged.
            NotFoundError: the endpoint, or what it would go back to, is gone.
        """
        endpoint = _require(files, self.stage, self.endpoint)
        before = endpoint.route.weights
        message = self._message(endpoint)
        shadow = endpoint.route.mirror.deployment if endpoint.route.mirror else ""
        served = [name for name in self.digests if before.get(name, 0) or name == shadow]
        if not any(not self._is_restored(endpoint, name) for name in served):
            return files, message
        self._require_same(endpoint)
        changed = manifests.set_mirror(files, self.stage, self.endpoint, None) if shadow in self.digests else files
        for name in self.good.models.keys() - endpoint.deployments.keys():
            changed = manifests.add_deployment(changed, self.good.models[name], weight=0)
        changed = manifests.set_split(
            changed, self.stage, self.endpoint, self.good.weights, annotations=self._marks(endpoint.route, now)
        )
        for name, good in self.good.models.items():
            present = endpoint.deployments.get(name, good)
            changed = manifests.replace_deployment(changed, _with_model(present, good))
        if baseline := endpoint.route.baseline:
            changed = manifests.remove_deployment(changed, self.stage, baseline)
        if self.why.evidence:
            changed = manifests.add_evidence(changed, self.endpoint, self.operation, self.why.evidence)
        return changed, message

    def _is_restored(self, endpoint: Endpoint, name: str) -> bool:
        good = self.good.models.get(name)
        found = endpoint.deployments.get(name)
        return good is not None and found is not None and found.model.digest == good.model.digest

    def _marks(self, route: Route, now: datetime) -> marks.Marks:
        reason, until = self.why.reason[:MAX_REASON], self.why.until
        fresh = [
            Hold(deployment=name, model_digest=digest, reason=reason, until=until)
            for name, digest in self.digests.items()
        ]
        heir: marks.Marks = {} if route.stable == self.good.stable else {annotations.STABLE: self.good.stable}
        return {**marks.rolled_back(now=now), **marks.held(fresh, route.holds), **heir}

    def _require_same(self, endpoint: Endpoint) -> None:
        for name, digest in self.digests.items():
            found = endpoint.deployments[name].model.digest if name in endpoint.deployments else "nothing"
            if found != digest:
                raise ConflictError(
                    f"endpoint {self.endpoint!r} no longer carries what was judged: {name!r} serves {found}, not"
                    f" {digest}; run the command again to judge what it serves now"
                )
        if endpoint.route.rollout != self.rollout:
            raise ConflictError(
                f"endpoint {self.endpoint!r} no longer carries rollout {self.rollout or 'none'!r} but"
                f" {endpoint.route.rollout or 'none'!r}; run the command again to judge that one"
            )

    def _message(self, endpoint: Endpoint) -> Message:
        before, gone = endpoint.route.weights, ", ".join(self.digests)
        after = {name: self.good.weights.get(name, 0) for name in dict.fromkeys((*before, *self.good.weights))}
        models = [
            f"{name} {endpoint.deployments[name].model.uri} → {good.model.uri}"
            for name, good in self.good.models.items()
            if name in endpoint.deployments
        ]
        moved = ", ".join([*models, *filter(None, [wording.moves(before, after)])]) or "the split stays"
        return Message(
            subject=f"{self.endpoint}: rolled back {gone} ({moved})",
            body=(self.why.reason,),
            trailers=Trailers(
                operation=self.operation,
                endpoint=self.endpoint,
                stage=self.stage,
                action="rollback",
                from_=wording.shares(before),
                to=wording.shares(after),
                reason=self.why.reason,
                evidence=evidence_file(self.endpoint, self.operation) if self.why.evidence else "",
                fingerprint=self.why.fingerprint,
            ),
        )


def last_good(history: Iterable[Endpoint], *, faulty: Collection[str], present: Endpoint) -> GoodSplit:
    """The newest split in which no faulty version had users.

    Args:
        history: the endpoint as it was, newest first; read no further than needed.
        faulty: deployments to take out. Of stable only the model that it has now is at fault: an earlier one of the
            same name may come back. A canary goes with every model that it had.
        present: the endpoint as it is.

    Raises:
        NotFoundError: stable itself is faulty and there is nobody to go back to.
    """
    stable, known = present.route.stable, present.deployments
    condemned = {(name, known[name].model.digest) for name in faulty}
    users = present.route.weights
    trusted = {(name, one.model.digest) for name, one in known.items() if users.get(name) and name not in faulty}
    for past in history:
        held = {(hold.deployment, hold.model_digest) for hold in past.route.holds}
        condemned |= held - trusted  # somebody let it serve again
        weights = _users(past.route)
        served = {(name, past.deployments[name].model.digest) for name in weights}
        if served & condemned or set(weights) & (set(faulty) - {stable}):
            continue
        models = {name: past.deployments[name] for name in weights if name in faulty or name not in known}
        heir = past.route.stable if past.route.stable in weights else next(iter(weights))
        return GoodSplit(weights=weights, stable=heir, models=models)
    if stable in faulty:
        raise NotFoundError(
            f"no earlier split without {stable!r} can be served: there has been none; add a version with"
            " `mlflow deployments create --endpoint` and move the users to it"
        )
    return GoodSplit(weights={stable: TOTAL_WEIGHT}, stable=stable)


def _users(route: Route) -> dict[str, int]:
    """Weights of who has users; a baseline's are its stable's."""
    weights = dict(route.weights)
    weights[route.stable] += weights.pop(route.baseline, 0)
    return {name: weight for name, weight in weights.items() if weight}


def _with_model(present: Deployment, good: Deployment) -> Deployment:
    """The unit that served before, in as many processes as there are now."""
    return replace(present, model=good.model, image=good.image, environment=good.environment, resources=good.resources)


def _require(files: Files, stage: str, endpoint: str) -> Endpoint:
    if (found := manifests.find_endpoint(files, stage, endpoint)) is None:
        raise NotFoundError(f"endpoint {endpoint!r} is gone from stage {stage!r}")
    return found
