"""The SQL of labels beside predictions. ``{predictions}`` and ``{labels}`` stand for scans of the files.

A row of a request is known by the hash of its request id and number, a user by the hash of their id, a text by its
own: all that a query must remember of a row has a fixed size, so DuckDB can put it on disk when there is much of it.
Among 10⁸ rows the chance that two share one of 2⁶⁴ hashes is 0.03 %.
"""

from typing import Final

from pipelines.analysis.checks import LARGEST
from pipelines.monitoring.event_queries import UNIT, best, place_of, plain

KEY: Final = "hash(request_id, row)"
NO_SEGMENT: Final = "NULL::VARCHAR"


FIRST_SEGMENT: Final = "arg_min_null(segment, time)"
"""Of a prediction that was logged more than once."""

_IS_WRONG: Final = """CASE WHEN prediction IS NOT NULL AND label IS NOT NULL THEN prediction <> label
                WHEN prediction_text IS NOT NULL AND label_text IS NOT NULL THEN prediction_text <> label_text END"""


def _meaning(text: str) -> str:
    return f"CASE WHEN {text} IS NOT NULL THEN hash({plain(text)}) END"


def _adds_up(*numbers: str) -> str:
    """Whether all are numbers whose squares can be added up: to DuckDB a NaN is greater than every number."""
    return "(" + " AND ".join(f"abs({number}) <= {LARGEST!r}" for number in numbers) + ")"


def _is_fraction(number: str) -> str:
    return f"({number} % 1 <> 0 AND {_adds_up(number)})"


def _mature(time: str) -> str:
    return f"($maturity IS NULL OR {time} <= watermark.moment - $maturity)"


# -- what is remembered for a window and a cut, one step after the other: each fits into little memory ---------------

# Nobody can tell a label that will come from one that will not, unless newer ones have come: rows mature by the newest
# label's arrival and not by the clock, so that a feed of labels that stands still does not look like missing labels.
WATERMARK: Final = "SELECT least($as_of, coalesce(max(time), $as_of)) AS moment FROM {arrivals}"
"""Over labels whose newest is the newest of all, also of those that came before the window."""

# Among labels of one moment a fixed one: the order in which DuckDB's threads find them is another at each look.
_FIRST: Final = place_of("hash(label, label_text)")

# The first label of a row wins, so that a later contradiction cannot change what a tick has already decided on.
LABEL: Final = f"""
SELECT {KEY} AS key, arg_min_null(label, {_FIRST}) AS label,
       arg_min_null({_meaning("label_text")}, {_FIRST}) AS label_text, min(time) AS arrived
FROM {{labels}} GROUP BY key
"""  # noqa: S608  the parts are ours

# An answer that scores each class means the best of them, where the label is a class by number.
MATCHED: Final = f"""
SELECT key, deployment, unit, time, segment,
       CASE WHEN label IS NOT NULL THEN coalesce(prediction, best) ELSE prediction END AS prediction,
       CASE WHEN label IS NULL OR best IS NULL THEN prediction_text END AS prediction_text, label, label_text, arrived
FROM (SELECT {KEY} AS key, deployment, hash({UNIT}) AS unit, time, {{segment}} AS segment, prediction,
             {best("prediction_text")} AS best, {_meaning("prediction_text")} AS prediction_text
      FROM {{predictions}} WHERE status = 'success' AND {{population}}) AS logged
JOIN label USING (key)
"""  # noqa: S608

JOINED: Final = f"""
SELECT key, deployment, min(unit) AS unit, min(matched.time) AS time, {{first_segment}} AS segment,
       arg_min_null(prediction, matched.time) AS prediction,
       arg_min_null(prediction_text, matched.time) AS prediction_text,
       any_value(label) AS label, any_value(label_text) AS label_text, any_value(arrived) AS arrived,
       {_mature("min(matched.time)")} AS is_mature,
       $maturity IS NULL OR any_value(arrived) <= min(matched.time) + $maturity AS is_in_time
FROM matched CROSS JOIN watermark GROUP BY key, deployment, watermark.moment
"""  # noqa: S608

