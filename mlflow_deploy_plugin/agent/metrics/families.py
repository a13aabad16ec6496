"""Every series that the agent exposes: name, kind, labels and what it means. Values and builders; no I/O.

Labels are bounded: deployments, endpoints and decisions are those that are served now, and what a commit may say freely
is cut to known words. Units are in the names; shares are ratios from 0 to 1.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from prometheus_client.core import Metric

Kind = Literal["counter", "gauge"]

Sample = tuple[Sequence[str], float]
"""Label values in the family's order, and the value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One metric."""

    name: str
    kind: Kind
    about: str
    labels: tuple[str, ...] = ()


def _by_name(*families: Family) -> Mapping[str, Family]:
    return {family.name: family for family in families}


def _gauge(name: str, about: str, *labels: str) -> Family:
    return Family(name=name, kind="gauge", about=about, labels=labels)


def _counter(name: str, about: str, *labels: str) -> Family:
    return Family(name=name, kind="counter", about=about, labels=labels)


OF_AGENT: Final = _by_name(
    _gauge("modelserve_agent_info", "The agent that answers, always 1", "version"),
    _gauge("modelserve_agent_phase", "1 for the phase that the agent is in", "phase"),
    _gauge("modelserve_commit_applied", "Whether the newest commit is what users get"),
    _gauge("modelserve_commit_refused", "Whether the newest commit is refused, wholly or in part"),
    _gauge("modelserve_commit_info", "Commit seen last, served whole last, refused; always 1", "state", "commit"),
    _counter("modelserve_commits_total", "Commits by what became of them, since the agent began", "outcome"),
    _gauge("modelserve_endpoint_info", "Commit and stable of the split, always 1", "endpoint", "commit", "stable"),
    _gauge("modelserve_endpoint_refused", "Whether the newest state of the endpoint is refused", "endpoint"),
    _gauge("modelserve_deployment_weight_ratio", "Share of the users that the split deals", "endpoint", "deployment"),
    _gauge(
        "modelserve_deployment_shadow_ratio",
        "Share of the split's requests that it is sent copies of",
        *("endpoint", "deployment"),
    ),
    _gauge("modelserve_deployment_wanted_workers", "Processes that the tree asks for", "endpoint", "deployment"),
    _gauge("modelserve_deployment_ready_workers", "Processes that answer their readiness", "endpoint", "deployment"),
    _counter("modelserve_worker_restarts_total", "Processes that ended unasked", "endpoint", "deployment"),
    _counter(
        "modelserve_attempts_total",
        "Attempts of the gateway, those at a dead process included",
        *("endpoint", "deployment", "outcome"),
    ),
    _counter("modelserve_attempts_dropped_total", "Lines of the gateway's log that no attempt could be read from"),
    _gauge("modelserve_rollout_active", "Whether a rollout runs", "endpoint"),
    _gauge("modelserve_rollout_phase", "1 for the phase of the rollout", "endpoint", "phase"),
    _gauge("modelserve_rollout_step", "Step of the plan, from 0", "endpoint"),
    _gauge("modelserve_rollout_since_timestamp_seconds", "When the phase or step began", "endpoint"),
    _gauge(
        "modelserve_last_decision_timestamp_seconds",
        "When the newest commit on the endpoint was made, and what it did",
        *("endpoint", "action", "commit"),
    ),
)  # fmt: skip
"""What the agent knows itself."""

OF_EVIDENCE: Final = _by_name(
    _gauge("model_accuracy", "Share of matured labels that agree", "model_version", "time_window"),
    _gauge("model_accuracy_labels", "Matured labels that the accuracy is made of", "model_version", "time_window"),
    _counter(
        "model_labelled_predictions_total",
        "Predictions of the last 90 days whose label has matured; it falls as older ones leave",
        *("model_version", "outcome"),
    ),
    _gauge(
        "feature_drift_score",
        "Effect from 0 to 1 between the logged inputs and the training sample",
        *("model_version", "feature_name", "method"),
    ),
    _gauge(
        "feature_drift_q_value",
        "Whether chance alone makes such an effect: the p-value after the false-discovery-rate correction",
        *("model_version", "feature_name", "method"),
    ),
    _gauge("model_absolute_error", "Mean absolute error of matured labels", "model_version", "time_window"),
    _gauge("model_evidence_timestamp_seconds", "When the job last looked", "endpoint", "source"),
)
"""What the drift and label jobs computed, once, and left in the home."""

FAMILIES: Final[Mapping[str, Family]] = {**OF_AGENT, **OF_EVIDENCE}


def metric(name: str, samples: Iterable[Sample]) -> "Metric":
    """The samples of one family as prometheus_client collects them.

    Raises:
        KeyError: nobody declared a family of that name.
        ValueError: a sample has other labels than its family.
    """
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily  # noqa: PLC0415  off the agent's start

    family = FAMILIES[name]
    build = CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily
    made = build(name, f"{family.about}.", labels=family.labels)
    for labels, value in samples:
        if len(labels) != len(family.labels):
            raise ValueError(f"{name} has labels {', '.join(family.labels)}, not {labels}")
        made.add_metric(list(labels), value)
    return made
