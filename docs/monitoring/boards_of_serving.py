"""The dashboards about what is served now: the fleet, and one model."""

from typing import Final

from board import STAGE, VERSION, Dashboard, Panel, Query, error_ratio, failed_attempts, quantile, split

FLEET: Final = Dashboard(
    name="fleet",
    title="modelserve: fleet",
    about="Is what git says being served, and do all models keep their objectives?",
    variables=["stage"],
    panels=[
        Panel(
            title="Newest commit is served",
            about="The agent has proven by Envoy that users get the newest commit.",
            queries=[Query(expr=f"min by (stage) (modelserve_commit_applied{{{STAGE}}})", legend="{{stage}}")],
            unit="bool_yes_no",
            kind="stat",
            width=6,
            height=4,
        ),
        Panel(
            title="Newest commit is refused",
            about="It breaks a rule or cannot be brought to life; the last good one serves.",
            queries=[Query(expr=f"max by (stage) (modelserve_commit_refused{{{STAGE}}})", legend="{{stage}}")],
            unit="bool_yes_no",
            kind="stat",
            width=6,
            height=4,
        ),
        Panel(
            title="Alerts that fire",
            about="Of the rules in gitops/observability/rules.",
            queries=[Query(expr='count(ALERTS{alertstate="firing"}) or vector(0)', legend="alerts")],
            kind="stat",
            width=6,
            height=4,
            limit=0.5,
        ),
        Panel(
            title="Commits served",
            about="Commits that were brought to life, and those that were refused, since the agent began.",
            queries=[
                Query(
                    expr=f"sum by (stage, outcome) (modelserve_commits_total{{{STAGE}}})",
                    legend="{{stage}} {{outcome}}",
                )
            ],
            kind="stat",
            width=6,
            height=4,
        ),
        Panel(
            title="Predictions",
            about="Rows predicted and requests failed, per second.",
            queries=[
                Query(
                    expr=f"sum by (stage, model_version) (rate(model_predictions_total{{{STAGE}}}[$__rate_interval]))",
                    legend="{{stage}} {{model_version}}",
                )
            ],
            unit="reqps",
        ),
        Panel(
            title="Error ratio",
            about="Objective: at most 0.1 % of the requests fail.",
            queries=[Query(expr=error_ratio(STAGE), legend="{{stage}} {{model_version}}")],
            unit="percentunit",
            limit=0.001,
        ),
        Panel(
            title="Latency, 99th percentile",
            about="Inside the Bento, from the request received to its answer encoded. Objective: 100 ms.",
            queries=[
                Query(
                    expr=quantile(0.99, "model_prediction_latency_seconds", STAGE, "stage, model_version"),
                    legend="{{stage}} {{model_version}}",
                )
            ],
            unit="s",
            limit=0.1,
        ),
        Panel(
            title="Failed attempts",
            about="By the gateway's log: a process that is dead counts here, and nowhere in its own metrics.",
            queries=[Query(expr=failed_attempts(STAGE), legend="{{stage}} {{deployment}}")],
            unit="percentunit",
            limit=0.05,
        ),
        split(STAGE, is_stacked=False),
        Panel(
            title="Processes",
            about="Ready ones, and how many the tree asks for.",
            queries=[
                Query(expr=f"modelserve_deployment_ready_workers{{{STAGE}}}", legend="{{stage}} {{deployment}} ready"),
                Query(
                    expr=f"modelserve_deployment_wanted_workers{{{STAGE}}}", legend="{{stage}} {{deployment}} wanted"
                ),
            ],
        ),
        Panel(
            title="Answers of the gateway",
            about="What clients got, by class of status.",
            queries=[
                Query(
                    expr="sum by (envoy_response_code_class)"
                    f" (rate(envoy_http_downstream_rq_xx{{{STAGE}}}[$__rate_interval]))",
                    legend="{{envoy_response_code_class}}xx",
                )
            ],
            unit="reqps",
        ),
        Panel(
            title="Restarts and lost evidence",
            about="Processes that ended unasked, and rows that the logs lost, per hour.",
            queries=[
                Query(
                    expr=f"sum by (stage, deployment) (increase(modelserve_worker_restarts_total{{{STAGE}}}[1h]))",
                    legend="{{stage}} {{deployment}} restarts",
                ),
                Query(
                    expr=f"sum by (stage) (increase(modelserve_attempts_dropped_total{{{STAGE}}}[1h]))",
                    legend="{{stage}} attempts lost",
                ),
                Query(
                    expr=f"sum by (stage, model_version, reason) (increase(model_log_dropped_total{{{STAGE}}}[1h]))",
                    legend="{{stage}} {{model_version}} {{reason}}",
                ),
            ],
        ),
    ],
)

