"""One tick of the drift job: gather, decide, apply, record. Every input comes through the doors."""

import argparse
import hashlib
import json
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from mlflow_deploy_plugin.config.home import OWNER_ONLY
from mlflow_deploy_plugin.errors import EXIT_BAD_VERDICT, EXIT_DONE, ConfigError, ModelserveError
from mlflow_deploy_plugin.manifests.model import Deployment
from mlflow_deploy_plugin.spec.settings import ServingSettings
from mlflow_deploy_plugin.targets.base import DeploymentTarget
from pipelines.commands import drift_apply, endpoints, exposing, summary, version_before, version_elsewhere
from pipelines.commands.committing import Applied
from pipelines.commands.doors import Doors
from pipelines.commands.durations import duration, moment
from pipelines.commands.endpoints import Standing
from pipelines.monitoring import reference as references
from pipelines.monitoring.artifacts import Kept
from pipelines.monitoring.event_summaries import Population, Window
from pipelines.monitoring.exposing import Whose
from pipelines.monitoring.gather import Gathered, Question, gather
from pipelines.monitoring.reference import ReferenceSample
from pipelines.monitoring.samples import EventLog
from pipelines.promotion import codec
from pipelines.promotion.drift import verdicts
from pipelines.promotion.drift.decision import AlertOnly, Halted, Revert
from pipelines.promotion.drift.evidence import Arm
from pipelines.promotion.drift.policy import DriftPolicy
from pipelines.promotion.drift.record import DriftRecord, record

