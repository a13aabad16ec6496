"""What a dashboard is made of, and the queries that several panels share. Values only."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

Unit = Literal["short", "reqps", "percentunit", "s", "ms", "dateTimeFromNow", "bool_yes_no", "rows"]
Kind = Literal["timeseries", "stat", "heatmap", "table"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """One query and how its series are called."""

    expr: str
    legend: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One picture."""

    title: str
    about: str
    queries: Sequence[Query]
    unit: Unit = "short"
    kind: Kind = "timeseries"
    width: int = 12
    height: int = 8
    limit: float | None = None
    """Figures above it are drawn red."""
    is_stacked: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Dashboard:
    """One page; ``variables`` are asked for in this order."""

    name: str
    title: str
    about: str
    variables: Sequence[str]
    panels: Sequence[Panel]


VARIABLES: Final = {
    "stage": "label_values(modelserve_commit_applied, stage)",
    "endpoint": 'label_values(modelserve_deployment_weight_ratio{stage=~"$stage"}, endpoint)',
    "model_version": 'label_values(model_predictions_total{stage=~"$stage"}, model_version)',
}
STAGE: Final = 'stage=~"$stage"'
VERSION: Final = f'{STAGE},model_version=~"$model_version"'
ENDPOINT: Final = f'{STAGE},endpoint=~"$endpoint"'


def quantile(share: float, metric: str, labels: str, by: str) -> str:
    """A quantile of a histogram, buckets summed over processes first."""
    return f"histogram_quantile({share}, sum by ({by}, le) (rate({metric}_bucket{{{labels}}}[$__rate_interval])))"


def error_ratio(labels: str) -> str:
    """Share of the requests that failed, by version; a batch is one request."""
    return (
        f'sum by (stage, model_version) (rate(model_predictions_total{{{labels},status="error"}}[$__rate_interval]))'
        f" / sum by (stage, model_version) (rate(model_prediction_latency_seconds_count{{{labels}}}[$__rate_interval]))"
    )


def failed_attempts(labels: str) -> str:
    """Share of the gateway's attempts that failed, by deployment."""
    return (
        f'sum by (stage, deployment) (rate(modelserve_attempts_total{{{labels},outcome="failed"}}[$__rate_interval]))'
        f" / sum by (stage, deployment) (rate(modelserve_attempts_total{{{labels}}}[$__rate_interval]))"
    )


def split(labels: str, *, is_stacked: bool) -> Panel:
    """The weights over time; those of one endpoint may be stacked to a whole."""
    return Panel(
        title="Split",
        about="Share of the users that each deployment is dealt. A commit changes it; the markers are commits.",
        queries=[
            Query(
                expr=f"modelserve_deployment_weight_ratio{{{labels}}}", legend="{{stage}} {{endpoint}} {{deployment}}"
            )
        ],
        unit="percentunit",
        is_stacked=is_stacked,
    )
