"""The SQL of the event store. ``{attempts}``, ``{predictions}`` and ``{labels}`` stand for scans of the files.

The unit is the user: ``unit`` is the user id, or the request id where none was given. A user belongs to the arm that
the split assigned first within the window; overrides are assigned by nobody and stay out of comparisons.
"""

from typing import Final

UNIT: Final = "coalesce(nullif(user_id, ''), request_id)"

FAILED: Final = "(flags NOT IN ('', 'DC') OR status >= 500 OR status = 429)"
"""No answer, a cut one, a failure of the model (MF where its protocol says 4xx), or a refusal for want of capacity.
A client that left (DC) and its own 4xx are no failures."""

ANSWERED: Final = f"(deployment = assigned AND status BETWEEN 200 AND 499 AND NOT {FAILED})"
"""The arm that was meant answered itself, and not by a refusal."""

USERS: Final = f"""
WITH assigned AS (
    SELECT {UNIT} AS unit, assigned AS arm, min(time) AS seen, arg_min(commit, time) AS commit,
           bool_or({FAILED}) AS has_error
    FROM {{attempts}} WHERE assigned <> '' GROUP BY ALL
), first_arm AS (
    SELECT unit, arg_min(arm, seen) AS arm, min(seen) AS seen, arg_min(commit, seen) AS commit,
           arg_min(has_error, seen) AS has_error, count(*) AS arms
    FROM assigned GROUP BY unit
)
SELECT arm, commit, epoch(min(seen)) AS began, count(*) AS users, count(*) FILTER (has_error) AS users_with_error,
       count(*) FILTER (arms > 1) AS users_moved
FROM first_arm GROUP BY arm, commit ORDER BY began, arm
"""  # noqa: S608  the parts are ours

REQUESTS: Final = f"""
WITH request AS (
    SELECT request_id, any_value(assigned) AS arm, bool_or({FAILED}) AS has_failed,
           arg_max(deployment, attempt) AS answered_by, bool_or(flags = 'DC') AS is_abandoned
    FROM {{attempts}} GROUP BY request_id
)
SELECT arm, count(*) AS requests, count(*) FILTER (has_failed) AS failed,
       count(*) FILTER (answered_by <> arm) AS answered_elsewhere, count(*) FILTER (is_abandoned) AS abandoned
FROM request GROUP BY arm ORDER BY arm
"""  # noqa: S608

# The sample is drawn from the users of all arms together, so that it keeps the split.
LATENCIES: Final = f"""
WITH assigned AS (
    SELECT {UNIT} AS unit, assigned AS arm, min(time) AS seen, arg_min(commit, time) AS commit,
           arg_min(latency_ms, time) FILTER ({ANSWERED}) AS latency_ms, min(time) FILTER ({ANSWERED}) AS answered
    FROM {{attempts}} WHERE assigned <> '' GROUP BY ALL
), first_arm AS (
    SELECT unit, arg_min({{{{'arm': arm, 'commit': commit, 'latency_ms': latency_ms, 'at': answered}}}}, seen) AS it
    FROM assigned GROUP BY unit
)
SELECT it.arm AS arm, it.commit AS commit, it.latency_ms AS latency_ms, epoch(it.at) AS seen
FROM first_arm WHERE list_contains($arms, it.arm) AND it.at IS NOT NULL ORDER BY hash(unit) LIMIT $limit
"""  # noqa: S608

# Nobody can tell a label that will come from one that will not, unless newer ones have come: rows mature by the newest
# label's arrival and not by the clock, so that a feed of labels that stands still does not look like missing labels.
# The first label of a row wins, so that a later contradiction cannot change what a tick has already decided on.
_JOINED: Final = f"""
WITH label AS (
    SELECT request_id, row, arg_min({{{{'label': label, 'text': label_text}}}}, time) AS first, min(time) AS arrived
    FROM {{labels}} GROUP BY request_id, row
), watermark AS (
    SELECT least($as_of, coalesce(max(time), $as_of)) AS moment FROM {{labels}}
), predicted AS (
    SELECT request_id, row, deployment, min({UNIT}) AS unit, min(time) AS time, arg_min({{segment}}, time) AS segment,
           arg_min({{{{'prediction': prediction, 'text': prediction_text}}}}, time) AS first
    FROM {{predictions}} WHERE status = 'success' AND {{population}} GROUP BY request_id, row, deployment
), joined AS (
    SELECT request_id, row, deployment, unit, segment, predicted.time AS time, arrived,
           predicted.first.prediction AS prediction, predicted.first.text AS prediction_text,
           label.first.label AS label, label.first.text AS label_text,
           arrived IS NOT NULL AS has_label,
           $maturity IS NULL OR predicted.time <= watermark.moment - $maturity AS is_mature,
           arrived IS NOT NULL AND ($maturity IS NULL OR arrived <= predicted.time + $maturity) AS is_in_time
    FROM predicted LEFT JOIN label USING (request_id, row) CROSS JOIN watermark
)"""  # noqa: S608

