"""A step, a promotion or an approval as a commit: scalars of ``route.yaml``, and one evidence file. Pure.

What takes a version back is a :class:`~.rollback.Rollback`. Every wish is decided on one state and checks it again on
the tree that it is given: what somebody else changed meanwhile makes it superseded, and nothing is overwritten.
"""

import hashlib
from dataclasses import dataclass, replace
from datetime import datetime

from mlflow_deploy_plugin import manifests
from mlflow_deploy_plugin.errors import ConflictError, NotFoundError
from mlflow_deploy_plugin.manifests.model import Deployment, Endpoint, Files, Route
from mlflow_deploy_plugin.manifests.trailers import Message, Trailers
from mlflow_deploy_plugin.manifests.tree import evidence_file
from mlflow_deploy_plugin.spec import annotations
from mlflow_deploy_plugin.spec.names import TOTAL_WEIGHT
from pipelines.promotion import effects, marks, wording
from pipelines.promotion.decision import Retire, SetMirror
from pipelines.promotion.effects import Context, Effect
from pipelines.promotion.sizing import sized_like
from pipelines.promotion.state import Candidate, State

LONGEST_SUBJECT = 120
"""Characters of the reason that a subject carries."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """The wish that a decision which goes forward be what is served."""

    state: State
    decision: effects.Move
    decided_on: str
    """Commit that last changed the endpoint."""
    holdback: int = 0
    evidence: str = ""
    fingerprint: str = ""
    """Of the notice that people get; empty: they get none."""

    @property
    def endpoint(self) -> str:
        """The one endpoint that it touches."""
        return self.state.endpoint

    @property
    def operation(self) -> str:
        """The same however often the act is tried."""
        what = (
            replace(self.decision, reason="") if isinstance(self.decision, SetMirror | Retire) else self.decision.kind
        )
        step = getattr(self.decision, "step", "")
        said = (
            f"{self.state.stage}\n{self.endpoint}\n{self.state.candidates}\n{self.state.rollout}\n{what}{step}\n"
            f"{self.decided_on}"
        )
        return hashlib.sha256(said.encode()).hexdigest()[:16]

    def apply(self, files: Files, *, now: datetime) -> tuple[Files, Message]:
        """The tree as the decision wants it.

        Raises:
            ConflictError: the endpoint is not any more what was judged.
            NotFoundError: it is gone.
        """
        endpoint = require(files, self.state.stage, self.endpoint)
        self._require_same(endpoint)
        effect = self._effect(endpoint.route, now)
        changed = self._with(effect, files, endpoint)
        if self.evidence:
            changed = manifests.add_evidence(changed, self.endpoint, self.operation, self.evidence)
        return changed, self._message(effect, endpoint.route)

    def _effect(self, route: Route, now: datetime) -> Effect:
        context = Context(state=self.state, route=route, operation=self.operation, holdback=self.holdback, now=now)
        return effects.effect_of(self.decision, context)

    def _with(self, effect: Effect, files: Files, endpoint: Endpoint) -> Files:
        stage, name = self.state.stage, self.endpoint
        changed = manifests.set_mirror(files, stage, name, None) if effect.mirror is None else files
        if effect.copied:
            changed = manifests.add_deployment(changed, self._copy(endpoint, effect.copied), weight=0)
        if annotations.SALT in effect.notes and endpoint.route.weights[self.state.stable] < TOTAL_WEIGHT:
            # An experiment deals everybody anew: whoever a holdback still had goes back first, so that slots are fixed.
            changed = manifests.set_split(changed, stage, name, {self.state.stable: TOTAL_WEIGHT})
        changed = manifests.set_split(changed, stage, name, effect.weights, annotations=effect.notes)
        if effect.mirror is not None:
            changed = manifests.set_mirror(changed, stage, name, effect.mirror)
        for gone in effect.removed:
            changed = manifests.remove_deployment(changed, stage, gone)
        for idle in effect.scaled:
            changed = manifests.replace_deployment(changed, replace(endpoint.deployments[idle], replicas=1, workers=1))
        return changed

    def _copy(self, endpoint: Endpoint, name: str) -> Deployment:
        """The baseline: stable's version, sized as the canary is."""
        (canary,) = self.state.candidates
        version, size = (endpoint.deployments[one] for one in (self.state.stable, canary.deployment))
        return sized_like(version, size, name=name, stage=self.state.stage)

    def _require_same(self, endpoint: Endpoint) -> None:
        route, state = endpoint.route, self.state
        beside = [*state.candidates, *state.idle, *([state.baseline] if state.baseline else [])]
        named = (route.stable, route.rollout, route.step, route.weights[route.stable])
        judged = (state.stable, state.rollout, state.step, state.stable_weight)
        if named != judged or not all(_is_same(endpoint, one) for one in beside):
            raise ConflictError(
                f"superseded: endpoint {self.endpoint!r} was changed since this was decided; run the command again"
            )

    def _message(self, effect: Effect, before: Route) -> Message:
        reason = self.decision.reason
        if self.state.word.override:
            reason = f"override ({self.state.word.override}): {reason}"
        shown = reason if len(reason) <= LONGEST_SUBJECT else f"{reason[:LONGEST_SUBJECT]}…"
        moved = wording.moves(before.weights, effect.weights) or "the split stays"
        return Message(
            subject=f"{self.endpoint}: {effect.news} {moved} ({shown})",
            body=tuple(
                f"{gate.arm or gate.gate}: {gate.gate}: {gate.verdict}: {gate.reason}" for gate in self.decision.gates
            ),
            trailers=Trailers(
                operation=self.operation,
                endpoint=self.endpoint,
                stage=self.state.stage,
                action=effect.action,
                from_=wording.shares(before.weights),
                to=wording.shares(effect.weights),
                reason=reason,
                evidence=evidence_file(self.endpoint, self.operation) if self.evidence else "",
                fingerprint=self.fingerprint,
            ),
        )