STEPS: Final = {"watermark": WATERMARK, "label": LABEL, "matched": MATCHED, "joined": JOINED}
"""Tables by name, in order; ``matched`` is needed for ``joined`` alone."""

_LOGGED: Final = f"""(
    SELECT {KEY} AS key, hash(deployment) AS arm, min(time) AS time, {{first_segment}} AS segment
    FROM (SELECT *, {{segment}} AS segment FROM {{predictions}} WHERE status = 'success' AND {{population}})
    WHERE key % {{slices}} = {{number}} GROUP BY key, arm
)"""  # noqa: S608
"""Every prediction once, though it was logged twice: those of one slice."""

WRONG: Final = "(prediction IS DISTINCT FROM label OR prediction_text IS DISTINCT FROM label_text)"

# -- of all predictions, slice by slice: what slices answer is added up, and each fits into little memory ------------

SIZE: Final = "SELECT count(*) AS size FROM {predictions}"

LOGGED_BY_PERIOD: Final = f"""
SELECT arm, {{period}} AS period, count(*) AS predicted, count(*) FILTER ({_mature("time")}) AS mature
FROM {_LOGGED} CROSS JOIN watermark GROUP BY ALL
"""  # noqa: S608

LOGGED_BY_TIME: Final = f"""
SELECT arm, floor(epoch(time) / $every) * $every AS began, segment, count(*) AS predicted,
       count(*) FILTER ({_mature("time")}) AS mature
FROM {_LOGGED} CROSS JOIN watermark GROUP BY ALL
"""  # noqa: S608

# Users are grouped before they are counted: no set of users is kept for each arm.
USERS_MATURE: Final = f"""
SELECT arm, period, count(*) AS users_mature FROM (
    SELECT hash(deployment) AS arm, {{period}} AS period, hash({UNIT}) AS unit FROM {{predictions}} CROSS JOIN watermark
    WHERE status = 'success' AND {{population}} AND {_mature("time")} AND unit % {{slices}} = {{number}} GROUP BY ALL
) GROUP BY ALL
"""  # noqa: S608

ARMS: Final = "SELECT DISTINCT deployment, hash(deployment) AS arm FROM {predictions}"

# -- of the labelled ones ----------------------------------------------------------------------------------------

USERS_LABELLED: Final = """
SELECT hash(deployment) AS arm, period, sum(labelled)::BIGINT AS labelled,
       sum(mature_labelled)::BIGINT AS mature_labelled, sum(late)::BIGINT AS late,
       count(*) FILTER (mature_labelled > 0) AS users_labelled
FROM (
    SELECT deployment, {period} AS period, unit, count(*) AS labelled,
           count(*) FILTER (is_mature AND is_in_time) AS mature_labelled, count(*) FILTER (NOT is_in_time) AS late
    FROM joined GROUP BY ALL
) GROUP BY ALL
"""

# Of each user the first labelled prediction of any arm, so that outcomes are independent and final.
OUTCOMES: Final = f"""
SELECT name.deployment AS deployment, {{period}} AS period, count(is_wrong) AS users,
       count(*) FILTER (is_wrong) AS wrong,
       count(*) FILTER (adds_up) AS measured, count(*) FILTER (NOT adds_up) AS unmeasured,
       coalesce(sum(abs(said - truth)) FILTER (adds_up), 0) AS total,
       coalesce(sum((said - truth) * (said - truth)) FILTER (adds_up), 0) AS squares,
       coalesce(bool_or(has_fraction), false) AS has_fractions,
       greatest(approx_count_distinct(said), approx_count_distinct(truth)) AS kinds
FROM (
    SELECT unit, arg_min(hash(deployment), {place_of("key")}) AS arm, min(joined.time) AS time,
           arg_min_null(prediction, {place_of("key")}) AS said, arg_min_null(label, {place_of("key")}) AS truth,
           arg_min_null({_adds_up("prediction", "label")}, {place_of("key")}) AS adds_up,
           arg_min_null({_IS_WRONG}, {place_of("key")}) AS is_wrong,
           bool_or({_is_fraction("prediction")} OR {_is_fraction("label")}) AS has_fraction
    FROM joined WHERE is_mature AND is_in_time AND list_contains($arms, deployment) GROUP BY unit
) AS person
JOIN (SELECT unnest($arms) AS deployment) AS name ON hash(name.deployment) = person.arm
GROUP BY ALL ORDER BY ALL
"""  # noqa: S608

