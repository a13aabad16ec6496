"""From what the agent knows to the samples of :data:`~.families.OF_AGENT` and :data:`~.families.OF_EVIDENCE`. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, get_args

from mlflow_deploy_plugin.agent.metrics.decisions import Decision
from mlflow_deploy_plugin.agent.metrics.discovery import Bento
from mlflow_deploy_plugin.agent.metrics.evidence import Evidence
from mlflow_deploy_plugin.agent.metrics.families import OF_EVIDENCE, Sample, metric
from mlflow_deploy_plugin.agent.status import AgentStatus, Phase
from mlflow_deploy_plugin.manifests.model import Route
from mlflow_deploy_plugin.spec.names import TOTAL_WEIGHT

if TYPE_CHECKING:
    from prometheus_client.core import Metric

ROLLOUT_PHASES: Final = ("none", "progressing", "approved", "frozen", "aborted", "inconclusive", "successful", "other")
OUTCOMES: Final = ("success", "failed", "abandoned")
SHORT: Final = 12
"""Characters of a commit in a label."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The agent's state after one turn; the exporter's threads read it while the next one is made."""

    status: AgentStatus
    routes: Mapping[str, Route] = field(default_factory=dict)
    """Of the endpoints that are served."""
    wanted: Mapping[str, int] = field(default_factory=dict)
    """Processes by deployment."""
    restarts: Mapping[str, int] = field(default_factory=dict)
    """By deployment, since the agent began."""
    bentos: tuple[Bento, ...] = ()
    """Processes that have been ready."""
    decisions: Mapping[str, Decision] = field(default_factory=dict)
    verdicts: Mapping[str, int] = field(default_factory=dict)
    """Commits by outcome, since the agent began."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempts:
    """The gateway's attempts since the agent began."""

    outcomes: Mapping[tuple[str, str, str], int] = field(default_factory=dict)
    """By endpoint, deployment and outcome."""
    dropped: int = 0


Families = Iterator[tuple[str, Iterable[Sample]]]


def collect(snapshot: Snapshot, attempts: Attempts, evidence: Iterable[Evidence] = ()) -> "list[Metric]":
    """Every family as prometheus_client collects it, each once; one without samples is left out."""
    found: dict[str, list[Sample]] = {}
    for part in (
        _agent(snapshot),
        _deployments(snapshot, attempts),
        _rollouts(snapshot),
        _evidence(snapshot, evidence),
    ):
        for name, samples in part:
            found.setdefault(name, []).extend(samples)
    return [metric(name, samples) for name, samples in found.items() if samples]


def _agent(snapshot: Snapshot) -> Families:
    status = snapshot.status
    yield "modelserve_agent_info", [((status.version,), 1)]
    yield "modelserve_agent_phase", [((phase,), float(phase == status.phase)) for phase in get_args(Phase)]
    yield "modelserve_commit_applied", [((), float(status.commit == status.applied))]
    yield "modelserve_commit_refused", [((), float(status.refused is not None))]
    refused = status.refused.commit if status.refused else ""
    commits = {"seen": status.commit, "applied": status.applied, "refused": refused}
    yield "modelserve_commit_info", [((state, sha[:SHORT]), 1) for state, sha in commits.items() if sha]
    yield "modelserve_commits_total", [((one,), snapshot.verdicts.get(one, 0)) for one in ("applied", "refused")]
    endpoints = status.endpoints.items()
    yield "modelserve_endpoint_info", [((name, one.commit[:SHORT], one.stable), 1) for name, one in endpoints]
    names = dict.fromkeys((*status.endpoints, *status.failing))
    yield "modelserve_endpoint_refused", [((name,), float(name in status.failing)) for name in names]


def _deployments(snapshot: Snapshot, attempts: Attempts) -> Families:
    status = snapshot.status
    weights = {name: weight for route in snapshot.routes.values() for name, weight in route.weights.items()}
    shadows = {route.mirror.deployment: route.mirror.share for route in snapshot.routes.values() if route.mirror}
    served = {name: one for name, one in status.deployments.items() if one.endpoint}
    for name, one in served.items():
        labels = (one.endpoint, name)
        ready = sum(worker.state == "ready" for worker in one.workers)
        yield "modelserve_deployment_weight_ratio", [(labels, weights.get(name, 0) / TOTAL_WEIGHT)]
        yield "modelserve_deployment_shadow_ratio", [(labels, shadows.get(name, 0) / TOTAL_WEIGHT)]
        yield "modelserve_deployment_wanted_workers", [(labels, snapshot.wanted.get(name, 0))]
        yield "modelserve_deployment_ready_workers", [(labels, ready)]
        yield "modelserve_worker_restarts_total", [(labels, snapshot.restarts.get(name, 0))]
        counted = [((*labels, outcome), attempts.outcomes.get((*labels, outcome), 0)) for outcome in OUTCOMES]
        yield "modelserve_attempts_total", counted
    yield "modelserve_attempts_dropped_total", [((), attempts.dropped)]


def _rollouts(snapshot: Snapshot) -> Families:
    for name, route in snapshot.routes.items():
        phase = (route.phase if route.phase in ROLLOUT_PHASES else "other") if route.phase else "none"
        yield "modelserve_rollout_active", [((name,), float(bool(route.rollout)))]
        yield "modelserve_rollout_phase", [((name, one), float(one == phase)) for one in ROLLOUT_PHASES]
        yield "modelserve_rollout_step", [((name,), route.step)]
        if route.since is not None:
            yield "modelserve_rollout_since_timestamp_seconds", [((name,), route.since.timestamp())]
    for name, one in snapshot.decisions.items():
        labels = (name, one.action, one.commit[:SHORT])
        yield "modelserve_last_decision_timestamp_seconds", [(labels, one.time.timestamp())]


def _evidence(snapshot: Snapshot, evidence: Iterable[Evidence]) -> Families:
    """What the jobs left, of the endpoints and deployments that are served now."""
    deployments = snapshot.status.deployments.items()
    for left in evidence:
        if left.stage != snapshot.status.stage or left.endpoint not in snapshot.routes:
            continue
        yield "model_evidence_timestamp_seconds", [((left.endpoint, left.source), left.time.timestamp())]
        served = {name for name, one in deployments if one.endpoint == left.endpoint}  # another's may bear the name now
        for name, samples in left.samples.items():
            at = OF_EVIDENCE[name].labels.index("model_version")
            yield name, [(labels, value) for labels, value in samples if labels[at] in served]