MODEL: Final = Dashboard(
    name="model",
    title="modelserve: one model",
    about="Where one version spends its time and what it answers.",
    variables=["stage", "model_version"],
    panels=[
        Panel(
            title="Predictions by class and status",
            about="Rows per second. Classes come from the model's own list; anything else is other.",
            queries=[
                Query(
                    expr="sum by (prediction_class, status)"
                    f" (rate(model_predictions_total{{{VERSION}}}[$__rate_interval]))",
                    legend="{{status}} {{prediction_class}}",
                )
            ],
            unit="reqps",
        ),
        Panel(
            title="Error budget burnt",
            about="1 burns the budget of 0.1 % exactly; alerts page at 14.4 over an hour and 6 over six hours.",
            queries=[
                Query(
                    expr=f"model:error_ratio:rate1h{{{VERSION}}} / 0.001", legend="{{stage}} {{model_version}} over 1 h"
                ),
                Query(
                    expr=f"model:error_ratio:rate6h{{{VERSION}}} / 0.001", legend="{{stage}} {{model_version}} over 6 h"
                ),
            ],
            limit=6,
        ),
        Panel(
            title="Latency",
            about="Inside the Bento: median, 90th and 99th percentile. Objective: 99 % within 100 ms.",
            queries=[
                Query(
                    expr=quantile(share, "model_prediction_latency_seconds", VERSION, "stage, model_version"),
                    legend=f"{{{{stage}}}} {{{{model_version}}}} p{share * 100:g}",
                )
                for share in (0.5, 0.9, 0.99)
            ],
            unit="s",
            limit=0.1,
        ),
        Panel(
            title="Latency, all of it",
            about="Requests by how long they took.",
            queries=[
                Query(
                    expr="sum by (le)"
                    f" (increase(model_prediction_latency_seconds_bucket{{{VERSION}}}[$__rate_interval]))",
                    legend="{{le}}",
                )
            ],
            unit="s",
            kind="heatmap",
        ),
        Panel(
            title="Where the time goes, 99th percentile",
            about="Waiting for the model, one call of the model, decoding and encoding.",
            queries=[
                Query(
                    expr=quantile(0.99, f"model_{step}_seconds", VERSION, "stage, model_version"),
                    legend=f"{{{{stage}}}} {{{{model_version}}}} {step}",
                )
                for step in ("queue", "compute", "codec")
            ],
            unit="s",
        ),
        Panel(
            title="Rows of one call",
            about="What adaptive batching joins, on average.",
            queries=[
                Query(
                    expr=f"sum by (stage, model_version) (rate(model_batch_rows_sum{{{VERSION}}}[$__rate_interval]))"
                    f" / sum by (stage, model_version) (rate(model_batch_rows_count{{{VERSION}}}[$__rate_interval]))",
                    legend="{{stage}} {{model_version}}",
                )
            ],
            unit="rows",
        ),
        Panel(
            title="Requests by protocol and status",
            about="Per second, as the Bento answered them.",
            queries=[
                Query(
                    expr=f"sum by (protocol, code) (rate(model_requests_total{{{VERSION}}}[$__rate_interval]))",
                    legend="{{protocol}} {{code}}",
                )
            ],
            unit="reqps",
        ),
        Panel(
            title="Requests without a prediction",
            about="By reason, per second; those that the client can mend are no errors of the model.",
            queries=[
                Query(
                    expr=f"sum by (reason) (rate(model_rejected_total{{{VERSION}}}[$__rate_interval]))",
                    legend="{{reason}}",
                )
            ],
            unit="reqps",
        ),
        Panel(
            title="At this moment",
            about="Requests that are being answered, rows that wait, processes that are ready.",
            queries=[
                Query(
                    expr=f"sum by (stage, model_version) (model_in_flight{{{VERSION}}})",
                    legend="{{stage}} {{model_version}} in flight",
                ),
                Query(
                    expr=f"sum by (stage, model_version) (model_waiting_rows{{{VERSION}}})",
                    legend="{{stage}} {{model_version}} rows that wait",
                ),
                Query(
                    expr=f"sum by (stage, model_version) (model_ready{{{VERSION}}})",
                    legend="{{stage}} {{model_version}} processes ready",
                ),
            ],
        ),
        Panel(
            title="Attempts at it",
            about="By the gateway's log, per second.",
            queries=[
                Query(
                    expr="sum by (outcome) (rate(modelserve_attempts_total"
                    f'{{{STAGE},deployment=~"$model_version"}}[$__rate_interval]))',
                    legend="{{outcome}}",
                )
            ],
            unit="reqps",
        ),
    ],
)
