"""The SQL of the event store. ``{attempts}`` and ``{predictions}`` stand for scans of the files.

The unit is the user: ``unit`` is the user id, or the request id where none was given. A user belongs to the arm that
the split assigned first within the window; overrides are assigned by nobody and stay out of comparisons.

What a query must remember of a user or a request has a fixed size (hashes in place of names), so that DuckDB can put
it on disk when there is much of it. A sample of users is those with the smallest hashes: everybody above ``{edge}`` is
left out before anything is remembered of them.
"""

from typing import Final

UNIT: Final = "coalesce(nullif(user_id, ''), request_id)"

FAILED: Final = "(flags NOT IN ('', 'DC') OR status >= 500 OR status = 429)"
"""No answer, a cut one, a failure of the model (MF where its protocol says 4xx), or a refusal for want of capacity.
A client that left (DC) and its own 4xx are no failures."""

ANSWERED: Final = f"(deployment = assigned AND status BETWEEN 200 AND 499 AND NOT {FAILED})"
"""The arm that was meant answered itself, and not by a refusal."""


WHOLE: Final = r"([0-9])\.0+([],\x7D])"
"""A whole number that is written as a fraction, before the comma or the bracket that ends it."""


def place_of(key: str) -> str:
    """Time, and among rows of one moment a fixed order, as one whole number.

    >>> place_of("key")
    '(epoch_us(time)::HUGEINT * 18446744073709551616 + key)'
    """
    return f"(epoch_us(time)::HUGEINT * {2**64} + {key})"


def plain(text: str) -> str:
    r"""JSON of several values with whole numbers as such: ``[1.0,0.0]`` of one version means ``[1,0]`` of another.

    Arrays and objects begin with the characters 91 and 123; any other text is a value of its own, and stays.

    >>> plain("x")[:53]
    'CASE WHEN ascii(x) IN (91, 123) THEN regexp_replace(x'
    """
    whole = rf"regexp_replace({text}, '{WHOLE}', '\1\2', 'g')"
    return f"CASE WHEN ascii({text}) IN (91, 123) THEN {whole} ELSE {text} END"


_NUMBER: Final = r"-?[0-9]+(\.[0-9]+)?([eE][-+]?[0-9]+)?"
SCORES: Final = rf"\[{_NUMBER}(,{_NUMBER})+\]"
"""Several numbers as JSON, none of them missing: an answer that scores each class."""


def best(text: str) -> str:
    """The class that scores say, by its place from 0, as a number; NULL for any other text.

    >>> best("x")[-83:]
    'list_position(TRY_CAST(x AS DOUBLE[]), list_max(TRY_CAST(x AS DOUBLE[]))) - 1.0 END'
    """
    scores = f"TRY_CAST({text} AS DOUBLE[])"
    return f"CASE WHEN regexp_full_match({text}, '{SCORES}') THEN list_position({scores}, list_max({scores})) - 1.0 END"


ASSIGNED: Final = f"""
SELECT hash({UNIT}) AS unit, hash(assigned) AS arm, min(time) AS seen, arg_min(hash(commit), time) AS commit,
       bool_or({FAILED}) AS has_error
FROM {{attempts}} WHERE assigned <> '' GROUP BY ALL
"""  # noqa: S608  the parts are ours

USERS: Final = """
WITH first_arm AS (
    SELECT unit, arg_min(arm, seen) AS arm, min(seen) AS seen, arg_min(commit, seen) AS commit,
           arg_min(has_error, seen) AS has_error, count(*) AS arms
    FROM assigned GROUP BY unit
), counted AS (
    SELECT arm, commit, epoch(min(seen)) AS began, count(*) AS users, count(*) FILTER (has_error) AS users_with_error,
           count(*) FILTER (arms > 1) AS users_moved
    FROM first_arm GROUP BY arm, commit
)
SELECT arm_name.name AS arm, commit_name.name AS commit, began, users, users_with_error, users_moved
FROM counted
JOIN (SELECT DISTINCT assigned AS name FROM {attempts}) AS arm_name ON hash(arm_name.name) = counted.arm
JOIN (SELECT DISTINCT commit AS name FROM {attempts}) AS commit_name ON hash(commit_name.name) = counted.commit
ORDER BY began, arm
"""
"""Over a table ``assigned`` of :data:`ASSIGNED`."""