DEFAULT_WINDOW: Final = "7d"
LONGEST: Final = timedelta(days=90)
"""How far back ``--last`` looks for its predictions."""
DECISION_FILE: Final = "decision.json"
MOST_PAGES: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one tick found and did."""

    standing: Standing
    record: DriftRecord
    applied: Applied | None
    folder: Path
    pages: tuple[Path, ...]


def run(options: argparse.Namespace, doors: Doors) -> int:
    """The exit code of one tick.

    Raises:
        ModelserveError: something outside failed, or an argument is wrong.
    """
    if options.before_at:
        version_elsewhere.check(options.before_at)  # before the minutes
    now = doors.now()
    target = doors.open_target(options.target)
    standing = endpoints.read(target, options.endpoint)
    policy = DriftPolicy()
    sample = _reference(options, doors, standing.stable)
    with doors.open_events(doors.known_events_at(options.events)) as log:
        question = _question(options, target, standing, log, now)
        gathered = gather(log, question, reference=sample, policy=policy)
        whose = Whose(
            stage=target.stage_name, endpoint=options.endpoint, deployments=tuple(standing.endpoint.deployments)
        )
        decided = record(gathered.evidence, policy)
        if _wants_the_version_before(options, standing, decided):
            shadow = version_before.found(standing, log, doors, maturity=question.maturity, at=options.before_at)
            gathered = replace(gathered, evidence=replace(gathered.evidence, shadow=shadow))
            decided = record(gathered.evidence, policy)
        exposing.labels(doors, log, whose, now=now)
    exposing.drift(doors, decided, now=now)
    folder = _folder(options, doors, now)
    pages = () if options.no_report else _pages(gathered, decided, folder, doors)
    decided = replace(decided, report=_digests(pages))
    applied = drift_apply.apply(target, standing, decided, now=now, is_dry=options.dry_run) if options.revert else None
    (folder / DECISION_FILE).write_text(codec.encode(decided), encoding="utf-8")
    if options.mlflow:
        _keep(standing, folder, options, doors, now)
    finding = Finding(standing=standing, record=decided, applied=applied, folder=folder, pages=pages)
    doors.say(_as_json(finding) if options.json else "\n".join(_as_text(finding)))
    summary.append(options.summary, _as_markdown(finding))
    return EXIT_BAD_VERDICT if isinstance(decided.decision, Revert | Halted) and not _is_done(applied) else EXIT_DONE


def _wants_the_version_before(options: argparse.Namespace, standing: Standing, decided: DriftRecord) -> bool:
    """Only where all users have one version, and by default only where its inputs have moved: it starts a process."""
    if standing.canaries or options.before == "never":
        return False
    return options.before == "always" or isinstance(decided.decision, AlertOnly)


def _digests(pages: tuple[Path, ...]) -> dict[str, str]:
    """What the repository says of files that are too large for it."""
    return {page.name: f"sha256:{hashlib.sha256(page.read_bytes()).hexdigest()}" for page in pages[:MOST_PAGES]}


def _keep(standing: Standing, folder: Path, options: argparse.Namespace, doors: Doors, now: datetime) -> None:
    """The tick's folder as artifacts of every judged version's run; where that fails, the decision stands."""
    path = f"drift/{options.endpoint}/{now:%Y-%m-%dT%H-%M-%SZ}"
    for deployment in (standing.stable, *standing.canaries):
        if not deployment.model.run_id:
            doors.warn(f"{deployment.name} names no MLflow run that could keep the report")
            continue
        try:
            doors.keep(Kept(folder=folder, tracking_uri=options.mlflow, run_id=deployment.model.run_id, path=path))
        except ModelserveError as error:
            doors.warn(f"the report of {deployment.name} was not kept, the decision stands: {error}")


def _is_done(applied: Applied | None) -> bool:
    return applied is not None and applied.state == "unchanged"


def _reference(options: argparse.Namespace, doors: Doors, stable: Deployment) -> ReferenceSample | None:
    """The training sample, without columns that the log has hashed: the two could not be compared."""
    if options.reference:
        sample: ReferenceSample | None = references.of_file(Path(options.reference).expanduser())
    else:
        sample = references.of_bento(doors.home.bento(stable.model.bento))
    settings = ServingSettings.from_environment(stable.environment)
    return references.without(sample, settings.log_hash.split(",")) if sample else None


def _question(
    options: argparse.Namespace, target: DeploymentTarget, standing: Standing, log: EventLog, now: datetime
) -> Question:
    route = standing.endpoint.route
    population: Population = "split" if standing.canaries else "all"
    end = now + timedelta(seconds=1)  # the end is not included

    def window(begin: datetime) -> Window:
        return Window(stage=route.stage, endpoint=route.endpoint, begin=begin, end=end, population=population)

    began = endpoints.rollout_began(standing) if standing.canaries else None
    inputs = window(_begin(options, log, window(now - LONGEST), now))
    if began is not None and began > inputs.begin:
        inputs = window(began)  # a canary and its control are compared over the same interval
    return Question(
        commit=standing.commit,
        rollout=route.rollout,
        inputs=inputs,
        faults=window(min(began or inputs.begin, now)),
        stable=_arm(standing, standing.stable),
        canaries=tuple(_arm(standing, canary) for canary in standing.canaries),
        baseline=route.baseline,
        split_of=endpoints.Splits(target, standing),
        automation=endpoints.automation(standing, now=now),
        maturity=duration(options.maturity) if options.maturity else None,
    )


def _begin(options: argparse.Namespace, log: EventLog, longest: Window, now: datetime) -> datetime:
    if options.since:
        return min(moment(options.since), now)
    if options.last:
        return log.newest_since(longest, options.last) or longest.begin
    return now - duration(options.window or DEFAULT_WINDOW)


def _arm(standing: Standing, deployment: Deployment) -> Arm:
    weight = standing.endpoint.route.weights[deployment.name]
    return Arm(deployment=deployment.name, model_digest=deployment.model.digest, weight=weight, rows=0, users=0)


def _folder(options: argparse.Namespace, doors: Doors, now: datetime) -> Path:
    folder = (
        Path(options.out).expanduser()
        if options.out
        else doors.home.reports / options.endpoint / f"{now:%Y-%m-%dT%H-%M-%SZ}"
    )
    try:
        folder.mkdir(mode=OWNER_ONLY, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"folder {str(folder)!r} cannot be made ({error.strerror}); give another with --out"
        ) from error
    return folder


def _pages(gathered: Gathered, decided: DriftRecord, folder: Path, doors: Doors) -> tuple[Path, ...]:
    """The drawn report; where Evidently fails the decision stands, and the failure is told."""
    try:
        return doors.draw(gathered, decided, folder)
    except ModelserveError as error:
        doors.warn(f"no report was drawn, the decision stands: {error}")
        return ()


def _as_text(finding: Finding) -> list[str]:
    decision, evidence = finding.record.decision, finding.record.evidence
    arms = ", ".join(
        f"{role} {arm.deployment} ({arm.weight / 10:g} %, {arm.users} users)"
        for role, arm in [("stable", evidence.stable), *(("canary", arm) for arm in evidence.canaries)]
    )
    lines = [
        f"{evidence.endpoint} ({evidence.stage}), {evidence.window.since} to {evidence.window.until}: {arms}",
        f"verdict: {verdicts.headline(decision)}",
        *(f"  - {reason.text}" for reason in decision.reasons),
        *(f"  - note: {check.name}: {check.detail}" for check in evidence.checks if _is_note(check.is_ok, check.scope)),
    ]
    if advice := verdicts.advice(decision):
        lines.append(f"  → {advice}")
    if finding.applied:
        lines.append(finding.applied.text)
    lines += [f"report: {page}" for page in finding.pages]
    path = finding.folder / DECISION_FILE
    return [*lines, f"decision: {path} (python -m pipelines replay {path})"]


def _as_markdown(finding: Finding) -> str:
    decision, evidence = finding.record.decision, finding.record.evidence
    rows = [("verdict", verdicts.headline(decision)), *((reason.gate, reason.text) for reason in decision.reasons)]
    rows += [("commit", finding.applied.text)] if finding.applied else []
    lines = [summary.row("what", "says"), summary.row("---", "---"), *(summary.row(*cells) for cells in rows)]
    return "\n".join([f"## Drift: {evidence.endpoint} ({evidence.stage})", "", *lines, ""])


def _is_note(is_ok: bool, scope: str) -> bool:  # noqa: FBT001  two fields of one check
    return not is_ok and scope == "none"


def _as_json(finding: Finding) -> str:
    decision = finding.record.decision
    answer = {
        "endpoint": finding.record.evidence.endpoint,
        "stage": finding.record.evidence.stage,
        "verdict": decision.verdict,
        "headline": verdicts.headline(decision),
        "action": decision.action,
        "reasons": [asdict(reason) for reason in decision.reasons],
        "state": finding.applied.state if finding.applied else "",
        "commit": finding.applied.commit if finding.applied else "",
        "report": [str(page) for page in finding.pages],
        "decision": str(finding.folder / DECISION_FILE),
    }
    return json.dumps(answer, indent=1, ensure_ascii=False)