_HAS_NUMBER: Final = "is_mature AND is_in_time AND label IS NOT NULL AND isfinite(label)"

_ARRIVAL: Final = f"((epoch_us(arrived)::HUGEINT * {2**51} + epoch_us(time)) * {2**24} + key % {2**24})"
"""Arrival, then the time of the prediction, then a fixed order, as one whole number."""

PAST: Final = f"SELECT unit, avg(label) AS mean FROM joined WHERE {_HAS_NUMBER} GROUP BY unit"  # noqa: S608
NO_PAST: Final = "SELECT NULL::UBIGINT AS unit, NULL::DOUBLE AS mean WHERE false"

# A user is that arm's which was the first of any to predict for them; who has no past counts as the average one.
USER_LABELS: Final = f"""
SELECT name.deployment AS deployment, {{period}} AS period, unit, epoch_us(time) AS seen,
       epoch_us(said.arrived) AS arrived, said.mean AS mean, said.told AS told,
       coalesce(past.mean, (SELECT avg(mean) FROM past)) AS before
FROM (
    SELECT unit, min(time) AS time,
           arg_min({{{{'arm': arm, 'mean': mean, 'told': told, 'arrived': arrived}}}}, place) AS said
    FROM (
        SELECT unit, hash(deployment) AS arm, avg(label) AS mean, arg_min(label, {_ARRIVAL}) AS told,
               min(arrived) AS arrived, min(time) AS time, min({place_of("key")}) AS place
        FROM joined WHERE {_HAS_NUMBER} GROUP BY ALL
    ) GROUP BY unit
) AS person
JOIN (SELECT unnest($arms) AS deployment) AS name ON hash(name.deployment) = said.arm
LEFT JOIN past USING (unit)
"""  # noqa: S608
"""One row per user, of one size; over a table ``past`` of :data:`PAST` or :data:`NO_PAST`."""

USER_SUMS: Final = """
SELECT deployment, period, count(*) AS users, favg(mean) AS mean, var_pop(mean) * count(*) AS squares,
       min(mean) AS least, max(mean) AS largest, favg(before) AS past_mean, var_pop(before) * count(*) AS past_squares,
       covar_pop(mean, before) * count(*) AS products, min(before) AS past_least, max(before) AS past_largest
FROM people GROUP BY ALL ORDER BY ALL
"""
"""Over a table ``people`` of :data:`USER_LABELS`; ``favg`` keeps what a plain sum of large numbers rounds away."""

# One row per deployment, stretch of time and segment; every task's figures at once, :mod:`.accuracy` takes the fitting.
SCORED: Final = f"""
SELECT hash(deployment) AS arm, floor(epoch(time) / $every) * $every AS began, segment, count(*) AS labelled,
       count(*) FILTER ({WRONG}) AS wrong,
       count(*) FILTER ((prediction IS NULL) <> (label IS NULL)) AS unlike,
       count(*) FILTER ((prediction >= 0.5) IS DISTINCT FROM (label >= 0.5) OR isnan(prediction)) AS wrong_half,
       count(*) FILTER (adds_up) AS measured, avg(abs(prediction - label)) FILTER (adds_up) AS absolute,
       sqrt(avg((prediction - label) * (prediction - label)) FILTER (adds_up)) AS root_mean_square,
       avg(prediction - label) FILTER (adds_up) AS bias
FROM (SELECT *, {_adds_up("prediction", "label")} AS adds_up FROM joined WHERE is_mature AND is_in_time) GROUP BY ALL
"""  # noqa: S608

BINS: Final = f"""
SELECT deployment, floor(epoch(time) / $every) * $every AS began, segment,
       least(floor(prediction * $bins), $bins - 1) AS bin, count(*) AS labelled,
       avg(prediction) AS predicted, avg(label) AS observed
FROM joined WHERE is_mature AND is_in_time AND prediction BETWEEN 0 AND 1 AND {_adds_up("label")}
GROUP BY ALL ORDER BY deployment, began, segment, bin
"""  # noqa: S608