# The sample is drawn from the users of all arms together, so that it keeps the split.
LATENCIES: Final = f"""
WITH assigned AS (
    SELECT hash({UNIT}) AS unit, assigned AS arm, min(time) AS seen, arg_min(commit, time) AS commit,
           arg_min(latency_ms, time) FILTER ({ANSWERED}) AS latency_ms, min(time) FILTER ({ANSWERED}) AS answered
    FROM {{attempts}} WHERE assigned <> '' AND hash({UNIT}) <= {{edge}} GROUP BY ALL
), first_arm AS (
    SELECT unit, arg_min({{{{'arm': arm, 'commit': commit, 'latency_ms': latency_ms, 'at': answered}}}}, seen) AS it
    FROM assigned GROUP BY unit
)
SELECT it.arm AS arm, it.commit AS commit, it.latency_ms AS latency_ms, epoch(it.at) AS seen
FROM first_arm WHERE list_contains($arms, it.arm) AND it.at IS NOT NULL ORDER BY unit LIMIT $limit
"""  # noqa: S608

SHADOWED: Final = f"""
WITH live AS (
    SELECT request_id, row, min(hash({UNIT})) AS unit, min(time) AS time, bool_or(status <> 'success') AS has_failed,
           arg_min(prediction, time) AS prediction,
           arg_min({plain("prediction_text")}, time) AS text, min(latency_ms) AS ms
    FROM {{predictions}} WHERE assigned = deployment AND deployment <> $shadow AND hash({UNIT}) <= {{edge}}
    GROUP BY request_id, row
), copy AS (
    SELECT request_id, row, bool_or(status <> 'success') AS has_failed,
           arg_min(prediction, time) AS prediction,
           arg_min({plain("prediction_text")}, time) AS text, min(latency_ms) AS ms
    FROM {{predictions}} WHERE deployment = $shadow AND assigned NOT IN ('', $shadow) AND hash({UNIT}) <= {{edge}}
    GROUP BY request_id, row
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
FROM pair GROUP BY unit ORDER BY unit LIMIT $limit
"""  # noqa: S608
"""One row per user: the first of their requests that a live version and the one in the shadow both predicted."""

COPIES: Final = """
SELECT count(DISTINCT hash(request_id)) FILTER (assigned = deployment AND deployment <> $shadow) AS live,
       count(DISTINCT hash(request_id)) FILTER (deployment = $shadow AND assigned NOT IN ('', $shadow)) AS copies
FROM {predictions}
"""

UNITS: Final = f"""
SELECT approx_count_distinct(hash({UNIT})) AS units FROM {{rows}} WHERE {{chosen}}
"""  # noqa: S608

NEWEST_SINCE: Final = """
SELECT epoch_us(min(time)) AS began
FROM (SELECT time FROM {predictions} WHERE {chosen} ORDER BY time DESC LIMIT $limit)
"""

FEATURES: Final = """
SELECT {columns} FROM {predictions} WHERE {chosen} ORDER BY {order}, request_id, row LIMIT $limit
"""

FEATURES_OF_USERS: Final = f"""
WITH first AS (
    SELECT deployment, arg_min(hash(request_id), {place_of("hash(request_id)")}) AS id
    FROM {{predictions}} WHERE {{chosen}} AND hash({UNIT}) <= {{edge}} GROUP BY deployment, hash({UNIT})
)
SELECT {{columns}} FROM (SELECT *, hash(request_id) AS id FROM {{predictions}} WHERE {{chosen}} AND row = 0
                         AND hash({UNIT}) <= {{edge}}) SEMI JOIN first USING (deployment, id)
ORDER BY {{order}}, request_id LIMIT $limit
"""  # noqa: S608
"""The first row of each user's first request."""

POPULATIONS: Final = {
    "split": "assigned = deployment",
    "all": "true",
}
"""``split``: rows that the split meant for their deployment; ``all``: overrides, fallbacks, Bentos without gateway."""

ORDERS: Final = {
    "newest": "time DESC",
    "sample": f"hash({UNIT})",
}
"""Which rows a limit keeps: the newest, or those of a sample of users that is the same on every tick."""
