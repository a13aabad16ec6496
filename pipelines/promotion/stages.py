"""From one stage to the next: the very Bento that has proven itself, and the first step of the next stage's plan. Pure.

Rules:
    * what goes on is stable of the source's endpoint, by its digest and its image; nothing is packaged anew;
    * the source must be settled: no rollout, no freeze, nobody else with users but a holdback, nobody in the shadow;
    * a stage that has this digest already is left as it is; one that holds it back refuses, unless that is overridden;
    * it is sized as the stage sizes its stable (replicas, workers, resources), and runs by what was tried (variables);
    * entry and first step are one commit. Where the plan wants no first step yet, the version stands without users.
"""

import hashlib
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from mlflow_deploy_plugin import manifests
from mlflow_deploy_plugin.errors import ConfigError, ConflictError, NotFoundError
from mlflow_deploy_plugin.manifests.model import Deployment, Endpoint, Files, standing_hold
from mlflow_deploy_plugin.manifests.trailers import Message, Trailers
from mlflow_deploy_plugin.manifests.tree import evidence_file, rollout_file
from mlflow_deploy_plugin.spec.names import TOTAL_WEIGHT, is_label, lets_clients_pick
from pipelines.promotion import marks, record, wording
from pipelines.promotion.decide import decide
from pipelines.promotion.decision import Advance, Findings, SetMirror
from pipelines.promotion.plan import Plan
from pipelines.promotion.rollout import Move
from pipelines.promotion.schema import read_plan
from pipelines.promotion.sizing import sized_like
from pipelines.promotion.state import Word, state_of

SALT_DIGITS: Final = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class StageWish:
    """The wish that a stage serve what another one has proven."""

    source: str
    stage: str
    endpoint: str
    digest: str
    """Model digest that was looked at; a source that serves another one by now is refused."""
    name: str = ""
    """Of the deployment; empty: as in the source, or by its version where that name is taken."""
    by: str = ""
    """Who wishes it: the author of the version in that stage."""
    override: str = ""
    decided_on: str = ""
    """The newest commit that was looked at."""

    @property
    def operation(self) -> str:
        """The same however often the act is tried."""
        said = f"stage\n{self.source}\n{self.stage}\n{self.endpoint}\n{self.digest}\n{self.name}\n{self.decided_on}"
        return hashlib.sha256(said.encode()).hexdigest()[:16]

    def apply(self, files: Files, *, now: datetime) -> tuple[Files, Message]:
        """The tree with the version in the stage, at the first step of its plan; the same tree where it is there.

        Raises:
            ConflictError: the source is not settled, serves another model by now, or the stage holds this one.
            NotFoundError: the source has no such endpoint.
        """
        proven = settled(files, self.source, self.endpoint, now=now)
        if proven.model.digest != self.digest:
            raise ConflictError(
                f"superseded: stage {self.source!r} serves {proven.model.digest} by now, not {self.digest}; run the"
                " command again"
            )
        present = manifests.parse_stage(files, self.stage).endpoints.get(self.endpoint)
        if present is not None and find(present, self.digest):
            return files, self._message(proven, "", "unchanged")
        if present is None:
            return self._begun(files, proven)
        self._require_free(present, now)
        return self._joined(files, present, proven, now=now)

    def _begun(self, files: Files, proven: Deployment) -> tuple[Files, Message]:
        """The stage's first version of this endpoint takes all."""
        deployment = self._deployment(files, proven, None)
        salt = hashlib.sha256(f"{self.stage}/{self.endpoint}/{self.operation}".encode()).hexdigest()[:SALT_DIGITS]
        changed = manifests.add_endpoint(files, deployment, salt=salt, hears_override=lets_clients_pick(self.stage))
        return changed, self._message(deployment, "", f"{deployment.name}=100")

    def _joined(self, files: Files, present: Endpoint, proven: Deployment, *, now: datetime) -> tuple[Files, Message]:
        deployment = self._deployment(files, proven, present.deployments[present.route.stable])
        changed = manifests.add_deployment(files, deployment, weight=0)
        before = wording.shares(present.route.weights)
        path = rollout_file(self.stage, self.endpoint)
        plan = read_plan(files[path], path=path) if path in files else None
        step = _first_step(plan, files[path], changed, deployment, self, now=now) if plan else None
        if step is None:
            return changed, self._message(deployment, before, before)
        moved, said = step.apply(changed, now=now)
        message = self._message(deployment, before, said.trailers.to, news=said.subject.partition(": ")[2])
        trailers = replace(message.trailers, evidence=evidence_file(self.endpoint, step.operation))
        return moved, replace(message, trailers=trailers)

    def _require_free(self, present: Endpoint, now: datetime) -> None:
        route = present.route
        if (hold := standing_hold(route.holds, self.digest, now)) is not None and not self.override:
            raise ConflictError(
                f"stage {self.stage!r} holds this model: {hold.reason}; --override says why it may come back"
            )
        if route.rollout or route.mirror:
            raise ConflictError(
                f"a rollout of endpoint {self.endpoint!r} runs in stage {self.stage!r}; wait for its end, or roll it"
                " back"
            )

    def _deployment(self, files: Files, proven: Deployment, sized: Deployment | None) -> Deployment:
        return sized_like(proven, sized or proven, name=self._free_name(files, proven), stage=self.stage)

    def _free_name(self, files: Files, proven: Deployment) -> str:
        stage = manifests.parse_stage(files, self.stage)
        if self.name:
            wanted = [self.name]
        else:
            by_version = f"{self.endpoint}-v{proven.model.version}"
            wanted = [proven.name, *([by_version] if is_label(by_version) else [])]
        if free := [name for name in wanted if stage.deployment(name) is None]:
            return free[0]
        raise ConfigError(
            f"stage {self.stage!r} has {' and '.join(repr(name) for name in wanted)} with another model already; give"
            " --name"
        )

    def _message(self, deployment: Deployment, before: str, after: str, *, news: str = "") -> Message:
        override = f"override ({self.override}): " if self.override else ""
        reason = f"{override}{deployment.model.uri} is settled in {self.source}, {deployment.model.digest}"
        what = news or (f"{deployment.name} takes all" if not before else f"{deployment.name} stands without users")
        return Message(
            subject=f"{self.endpoint}: {deployment.model.uri} from {self.source} to {self.stage}, {what}",
            body=(reason,),
            trailers=Trailers(
                operation=self.operation,
                endpoint=self.endpoint,
                stage=self.stage,
                action="stage",
                from_=before,
                to=after,
                reason=reason,
                by=self.by,
            ),
        )