WRONG: Final = "(prediction IS DISTINCT FROM label OR prediction_text IS DISTINCT FROM label_text)"

COVERAGE: Final = f"""{_JOINED}
SELECT deployment, count(*) AS predicted, count(*) FILTER (has_label) AS labelled,
       count(*) FILTER (is_mature) AS mature, count(*) FILTER (is_mature AND is_in_time) AS mature_labelled,
       count(*) FILTER (has_label AND NOT is_in_time) AS late,
       count(DISTINCT unit) FILTER (is_mature) AS users_mature,
       count(DISTINCT unit) FILTER (is_mature AND is_in_time) AS users_labelled,
       count(DISTINCT unit) FILTER (is_mature AND is_in_time AND {WRONG}) AS users_wrong
FROM joined GROUP BY deployment ORDER BY deployment
"""  # noqa: S608

LABELLED: Final = f"""{_JOINED}
SELECT deployment, unit, request_id, row, time, prediction, prediction_text, label, label_text, arrived
FROM joined WHERE is_mature AND is_in_time AND ($deployment IS NULL OR deployment = $deployment)
ORDER BY time DESC, request_id, row LIMIT $limit
"""  # noqa: S608

# One row per deployment, stretch of time and segment; every task's figures at once, :mod:`.accuracy` takes the fitting.
SCORED: Final = f"""{_JOINED}
SELECT deployment, floor(epoch(time) / $every) * $every AS began, segment, count(*) AS predicted,
       count(*) FILTER (is_mature) AS mature, count(*) FILTER (scored) AS labelled,
       count(*) FILTER (scored AND {WRONG}) AS wrong,
       count(*) FILTER (scored AND (prediction >= 0.5) IS DISTINCT FROM (label >= 0.5)) AS wrong_half,
       avg(abs(prediction - label)) FILTER (scored) AS absolute,
       sqrt(avg((prediction - label) * (prediction - label)) FILTER (scored)) AS root_mean_square,
       avg(prediction - label) FILTER (scored) AS bias
FROM (SELECT *, is_mature AND is_in_time AS scored FROM joined)
GROUP BY ALL ORDER BY deployment, began, segment
"""  # noqa: S608

BINS: Final = f"""{_JOINED}
SELECT deployment, floor(epoch(time) / $every) * $every AS began, segment,
       least(floor(prediction * $bins), $bins - 1) AS bin, count(*) AS labelled,
       avg(prediction) AS predicted, avg(label) AS observed
FROM joined WHERE is_mature AND is_in_time AND prediction BETWEEN 0 AND 1
GROUP BY ALL ORDER BY deployment, began, segment, bin
"""  # noqa: S608

# Of each user the first labelled row, oldest users first: a sequence that only grows, as tests at every look ask.
LABELLED_INPUTS: Final = f"""{_JOINED}, chosen AS (
    SELECT * FROM joined WHERE is_mature AND is_in_time AND deployment = $deployment
    QUALIFY row_number() OVER (PARTITION BY unit ORDER BY time, request_id, row) = 1
    ORDER BY time, unit LIMIT $limit
)
SELECT chosen.prediction, chosen.prediction_text, chosen.label, chosen.label_text, {{columns}}
FROM chosen JOIN {{predictions}} AS logged USING (request_id, row, deployment)
WHERE logged.status = 'success' ORDER BY chosen.time, chosen.unit
"""  # noqa: S608

KINDS: Final = f"""{_JOINED}
SELECT count(*) AS labelled, count(*) FILTER (prediction IS NULL OR label IS NULL) AS texts,
       count(*) FILTER (prediction % 1 <> 0 OR label % 1 <> 0) AS fractions,
       count(*) FILTER (label NOT IN (0, 1)) AS labels_beyond_two,
       count(*) FILTER (prediction NOT BETWEEN 0 AND 1) AS predictions_beyond_unit,
       approx_count_distinct(label) AS labels, approx_count_distinct(prediction) AS predictions
FROM joined WHERE is_mature AND is_in_time
"""  # noqa: S608