def _is_same(endpoint: Endpoint, judged: Candidate) -> bool:
    route, found = endpoint.route, endpoint.deployments.get(judged.deployment)
    if found is None or found.model.digest != judged.model_digest:
        return False
    mirrored = route.mirror.share if route.mirror and route.mirror.deployment == judged.deployment else 0
    return (route.weights.get(judged.deployment, 0), mirrored) == (judged.weight, judged.mirrored)


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """A person lets the present step go on; lifts a freeze, and the holds that ``lifts`` names."""

    stage: str
    endpoint: str
    decided_on: str
    reason: str
    by: str = ""
    """Who says so; empty: git's own author of the commit."""
    count: int = 1
    """How many people have said so with this one."""
    lifts: tuple[str, ...] = ()
    """Digests of models that automation may promote again."""

    @property
    def operation(self) -> str:
        """The same however often the act is tried."""
        said = f"approve\n{self.stage}\n{self.endpoint}\n{' '.join(self.lifts)}\n{self.by}\n{self.decided_on}"
        return hashlib.sha256(said.encode()).hexdigest()[:16]

    def apply(self, files: Files, *, now: datetime) -> tuple[Files, Message]:  # noqa: ARG002  an approval has no time
        """The tree with the approval written down; the same tree where it is already.

        Raises:
            NotFoundError: the endpoint is gone.
        """
        route = require(files, self.stage, self.endpoint).route
        notes = marks.approved(self.count)
        if self.lifts:
            notes |= marks.lifted(self.lifts, route.holds)
        changed = manifests.set_split(files, self.stage, self.endpoint, route.weights, annotations=notes)
        split = wording.shares(route.weights)
        held = ", ".join(hold.deployment for hold in route.holds if hold.model_digest in self.lifts)
        lifted = f", the hold on {held} lifted" if held else ""
        message = Message(
            subject=f"{self.endpoint}: approved{f' by {self.by}' if self.by else ''}{lifted}",
            body=(self.reason,),
            trailers=Trailers(
                operation=self.operation,
                endpoint=self.endpoint,
                stage=self.stage,
                action="approve",
                from_=split,
                to=split,
                reason=self.reason,
                by=self.by,
            ),
        )
        return changed, message


def require(files: Files, stage: str, endpoint: str) -> Endpoint:
    """The endpoint as ``files`` say it.

    Raises:
        NotFoundError: there is none.
    """
    if (found := manifests.find_endpoint(files, stage, endpoint)) is None:
        raise NotFoundError(f"endpoint {endpoint!r} is gone from stage {stage!r}")
    return found