SAID: Final = ("prediction", "prediction_text", "label", "label_text")
"""Columns before the features of :data:`LABELLED_INPUTS`, some of which may have these names too."""

# Of each user the first labelled row, oldest users first: a sequence that only grows, as tests at every look ask.
LABELLED_INPUTS: Final = f"""
WITH chosen AS (
    SELECT unit, min(time) AS time, arg_min(key, {place_of("key")}) AS key
    FROM joined WHERE is_mature AND is_in_time AND deployment = $deployment
    GROUP BY unit ORDER BY time, unit LIMIT $limit
), told AS (
    SELECT {KEY} AS key, arg_min_null(label, {_FIRST}) AS label, arg_min_null(label_text, {_FIRST}) AS label_text
    FROM {{labels}} WHERE {KEY} IN (SELECT key FROM chosen) GROUP BY ALL
), logged AS (
    SELECT *, {KEY} AS key FROM {{predictions}}
    WHERE status = 'success' AND deployment = $deployment AND {KEY} IN (SELECT key FROM chosen)
    QUALIFY row_number() OVER (PARTITION BY key ORDER BY time) = 1
)
SELECT prediction, prediction_text, told.label AS label, told.label_text AS label_text, {{columns}}
FROM chosen JOIN told USING (key) JOIN logged USING (key) ORDER BY chosen.time, chosen.unit
"""  # noqa: S608

KINDS: Final = f"""
SELECT count(*) AS labelled, count(*) FILTER (prediction IS NOT NULL AND label IS NOT NULL) AS numbers,
       count(*) FILTER (prediction_text IS NOT NULL AND label_text IS NOT NULL) AS texts,
       count(*) FILTER ({_is_fraction("prediction")} OR {_is_fraction("label")}) AS fractions,
       count(*) FILTER (label NOT IN (0, 1) AND {_adds_up("label")}) AS labels_beyond_two,
       count(*) FILTER (prediction NOT BETWEEN 0 AND 1 AND {_adds_up("prediction")}) AS predictions_beyond_unit,
       approx_count_distinct(label) AS labels, approx_count_distinct(prediction) AS predictions
FROM joined WHERE is_mature AND is_in_time
"""  # noqa: S608

QUARTILES: Final = """
SELECT quantile_cont(value, [0.25, 0.5, 0.75]) FILTER (isfinite(value)) AS edges, approx_count_distinct(value) AS kinds
FROM (SELECT CAST({number} AS DOUBLE) AS value FROM {predictions} WHERE {population})
"""

COPIES: Final = f"""
SELECT {KEY} AS key, count(*) AS copies, min(meaning) IS DISTINCT FROM max(meaning) AS is_contradicted
FROM (SELECT *, hash(coalesce(CAST(label AS VARCHAR), {plain("label_text")})) AS meaning FROM {{labels}}) GROUP BY key
"""  # noqa: S608

# Labels are looked up in every prediction, also those that an error or another population keeps out of the arms.
STRAY: Final = f"""
SELECT coalesce(sum(copies - 1), 0)::BIGINT AS duplicates, count(*) FILTER (is_contradicted) AS contradictions,
       count(*) - (SELECT count(*) FROM copies WHERE key IN (SELECT {KEY} FROM {{predictions}})) AS unknown,
       epoch((SELECT max(time) FROM {{arrivals}})) AS newest
FROM copies
"""  # noqa: S608

ANY: Final = "SELECT 1 AS one FROM {labels} LIMIT 1"

NEWS: Final = """
SELECT min(place) AS place FROM incoming ANTI JOIN {labels} known
ON incoming.request_id = known.request_id AND incoming.row = known.row
   AND incoming.label IS NOT DISTINCT FROM known.label AND incoming.label_text IS NOT DISTINCT FROM known.label_text
GROUP BY incoming.request_id, incoming.row, incoming.label, incoming.label_text ORDER BY place
"""

STRANGERS: Final = """
SELECT count(*) AS strangers FROM incoming ANTI JOIN {predictions} known USING (request_id, row)
"""
