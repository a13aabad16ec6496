"""What Envoy must log of every attempt, and how one line of it reads.

Configuration and parsing only; files are turned over and converted by :mod:`.attempts`. For whoever writes Envoy's
configuration (each rule was measured on Envoy 1.40, see ``tests/e2e/events/test_gateway_attempts.py``):

- ``Router.upstream_log = upstream_log(path)``: one line per attempt, written when the attempt ends.
- ``HttpConnectionManager.access_log = unreached_log(path)``: the same file also receives the requests for which no
  host was left, since those never become an attempt (flag ``UH``).
- The virtual host sets ``include_request_attempt_count: true``: in the upstream log
  ``%UPSTREAM_REQUEST_ATTEMPT_COUNT%`` is always 0, and the header that this switch adds is right.
- Every route carries ``metadata = route_metadata(...)``, every ``lb_endpoint`` ``metadata = host_metadata(...)``:
  within an ``envoy.clusters.composite`` cluster ``%UPSTREAM_CLUSTER%`` names the composite, and only the host tells
  which deployment was really tried.
- Start Envoy with ``--file-flush-interval-msec 500``: it buffers the file for 10 s otherwise.
- A composite cluster passes over a member without healthy hosts and logs nothing: :func:`attempts_of` adds that
  attempt (number 0, flag ``UH``) whenever the first attempt went to another deployment than the split meant.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final, Literal

import orjson

from mlflow_deploy_plugin.spec.headers import MODEL_FAILED
from mlflow_deploy_plugin.spec.names import is_label

NAMESPACE: Final = "modelserve"
"""Filter metadata of ours on routes and hosts."""

LOG_FORMAT: Final[Mapping[str, str]] = {
    "request_id": "%REQ(X-REQUEST-ID)%",
    "start": "%START_TIME(%s.%6f)%",
    "user_id": "%REQ(X-USER-ID)%",
    "assigned": "%REQ(X-MODEL-ASSIGNED)%",
    "attempt": "%REQ(X-ENVOY-ATTEMPT-COUNT)%",
    "status": "%RESPONSE_CODE%",
    "grpc_status": "%GRPC_STATUS_NUMBER%",
    "flags": "%RESPONSE_FLAGS%",
    "failed": f"%RESP({MODEL_FAILED})%",
    "duration_ms": "%DURATION%",
    "whole_us": "%COMMON_DURATION(US_TX_BEG:US_RX_END:us)%",
    "endpoint": f"%METADATA(ROUTE:{NAMESPACE}:endpoint)%",
    "commit": f"%METADATA(ROUTE:{NAMESPACE}:commit)%",
    "override": f"%METADATA(ROUTE:{NAMESPACE}:override)%",
    "deployment": f"%METADATA(UPSTREAM_HOST:{NAMESPACE}:deployment)%",
}
"""``json_format`` of the raw log. Unset values arrive as null, or as ``-``."""

GONE: Final = "DC"
"""Flag of an attempt that the client abandoned. Envoy's upstream log leaves it without status and flag."""

FAILED: Final = "MF"
"""Flag of an attempt whose model failed though the protocol's status blames the client. Ours, and none of Envoy's."""

UNREACHED: Final = "UH"
"""Flag of an attempt that found no healthy host."""

_SERVER_ERROR: Final = 500
_TOO_MANY: Final = 429
_MANY: Final = 100_000  # attempts of one request, or a status: more is no number that Envoy wrote

