"""Promotion stands still while the world moves or people must decide: weights stay, the route is ``frozen``. Pure."""

import hashlib
from dataclasses import dataclass
from datetime import datetime

from mlflow_deploy_plugin import manifests
from mlflow_deploy_plugin.errors import NotFoundError
from mlflow_deploy_plugin.manifests.model import Files
from mlflow_deploy_plugin.manifests.trailers import Message, Trailers
from mlflow_deploy_plugin.manifests.tree import evidence_file
from pipelines.promotion import marks, wording


@dataclass(frozen=True, slots=True, kw_only=True)
class Freeze:
    """The wish to keep an endpoint's split as it is until a person approves."""

    stage: str
    endpoint: str
    state: str
    """Commit that last changed the endpoint when this was decided."""
    reason: str
    evidence: str
    fingerprint: str = ""
    """Of the notice that people get."""
    why: str = "the world moved"
    """The end of the commit's subject."""

    @property
    def operation(self) -> str:
        """Name of this act, the same however often it is tried."""
        return hashlib.sha256(f"freeze\n{self.stage}\n{self.endpoint}\n{self.state}".encode()).hexdigest()[:16]

    def apply(self, files: Files, *, now: datetime) -> tuple[Files, Message]:
        """The tree with the route frozen; the same tree where it is already.

        Raises:
            NotFoundError: the endpoint is gone.
        """
        endpoint = manifests.find_endpoint(files, self.stage, self.endpoint)
        if endpoint is None:
            raise NotFoundError(f"endpoint {self.endpoint!r} is gone from stage {self.stage!r}")
        weights = endpoint.route.weights
        message = self._message(wording.shares(weights))
        if endpoint.route.phase == marks.FROZEN:
            return files, message
        notes = marks.frozen(now=now)
        changed = manifests.set_split(files, self.stage, self.endpoint, weights, annotations=notes)
        return manifests.add_evidence(changed, self.endpoint, self.operation, self.evidence), message

    def _message(self, split: str) -> Message:
        return Message(
            subject=f"{self.endpoint}: promotion frozen, {self.why}",
            body=(self.reason,),
            trailers=Trailers(
                operation=self.operation,
                endpoint=self.endpoint,
                stage=self.stage,
                action="freeze",
                from_=split,
                to=split,
                reason=self.reason,
                evidence=evidence_file(self.endpoint, self.operation),
                fingerprint=self.fingerprint,
            ),
        )