QUARTILES: Final = """
SELECT quantile_cont(feature, [0.25, 0.5, 0.75]) AS edges, approx_count_distinct(feature) AS kinds
FROM (SELECT {feature} AS feature FROM {predictions} WHERE {population})
"""

# Labels are looked up in every prediction, also those that an error or another population keeps out of the arms.
STRAY: Final = """
WITH label AS (
    SELECT request_id, row, count(*) AS copies,
           count(DISTINCT coalesce(CAST(label AS VARCHAR), label_text)) AS meanings
    FROM {labels} GROUP BY request_id, row
), known AS (SELECT DISTINCT request_id, row FROM {predictions})
SELECT coalesce(sum(copies - 1), 0) AS duplicates, count(*) FILTER (meanings > 1) AS contradictions,
       count(*) FILTER (known.request_id IS NULL) AS unknown, epoch((SELECT max(time) FROM {labels})) AS newest
FROM label LEFT JOIN known USING (request_id, row)
"""

NEWS: Final = """
SELECT min(place) AS place FROM incoming ANTI JOIN {labels} known
ON incoming.request_id = known.request_id AND incoming.row = known.row
   AND incoming.label IS NOT DISTINCT FROM known.label AND incoming.label_text IS NOT DISTINCT FROM known.label_text
GROUP BY incoming.request_id, incoming.row, incoming.label, incoming.label_text ORDER BY place
"""

STRANGERS: Final = """
SELECT count(*) AS strangers FROM incoming ANTI JOIN {predictions} known USING (request_id, row)
"""

SHADOWED: Final = f"""
WITH live AS (
    SELECT request_id, row, min({UNIT}) AS unit, min(time) AS time, bool_or(status <> 'success') AS has_failed,
           arg_min(prediction, time) AS prediction, arg_min(prediction_text, time) AS text, min(latency_ms) AS ms
    FROM {{predictions}} WHERE assigned = deployment AND deployment <> $shadow GROUP BY request_id, row
), copy AS (
    SELECT request_id, row, bool_or(status <> 'success') AS has_failed,
           arg_min(prediction, time) AS prediction, arg_min(prediction_text, time) AS text, min(latency_ms) AS ms
    FROM {{predictions}} WHERE deployment = $shadow AND assigned NOT IN ('', $shadow) GROUP BY request_id, row
), pair AS (
    SELECT unit, request_id, min(live.time) AS time, bool_or(live.has_failed) AS live_failed,
           bool_or(copy.has_failed) AS copy_failed, max(live.ms) AS live_ms, max(copy.ms) AS copy_ms,
           bool_or(CASE WHEN live.prediction IS NOT NULL AND copy.prediction IS NOT NULL
                   THEN abs(live.prediction - copy.prediction) > $tolerance
                   ELSE live.prediction IS DISTINCT FROM copy.prediction
                        OR live.text IS DISTINCT FROM copy.text END) AS differs
    FROM live JOIN copy USING (request_id, row) GROUP BY unit, request_id
)
SELECT epoch(min(time)) AS seen, arg_min(live_failed, time) AS live_failed, arg_min(copy_failed, time) AS copy_failed,
       arg_min(differs, time) AS differs, arg_min(live_ms, time) AS live_ms, arg_min(copy_ms, time) AS copy_ms
FROM pair GROUP BY unit ORDER BY hash(unit) LIMIT $limit
"""  # noqa: S608
"""One row per user: the first of their requests that a live version and the one in the shadow both predicted."""

COPIES: Final = """
SELECT count(DISTINCT request_id) FILTER (assigned = deployment AND deployment <> $shadow) AS live,
       count(DISTINCT request_id) FILTER (deployment = $shadow AND assigned NOT IN ('', $shadow)) AS copies
FROM {predictions}
"""

FEATURES: Final = """
SELECT {columns} FROM {predictions} {chosen}
WHERE ($deployment IS NULL OR deployment = $deployment) AND {population}
ORDER BY {order}, request_id, row LIMIT $limit
"""

ONE_PER_UNIT: Final = f"""SEMI JOIN (
    SELECT deployment, arg_min(request_id, time) AS request_id, 0 AS row
    FROM {{predictions}} WHERE {{population}} GROUP BY deployment, {UNIT}
) USING (deployment, request_id, row)"""  # noqa: S608

POPULATIONS: Final = {
    "split": "assigned = deployment",
    "all": "true",
}
"""``split``: rows that the split meant for their deployment; ``all``: overrides, fallbacks, Bentos without gateway."""

ORDERS: Final = {
    "newest": "time DESC",
    "sample": "hash(request_id)",
}
"""Which rows a limit keeps: the newest, or a sample that is the same on every tick."""
