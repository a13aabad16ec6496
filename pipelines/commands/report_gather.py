"""Everything that the page of one endpoint shows, read from git, the event store and the drift job's folder."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mlflow_deploy_plugin.errors import ConfigError
from mlflow_deploy_plugin.manifests.model import Endpoint
from mlflow_deploy_plugin.repository.model import Commit
from mlflow_deploy_plugin.targets.base import DeploymentTarget
from pipelines.commands import endpoints
from pipelines.commands.doors import Doors
from pipelines.commands.drift_job import DECISION_FILE
from pipelines.commands.endpoints import Standing
from pipelines.monitoring import accuracy, traffic
from pipelines.monitoring.accuracy import Accuracy
from pipelines.monitoring.event_labels import LabelCut, ScoreChoice
from pipelines.monitoring.event_summaries import Window
from pipelines.monitoring.page.model import Change, DriftRun, Page, Role, Traffic, Version
from pipelines.promotion import codec
from pipelines.promotion.drift import verdicts
from pipelines.promotion.drift.record import DriftRecord

if TYPE_CHECKING:
    from pipelines.monitoring.events import EventStore

MOST_VERSIONS: Final = 16
"""As many as a split can have; deployments that are gone take what is left."""
MOST_RUNS: Final = 20
STRETCHES: Final = 60
"""Points of a line, at most."""
_STEPS: Final[Sequence[tuple[timedelta, str]]] = (
    (timedelta(minutes=1), "minute"),
    (timedelta(minutes=5), "5 minutes"),
    (timedelta(minutes=15), "15 minutes"),
    (timedelta(hours=1), "hour"),
    (timedelta(hours=3), "3 hours"),
    (timedelta(hours=12), "12 hours"),
    (timedelta(days=1), "day"),
    (timedelta(days=7), "week"),
    (timedelta(days=28), "4 weeks"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked for, and where to look."""

    target: str
    endpoint: str
    begin: datetime
    now: datetime
    events: str
    reports: Path
    page: Path
    """Where the page will lie: links are relative to it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """What the event store says."""

    traffic: Sequence[Traffic]
    whole: Mapping[str, Traffic]
    users: Mapping[str, int]
    accuracies: Sequence[Accuracy]
    accuracy: Mapping[str, Accuracy]
    notes: tuple[str, ...]


def gather(doors: Doors, question: Question) -> Page:
    """The page's values.

    Raises:
        NotFoundError: there is no such endpoint.
        EventStoreError: the store cannot be read.
    """
    target = doors.open_target(question.target)
    standing = endpoints.read(target, question.endpoint)
    changes = tuple(_changes(target, question))
    step, every = stretch(question.now - question.begin)
    with doors.open_events(question.events) as store:
        seen = _seen(store, standing, question, step)
    drawn, unread = drift_runs(question.reports, page=question.page)
    runs = _merged(drawn, committed_runs(changes))
    route = standing.endpoint.route
    return Page(
        endpoint=question.endpoint,
        stage=route.stage,
        made=question.now,
        begin=question.begin,
        commit=standing.commit,
        phase=route.phase,
        hold="; ".join(f"{hold.deployment}: {hold.reason}" for hold in route.holds),
        versions=_versions(standing, changes, seen),
        changes=changes,
        traffic=seen.traffic,
        accuracies=seen.accuracies,
        every=every,
        drift=runs,
        notes=(*seen.notes, *unread),
    )


def stretch(span: timedelta) -> tuple[timedelta, str]:
    """The shortest stretch of time of which a picture takes no more than it can show, and its name.

    >>> stretch(timedelta(days=7))[1], stretch(timedelta(minutes=30))[1]
    ('3 hours', 'minute')
    """
    return next(((step, name) for step, name in _STEPS if span / step <= STRETCHES), _STEPS[-1])


def _changes(target: DeploymentTarget, question: Question) -> Iterator[Change]:
    """Commits of the window and the one before it, newest first."""
    for commit in target.history(question.endpoint):
        yield _change(target, question.endpoint, commit)
        if commit.time < question.begin:
            return


def _change(target: DeploymentTarget, name: str, commit: Commit) -> Change:
    endpoint, said = endpoints.at(target, name, commit.sha), commit.trailers
    path = said.evidence if said and said.evidence.startswith("evidence/") else ""
    return Change(
        time=commit.time,
        commit=commit.sha,
        author=commit.author,
        subject=commit.subject,
        action=(said.action or "other") if said else "edit",
        weights=endpoint.route.weights if endpoint else {},
        reason=said.reason if said else "",
        evidence=target.files_at(commit.sha).get(path, "") if path else "",
        evidence_path=path,
    )


def _seen(store: "EventStore", standing: Standing, question: Question, step: timedelta) -> _Seen:
    window = Window(
        stage=standing.endpoint.route.stage,
        endpoint=question.endpoint,
        begin=question.begin,
        end=question.now + timedelta(seconds=1),  # the end is not included
        population="all",
    )
    cut = LabelCut(as_of=window.end)
    exposure = store.exposure(window)
    task = accuracy.task_of(store.kinds(window, cut))

    def scores(every: timedelta) -> tuple[Accuracy, ...]:
        return accuracy.accuracies(store.scored(window, cut, ScoreChoice(every=every)), task)

    holes = exposure.unreadable
    return _Seen(
        traffic=traffic.by_time(store, window, every=step),
        whole=traffic.whole(store, window),
        users={name: arm.users for name, arm in exposure.arms.items()},
        accuracies=scores(step),
        accuracy={row.deployment: row for row in scores(traffic.ONE_PIECE) if row.labelled},
        notes=(f"{len(holes)} files of the event store cannot be read and are left out",) if holes else (),
    )


def _versions(standing: Standing, changes: Sequence[Change], seen: _Seen) -> tuple[Version, ...]:
    """Stable first, then who has users, who stands beside, and who is gone."""
    endpoint = standing.endpoint
    stable, weights = endpoint.route.stable, endpoint.route.weights
    named = sorted(endpoint.deployments, key=lambda name: (name != stable, -weights.get(name, 0), name))
    past = [name for change in changes for name, weight in change.weights.items() if weight]
    gone = [name for name in dict.fromkeys((*past, *seen.whole)) if name not in endpoint.deployments]
    return tuple(
        Version(
            name=name,
            role=_role(endpoint, name),
            weight=weights.get(name, 0),
            model=endpoint.deployments[name].model.uri if name in endpoint.deployments else "",
            users=seen.users.get(name, 0),
            whole=seen.whole.get(name),
            accuracy=seen.accuracy.get(name),
        )
        for name in (*named, *gone[: max(0, MOST_VERSIONS - len(named))])
    )


def _role(endpoint: Endpoint, name: str) -> Role:
    if name not in endpoint.deployments:
        return "gone"
    if name == endpoint.route.stable:
        return "stable"
    if endpoint.route.mirror and endpoint.route.mirror.deployment == name:
        return "shadow"
    return "canary" if endpoint.route.weights.get(name, 0) else "beside"


def drift_runs(folder: Path, *, page: Path) -> tuple[tuple[DriftRun, ...], tuple[str, ...]]:
    """The newest looks of the drift job that lie in ``folder``, and what could not be read."""
    found: list[DriftRun] = []
    unread = []
    for path in sorted(folder.glob(f"*/{DECISION_FILE}"), reverse=True)[:MOST_RUNS]:
        try:
            found.append(
                _run(
                    codec.decode(DriftRecord, path.read_text(encoding="utf-8")),
                    sorted(path.parent.glob("*.html")),
                    page,
                )
            )
        except (OSError, ValueError, ConfigError) as error:
            unread.append(f"{path.parent.name}/{path.name} is left out: {' '.join(str(error).split())}")
    return tuple(found), tuple(unread)


def committed_runs(changes: Sequence[Change]) -> tuple[DriftRun, ...]:
    """The looks that led to a commit: its evidence is the whole record."""
    found = []
    for change in changes:
        try:
            found.append(_run(codec.decode(DriftRecord, change.evidence)))
        except ConfigError:  # the evidence of another kind of decision, or none
            continue
    return tuple(found)


def _merged(*sources: Sequence[DriftRun]) -> tuple[DriftRun, ...]:
    """Newest first, each look once; where both tell of one, the first source does."""
    found = {run.time: run for source in reversed(sources) for run in source}
    return tuple(found[time] for time in sorted(found, reverse=True))[:MOST_RUNS]


def _run(record: DriftRecord, drawn: Sequence[Path] = (), page: Path = Path()) -> DriftRun:
    return DriftRun(
        time=datetime.fromisoformat(record.evidence.window.until),
        headline=verdicts.headline(record.decision),
        reasons=tuple(reason.text for reason in record.decision.reasons),
        scores={(s.arm, s.feature): s.effect for s in record.evidence.shifts if s.against == "reference"},
        links=tuple(os.path.relpath(path, page.parent) for path in drawn),
    )
