"""A step, a promotion or an approval as a commit: scalars of ``route.yaml``, and one evidence file. Pure.

An abort is a :class:`~.rollback.Rollback`. Every wish is decided on one state and checks it again on the tree that it
is given: what somebody else changed meanwhile makes it superseded, and nothing is overwritten.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import assert_never

from mlflow_deploy_plugin import manifests
from mlflow_deploy_plugin.errors import ConflictError, NotFoundError
from mlflow_deploy_plugin.manifests.model import Endpoint, Files
from mlflow_deploy_plugin.manifests.trailers import Message, Trailers
from mlflow_deploy_plugin.manifests.tree import evidence_file
from mlflow_deploy_plugin.spec import annotations
from mlflow_deploy_plugin.spec.names import TOTAL_WEIGHT
from pipelines.promotion import marks, wording
from pipelines.promotion.decision import Advance, Promote
from pipelines.promotion.state import Candidate, State

LONGEST_SUBJECT = 120
"""Characters of the reason that a subject carries."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """The wish to give the candidate the weight of a step, or everything."""

    state: State
    candidate: Candidate
    decision: Advance | Promote
    decided_on: str
    """Commit that last changed the endpoint."""
    holdback: int = 0
    evidence: str = ""

    @property
    def endpoint(self) -> str:
        """The one endpoint that it touches."""
        return self.state.endpoint

    @property
    def operation(self) -> str:
        """The same however often the act is tried."""
        step = self.decision.step if isinstance(self.decision, Advance) else "promote"
        said = f"{self.state.stage}\n{self.endpoint}\n{self.candidate}\n{self.state.rollout}\n{step}\n{self.decided_on}"
        return hashlib.sha256(said.encode()).hexdigest()[:16]

    @property
    def weights(self) -> Mapping[str, int]:
        """The split that is wished for."""
        match self.decision:
            case Advance():
                given = self.decision.weight
            case Promote():
                given = TOTAL_WEIGHT - self.holdback
            case _:
                assert_never(self.decision)
        return {self.state.stable: TOTAL_WEIGHT - given, self.candidate.deployment: given}

    def apply(self, files: Files, *, now: datetime) -> tuple[Files, Message]:
        """The tree with the split moved.

        Raises:
            ConflictError: the endpoint is not any more what was judged.
            NotFoundError: it is gone.
        """
        endpoint = require(files, self.state.stage, self.endpoint)
        self._require_same(endpoint)
        notes = self._notes(now)
        changed = manifests.set_split(files, self.state.stage, self.endpoint, self.weights, annotations=notes)
        if self.evidence:
            changed = manifests.add_evidence(changed, self.endpoint, self.operation, self.evidence)
        return changed, self._message(endpoint.route.weights)

    def _notes(self, now: datetime) -> marks.Marks:
        if isinstance(self.decision, Promote):
            return marks.promoted(self.candidate.deployment, now=now)
        return marks.stepped(rollout=self.state.rollout or self.operation, step=self.decision.step, now=now)

    def _require_same(self, endpoint: Endpoint) -> None:
        route, name = endpoint.route, self.candidate.deployment
        found = endpoint.deployments.get(name)
        same_model = found is not None and found.model.digest == self.candidate.model_digest
        same_route = (route.stable, route.rollout, route.step) == (
            self.state.stable,
            self.state.rollout,
            self.state.step,
        )
        if not same_model or not same_route or route.weights.get(name, 0) != self.candidate.weight:
            raise ConflictError(
                f"superseded: endpoint {self.endpoint!r} was changed since this was decided; run the command again"
            )

    def _message(self, before: Mapping[str, int]) -> Message:
        is_promotion = isinstance(self.decision, Promote)
        verb = "promoted" if is_promotion else "canary"
        reason = self.decision.reason
        shown = reason if len(reason) <= LONGEST_SUBJECT else f"{reason[:LONGEST_SUBJECT]}…"
        return Message(
            subject=f"{self.endpoint}: {verb} {wording.moves(before, self.weights) or 'the split stays'} ({shown})",
            body=tuple(f"{gate.gate}: {gate.verdict}: {gate.reason}" for gate in self.decision.gates),
            trailers=Trailers(
                operation=self.operation,
                endpoint=self.endpoint,
                stage=self.state.stage,
                action="promote" if is_promotion else "step",
                from_=wording.shares(before),
                to=wording.shares(self.weights),
                reason=reason,
                evidence=evidence_file(self.endpoint, self.operation) if self.evidence else "",
            ),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """A person lets the present step go on; lifts a freeze, and with ``lifts_hold`` the hold."""

    stage: str
    endpoint: str
    decided_on: str
    reason: str
    lifts_hold: bool = False

    @property
    def operation(self) -> str:
        """The same however often the act is tried."""
        said = f"approve\n{self.stage}\n{self.endpoint}\n{self.lifts_hold}\n{self.decided_on}"
        return hashlib.sha256(said.encode()).hexdigest()[:16]

    def apply(self, files: Files, *, now: datetime) -> tuple[Files, Message]:  # noqa: ARG002  an approval has no time
        """The tree with the approval written down; the same tree where it is already.

        Raises:
            NotFoundError: the endpoint is gone.
        """
        route = require(files, self.stage, self.endpoint).route
        notes = marks.approved()
        if self.lifts_hold and route.hold is not None:
            notes[annotations.HOLD] = None
        changed = manifests.set_split(files, self.stage, self.endpoint, route.weights, annotations=notes)
        split = wording.shares(route.weights)
        lifted = f", the hold on {route.hold.deployment} lifted" if self.lifts_hold and route.hold else ""
        message = Message(
            subject=f"{self.endpoint}: approved{lifted}",
            body=(self.reason,),
            trailers=Trailers(
                operation=self.operation,
                endpoint=self.endpoint,
                stage=self.stage,
                action="approve",
                from_=split,
                to=split,
                reason=self.reason,
            ),
        )
        return changed, message


def require(files: Files, stage: str, endpoint: str) -> Endpoint:
    """The endpoint as ``files`` say it.

    Raises:
        NotFoundError: there is none.
    """
    if (found := manifests.parse_stage(files, stage).endpoints.get(endpoint)) is None:
        raise NotFoundError(f"endpoint {endpoint!r} is gone from stage {stage!r}")
    return found
