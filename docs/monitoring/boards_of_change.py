"""The dashboards about what changes: a rollout, and the inputs and labels."""

from typing import Final

from board import ENDPOINT, STAGE, VERSION, Dashboard, Panel, Query, failed_attempts, quantile, split

ROLLOUT: Final = Dashboard(
    name="rollout",
    title="modelserve: rollout",
    about="Where a canary stands, beside its stable on the same traffic.",
    variables=["stage", "endpoint"],
    panels=[
        split(ENDPOINT, is_stacked=True),
        Panel(
            title="Phase",
            about="As the route's annotations say it.",
            queries=[
                Query(expr=f"modelserve_rollout_phase{{{ENDPOINT}}} == 1", legend="{{stage}} {{endpoint}} {{phase}}")
            ],
        ),
        Panel(
            title="Last decision",
            about="The newest commit on each endpoint, and what it did.",
            queries=[
                Query(
                    expr=f"modelserve_last_decision_timestamp_seconds{{{ENDPOINT}}} * 1000",
                    legend="{{stage}} {{endpoint}} {{action}} {{commit}}",
                )
            ],
            unit="dateTimeFromNow",
            kind="stat",
            height=6,
        ),
        Panel(
            title="On this step or in this phase",
            about="How long it has stood there.",
            queries=[
                Query(
                    expr=f"time() - modelserve_rollout_since_timestamp_seconds{{{ENDPOINT}}}",
                    legend="{{stage}} {{endpoint}}",
                ),
            ],
            unit="s",
            kind="stat",
            height=6,
            limit=86400,
        ),
        Panel(
            title="Failed attempts, canary beside stable",
            about="By the gateway's log. Decisions count users, and wait until they are certain.",
            queries=[Query(expr=failed_attempts(ENDPOINT), legend="{{stage}} {{deployment}}")],
            unit="percentunit",
            limit=0.05,
        ),
        Panel(
            title="Latency beside stable, 99th percentile",
            about="Inside the Bentos.",
            queries=[
                Query(
                    expr=quantile(0.99, "model_prediction_latency_seconds", ENDPOINT, "stage, model_version"),
                    legend="{{stage}} {{model_version}}",
                )
            ],
            unit="s",
            limit=0.1,
        ),
        Panel(
            title="Requests of each version",
            about="Attempts per second: the split as users make it.",
            queries=[
                Query(
                    expr="sum by (stage, deployment)"
                    f" (rate(modelserve_attempts_total{{{ENDPOINT}}}[$__rate_interval]))",
                    legend="{{stage}} {{deployment}}",
                )
            ],
            unit="reqps",
            is_stacked=True,
        ),
        Panel(
            title="Ready processes",
            about="A canary with weight and none of them is dead; its users are answered by stable.",
            queries=[
                Query(expr=f"modelserve_deployment_ready_workers{{{ENDPOINT}}}", legend="{{stage}} {{deployment}}")
            ],
        ),
    ],
)

DRIFT: Final = Dashboard(
    name="drift",
    title="modelserve: drift and accuracy",
    about="What the drift and label jobs found, by version. Computed once by the job, not by the servers.",
    variables=["stage", "model_version"],
    panels=[
        Panel(
            title="Drift by feature",
            about="Effect against the training sample, 0 alike to 1. From 0.1 on it matters; the alert waits for 0.2.",
            queries=[
                Query(
                    expr=f"feature_drift_score{{{VERSION}}}",
                    legend="{{stage}} {{model_version}} {{feature_name}} ({{method}})",
                )
            ],
            limit=0.1,
        ),
        Panel(
            title="Strongest now",
            about="The ten features that moved most.",
            queries=[
                Query(
                    expr=f"topk(10, feature_drift_score{{{VERSION}}})",
                    legend="{{stage}} {{model_version}} {{feature_name}}",
                )
            ],
            kind="table",
        ),
        Panel(
            title="Accuracy, or error of numbers",
            about="Of predictions whose label has matured, by window.",
            queries=[
                Query(expr=f"model_accuracy{{{VERSION}}}", legend="{{stage}} {{model_version}} {{time_window}}"),
                Query(
                    expr=f"model_absolute_error{{{VERSION}}}",
                    legend="{{stage}} {{model_version}} {{time_window}} error",
                ),
            ],
        ),
        Panel(
            title="Labelled predictions",
            about="Right and wrong, so far.",
            queries=[
                Query(
                    expr=f"sum by (stage, model_version, outcome) (model_labelled_predictions_total{{{VERSION}}})",
                    legend="{{stage}} {{model_version}} {{outcome}}",
                )
            ],
        ),
        Panel(
            title="Age of the evidence",
            about="Since a job last looked. Old evidence is no evidence.",
            queries=[
                Query(
                    expr=f"time() - model_evidence_timestamp_seconds{{{STAGE}}}",
                    legend="{{stage}} {{endpoint}} {{source}}",
                )
            ],
            unit="s",
            limit=172800,
        ),
        Panel(
            title="Predicted classes",
            about="Shares of what is answered: they move before labels arrive.",
            queries=[
                Query(
                    expr="sum by (stage, model_version, prediction_class)"
                    f' (rate(model_predictions_total{{{VERSION},status="success"}}[$__rate_interval]))',
                    legend="{{stage}} {{model_version}} {{prediction_class}}",
                )
            ],
            unit="reqps",
            is_stacked=True,
        ),
    ],
)