# https://grpc.io/docs/guides/status-codes/ in the words of HTTP, so that one column tells errors of both protocols.
_HTTP_OF_GRPC: Final = {
    0: 200, 1: 499, 2: 500, 3: 400, 4: 504, 5: 404, 6: 409, 7: 403, 8: 429, 9: 400, 10: 409, 11: 400, 12: 404,
    13: 500, 14: 503, 15: 500, 16: 401,
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One try of one request at one deployment; the fields are the columns of table ``attempts``."""

    request_id: str
    time: datetime
    user_id: str
    assigned: str
    override: str
    attempt: int
    status: int
    flags: str
    latency_ms: float
    commit: str
    endpoint: str
    deployment: str


def outcome(attempt: Attempt) -> Literal["success", "failed", "abandoned"]:
    """How an attempt ended.

    No answer, a cut one, an error of the server or of the model, or a refusal for want of capacity has failed; a
    client's own error has not. The event store's queries count alike.
    """
    if attempt.flags == GONE:
        return "abandoned"
    is_failed = bool(attempt.flags) or attempt.status >= _SERVER_ERROR or attempt.status == _TOO_MANY
    return "failed" if is_failed else "success"


def upstream_log(path: str) -> list[dict[str, Any]]:
    """``upstream_log`` of the router filter: every attempt, appended to ``path``."""
    return [_file_log(path)]


def unreached_log(path: str) -> list[dict[str, Any]]:
    """``access_log`` of the connection manager: requests for which no host was left, appended to ``path``."""
    return [_file_log(path) | {"filter": {"response_flag_filter": {"flags": [UNREACHED]}}}]


def _file_log(path: str) -> dict[str, Any]:
    return {
        "name": "attempts",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
            "path": path,
            "log_format": {"json_format": dict(LOG_FORMAT)},
        },
    }


def route_metadata(*, endpoint: str, commit: str, override: str = "") -> dict[str, Any]:
    """``metadata`` of a route: whose it is, by which commit, and for which deployment where it is an override.

    >>> route_metadata(endpoint="churn", commit="abc")
    {'filter_metadata': {'modelserve': {'endpoint': 'churn', 'commit': 'abc', 'override': ''}}}
    """
    return {"filter_metadata": {NAMESPACE: {"endpoint": endpoint, "commit": commit, "override": override}}}


def host_metadata(*, deployment: str) -> dict[str, Any]:
    """``metadata`` of an ``lb_endpoint``: the deployment that the process serves.

    >>> host_metadata(deployment="churn-v4")
    {'filter_metadata': {'modelserve': {'deployment': 'churn-v4'}}}
    """
    return {"filter_metadata": {NAMESPACE: {"deployment": deployment}}}


def attempts_of(line: bytes) -> Iterator[Attempt]:
    """The attempts that one line of the raw log tells: one, or two where the split's own choice had no healthy host.

    Raises:
        ValueError: the line is torn or was not written by :data:`LOG_FORMAT`.
    """
    values = orjson.loads(line)
    try:
        attempt = _attempt(values)
    except (KeyError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError(f"not a line of the gateway's log: {line[:200]!r}") from error
    if not (is_label(attempt.endpoint) and is_label(attempt.deployment)):
        raise ValueError(f"endpoint {attempt.endpoint!r} or deployment {attempt.deployment!r} is not a DNS label")
    if not (0 <= attempt.attempt < _MANY and 0 <= attempt.status < _MANY):
        raise ValueError(f"attempt {attempt.attempt} with status {attempt.status} fits no column")
    if attempt.attempt == 1 and attempt.assigned not in {"", attempt.deployment}:
        yield replace(attempt, attempt=0, status=0, flags=UNREACHED, latency_ms=0.0, deployment=attempt.assigned)
    yield attempt


def _attempt(values: Mapping[str, Any]) -> Attempt:
    override = _text(values["override"])
    assigned = "" if override else _text(values["assigned"])
    request_id = _text(values["request_id"])
    user_id = _text(values["user_id"])
    status, flags = _status(values)
    return Attempt(
        request_id=request_id,
        time=datetime.fromtimestamp(float(values["start"]), tz=UTC),
        user_id="" if user_id == request_id else user_id,
        assigned=assigned if is_label(assigned) else "",
        override=override,
        attempt=int(values["attempt"] or 1),
        status=status,
        flags=flags,
        latency_ms=_latency_ms(values),
        commit=_text(values["commit"]),
        endpoint=_text(values["endpoint"]),
        deployment=_text(values["deployment"]) or override or assigned,
    )


def _status(values: Mapping[str, Any]) -> tuple[int, str]:
    flags = _text(values["flags"])
    http = int(values["status"] or 0)
    if UNREACHED in flags.split(","):
        return 0, flags  # the 503 is the gateway's own answer: nobody was tried
    if http == 0 and not flags:
        return 0, GONE
    if not flags and _text(values.get("failed")) == "1":
        flags = FAILED
    grpc = values["grpc_status"]
    return (http if grpc in {None, "-"} else _HTTP_OF_GRPC.get(int(grpc), 500)), flags


def _latency_ms(values: Mapping[str, Any]) -> float:
    whole_us = values["whole_us"]
    return float(values["duration_ms"] or 0) if whole_us in {None, "-"} else float(whole_us) / 1000


def _text(value: str | None) -> str:
    return "" if value in {None, "-"} else str(value)
