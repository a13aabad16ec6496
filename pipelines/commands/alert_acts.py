"""What an alert leads to: at most one rollback commit, or a sentence why not."""

import json
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from mlflow_deploy_plugin.errors import EXIT_USER, ConfigError, ModelserveError
from mlflow_deploy_plugin.manifests.model import Deployment
from mlflow_deploy_plugin.targets.base import DeploymentTarget
from pipelines.commands import endpoints
from pipelines.commands.committing import commit
from pipelines.commands.doors import Doors
from pipelines.commands.endpoints import Standing
from pipelines.monitoring.webhook import Reply
from pipelines.promotion import alerts, wording
from pipelines.promotion.alerts import Alert
from pipelines.promotion.rollback import Why

Outcome = Literal["rolled back", "unchanged", "ignored", "left to a person", "failed", "try again"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What became of one alert."""

    outcome: Outcome
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Acts:
    """Answers notifications against one stage of one repository."""

    doors: Doors
    target: str
    recent: timedelta
    """How long after it became stable a version may be taken back without a person."""
    hold: timedelta | None = None

    def act(self, body: bytes) -> Reply:
        """Do what each alert asks for, say so, and answer Alertmanager."""
        try:
            found = alerts.parse(body)
        except ConfigError as error:
            self.doors.warn(f"pipelines alerts: {error}")
            return Reply(status=400, text=str(error))
        told = [(alert, self._one(alert)) for alert in found]
        for alert, said in told:
            speak = self.doors.warn if said.outcome in {"failed", "try again"} else self.doors.say
            speak(f"{alert.name} {alert.fingerprint}: {said.outcome}: {said.text}")
        answer = [
            {"alert": alert.name, "fingerprint": alert.fingerprint, "outcome": said.outcome, "text": said.text}
            for alert, said in told
        ]
        is_open = any(said.outcome == "try again" for _, said in told)
        return Reply(status=503 if is_open else 200, text=json.dumps(answer, ensure_ascii=False))

    def _one(self, alert: Alert) -> Told:
        """A refusal that a person must mend is no reason to be told again; anything else may pass."""
        try:
            return self._decide(alert)
        except ModelserveError as error:
            return Told(outcome="failed" if error.exit_code == EXIT_USER else "try again", text=str(error))

    def _decide(self, alert: Alert) -> Told:
        if not alert.asks_for_rollback:
            return Told(outcome="ignored", text="it does not fire, or its rule names no rollback")
        target = self.doors.open_target(self.target)
        stage = target.stage()
        if alert.labels.get("stage", stage.name) != stage.name:
            return Told(outcome="ignored", text=f"it is about stage {alert.labels['stage']!r}, not {stage.name!r}")
        deployment = stage.deployment(alert.deployment)
        if deployment is None:
            return Told(outcome="ignored", text=f"stage {stage.name!r} has no deployment {alert.deployment!r}")
        standing = endpoints.read(target, deployment.endpoint)
        if not standing.endpoint.route.weights.get(deployment.name, 0):
            return Told(outcome="unchanged", text=f"{deployment.name} has no users")
        if why := self._why_a_person(alert, standing, deployment):
            return Told(outcome="left to a person", text=why)
        return self._take_back(alert, target, standing, deployment.name)

    def _why_a_person(self, alert: Alert, standing: Standing, accused: Deployment) -> str:
        """Why automation does not take the accused back; empty: it does."""
        if accused.name == standing.endpoint.route.stable:
            # One incident fires several alerts, the slower ones by what the model before did under the same name.
            if endpoints.is_rolled_back(standing):
                return f"{accused.name} is what the last rollback went back to"
            if not self._is_recent(standing):
                return f"{accused.name} is stable, and has been for long"
        replaced = endpoints.replaced_at(standing, accused.name)
        if replaced is not None and alert.began < replaced:
            return f"it began before {accused.name} got {accused.model.uri}, and accuses the model before"
        return ""

    def _is_recent(self, standing: Standing) -> bool:
        since = endpoints.stable_since(standing)
        return since is not None and self.doors.now() - since < self.recent

    def _take_back(self, alert: Alert, target: DeploymentTarget, standing: Standing, name: str) -> Told:
        now = self.doors.now()
        until = now + self.hold if self.hold else None
        why = Why(reason=alert.reason, evidence=alert.evidence(), until=until, cause=alert.cause)
        wish = endpoints.rollback(standing, (name,), why)
        done = f"rolled back {name} to {wording.shares(wish.good.weights)}"
        applied = commit(target, wish, now=now, is_dry=False, done=done)
        return Told(outcome="unchanged" if applied.state == "unchanged" else "rolled back", text=applied.text)