def settled(files: Files, stage: str, endpoint: str, *, now: datetime) -> Deployment:
    """Stable of an endpoint whose rollout is over.

    Raises:
        NotFoundError: the stage has no such endpoint.
        ConflictError: it is not settled; the message says what goes on.
    """
    found = manifests.parse_stage(files, stage).endpoints
    if endpoint not in found:
        raise NotFoundError(f"endpoint {endpoint!r} not found in stage {stage!r}; known: {', '.join(found) or 'none'}")
    route = found[endpoint].route
    if obstacle := _unsettled(found[endpoint], now):
        raise ConflictError(f"stage {stage!r} is not settled: endpoint {endpoint!r} {obstacle}")
    return found[endpoint].deployments[route.stable]


def _unsettled(endpoint: Endpoint, now: datetime) -> str:
    """What is going on; empty: nothing."""
    route = endpoint.route
    others = {name: weight for name, weight in route.weights.items() if weight and name != route.stable}
    if route.rollout:
        return f"is in a rollout (step {route.step + 1}); let it end"
    if route.phase == marks.FROZEN:
        return "is frozen; approve it first"
    if route.mirror is not None:
        return f"has {route.mirror.deployment} in the shadow; let it end"
    if others and (route.phase != marks.SUCCESSFUL or sum(others.values()) >= TOTAL_WEIGHT // 2):
        return f"splits its users: {wording.shares(route.weights)}; let one version take over"
    if (hold := standing_hold(route.holds, endpoint.deployments[route.stable].model.digest, now)) is not None:
        return f"serves a model that is held: {hold.reason}"
    return ""


def find(endpoint: Endpoint, digest: str) -> Deployment | None:
    """The deployment that serves the model of that digest."""
    return next((one for one in endpoint.deployments.values() if one.model.digest == digest), None)


def _first_step(  # noqa: PLR0913  everything that a record needs
    plan: Plan, text: str, files: Files, deployment: Deployment, wish: StageWish, *, now: datetime
) -> Move | None:
    """The first step of the stage's plan; ``None`` where it asks for something else first."""
    endpoint = manifests.parse_stage(files, wish.stage).endpoints[wish.endpoint]
    others = [name for name in endpoint.deployments if name not in {endpoint.route.stable, deployment.name}]
    state = state_of(endpoint, now=now, retired=others, word=Word(author=wish.by, override=wish.override))
    decision = decide(plan, state, (), now)
    if not isinstance(decision, Advance | SetMirror):
        return None
    made = record.PromotionRecord(
        plan=record.plan_text(text),
        state=state,
        findings=Findings(),
        now=now,
        decision=record.without_gates(decision),
    )
    return Move(
        state=state,
        decision=decision,
        decided_on=wish.operation,
        holdback=plan.terms.holdback,
        evidence=record.encode(made),
    )
