"""What Envoy must log of every attempt, and what a line of it means.

Configuration and meaning only; :mod:`.attempt_rows` reads lines by the thousand, files are turned over and converted
by :mod:`.attempts`. For whoever writes Envoy's configuration (each rule was measured on Envoy 1.40, see
``tests/e2e/events/test_gateway_attempts.py``):

- ``Router.upstream_log = upstream_log(path)``: one line per attempt, written when the attempt ends.
- ``HttpConnectionManager.access_log = unreached_log(path)``: the same file also receives the requests for which no
  host was left, since those never become an attempt (flag ``UH``).
- The virtual host sets ``include_request_attempt_count: true``: in the upstream log
  ``%UPSTREAM_REQUEST_ATTEMPT_COUNT%`` is always 0, and the header that this switch adds is right.
- Every route carries ``route_tags(...)``, every ``endpoint`` of a cluster ``hostname`` = its deployment: within an
  ``envoy.clusters.composite`` cluster ``%UPSTREAM_CLUSTER%`` names the composite, and only the host tells which
  deployment was really tried.
- Start Envoy with ``--file-flush-interval-msec 500``: it buffers the file for 10 s otherwise.
- A composite cluster passes over a member without healthy hosts and logs nothing: :func:`endings` adds that attempt
  (number 0, flag ``UH``) whenever the first attempt went to another deployment than the split meant.

A line is text and no JSON, and names come from the route's and the host's own instead of their metadata: both halve
what the log costs a request. Its separators are control characters that Envoy lets into no header, so no client and no
model can write a field of another.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from mlflow_deploy_plugin.spec.headers import MODEL_FAILED
from mlflow_deploy_plugin.spec.names import is_label

NAMESPACE: Final = "modelserve"
"""Filter metadata of ours on routes: what the gateway's own error answers say."""

FIELD: Final = "\x1f"
"""Between the fields of a line."""
PART: Final = "\x1e"
"""Between the parts of its last field."""

LINE_FIELDS: Final[Mapping[str, str]] = {
    "request_id": "%REQ(X-REQUEST-ID)%",
    "start": "%START_TIME(%s.%6f)%",
    "duration_ms": "%DURATION%",
    "whole_us": "%COMMON_DURATION(US_TX_BEG:US_RX_END:us)%",
    "user_id": "%REQ(X-USER-ID)%",
}
"""The fields that differ from line to line; behind them comes one more, :data:`ENDING_PARTS`. Unset: ``-``."""

ENDING_PARTS: Final[Mapping[str, str]] = {
    "assigned": "%REQ(X-MODEL-ASSIGNED)%",
    "attempt": "%REQ(X-ENVOY-ATTEMPT-COUNT)%",
    "status": "%RESPONSE_CODE%",
    "grpc_status": "%GRPC_STATUS_NUMBER%",
    "flags": "%RESPONSE_FLAGS%",
    "failed": f"%RESP({MODEL_FAILED})%",
    "route": "%ROUTE_NAME%",
    "deployment": "%UPSTREAM_HOST_NAME%",
}
"""The parts of the last field, which few distinct texts fill: each text is read once, however many lines have it."""

END: Final = "."
"""Part behind those: a line that lacks it was torn, perhaps in the middle of a name."""

GONE: Final = "DC"
"""Flag of an attempt that the client abandoned. Envoy's upstream log leaves it without status and flag."""

FAILED: Final = "MF"
"""Flag of an attempt whose model failed though the protocol's status blames the client. Ours, and none of Envoy's."""

UNREACHED: Final = "UH"
"""Flag of an attempt that found no healthy host."""

_UNSET: Final = "-"
_ROUTE: Final = "/"
_SERVER_ERROR: Final = 500
_TOO_MANY: Final = 429
_MANY: Final = 100_000  # attempts of one request, or a status: more is no number that Envoy wrote

# https://grpc.io/docs/guides/status-codes/ in the words of HTTP, so that one column tells errors of both protocols.
_HTTP_OF_GRPC: Final = {
    0: 200, 1: 499, 2: 500, 3: 400, 4: 504, 5: 404, 6: 409, 7: 403, 8: 429, 9: 400, 10: 409, 11: 400, 12: 404,
    13: 500, 14: 503, 15: 500, 16: 401,
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """What many attempts have in common: who was tried, by which commit, and how it ended.

    The fields are columns of table ``attempts``; those of one attempt alone are its request, user and times.
    """

    assigned: str
    override: str
    attempt: int
    status: int
    flags: str
    commit: str
    endpoint: str
    deployment: str

    @property
    def was_tried(self) -> bool:
        """Whether the gateway reached for the deployment at all; else it took no time."""
        return self.attempt > 0


def outcome(ending: Ending) -> Literal["success", "failed", "abandoned"]:
    """How an attempt ended, in a word.

    No answer, a cut one, an error of the server or of the model, or a refusal for want of capacity has failed; a
    client's own error has not. The event store's queries count alike.
    """
    if ending.flags == GONE:
        return "abandoned"
    is_failed = bool(ending.flags) or ending.status >= _SERVER_ERROR or ending.status == _TOO_MANY
    return "failed" if is_failed else "success"


def upstream_log(path: str) -> list[dict[str, Any]]:
    """``upstream_log`` of the router filter: every attempt, appended to ``path``."""
    return [_file_log(path)]


def unreached_log(path: str) -> list[dict[str, Any]]:
    """``access_log`` of the connection manager: requests for which no host was left, appended to ``path``."""
    return [_file_log(path) | {"filter": {"response_flag_filter": {"flags": [UNREACHED]}}}]


def _file_log(path: str) -> dict[str, Any]:
    line = FIELD.join((*LINE_FIELDS.values(), PART.join((*ENDING_PARTS.values(), END))))
    return {
        "name": "attempts",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
            "path": path,
            "log_format": {"text_format_source": {"inline_string": f"{line}\n"}},
        },
    }


def route_tags(*, endpoint: str, commit: str, override: str = "") -> dict[str, Any]:
    """``name`` and ``metadata`` of a route: whose it is, by which commit, and for whom where it is an override.

    >>> route_tags(endpoint="churn", commit="abc")["name"]
    'churn/abc/'
    """
    return {
        "name": _ROUTE.join((endpoint, commit, override)),
        "metadata": {"filter_metadata": {NAMESPACE: {"endpoint": endpoint, "override": override}}},
    }


def endings(text: str) -> tuple[Ending, ...]:
    """What a line's last field tells: one attempt, or two where the split's own choice had no healthy host.

    None where the field is torn or was not written by :data:`ENDING_PARTS`.
    """
    *parts, end = text.split(PART)
    if end != END:
        return ()
    try:
        ending = _ending(dict(zip(ENDING_PARTS, parts, strict=True)))
    except ValueError:
        return ()
    if not (is_label(ending.endpoint) and is_label(ending.deployment)):
        return ()
    if not (0 <= ending.attempt < _MANY and 0 <= ending.status < _MANY):
        return ()
    if ending.attempt == 1 and ending.assigned not in {"", ending.deployment}:
        return replace(ending, attempt=0, status=0, flags=UNREACHED, deployment=ending.assigned), ending
    return (ending,)


def _ending(parts: Mapping[str, str]) -> Ending:
    endpoint, commit, override = parts["route"].split(_ROUTE)
    assigned = "" if override else _text(parts["assigned"])
    status, flags = _status(parts)
    return Ending(
        assigned=assigned if is_label(assigned) else "",
        override=override,
        attempt=int(_text(parts["attempt"]) or 1),
        status=status,
        flags=flags,
        commit=commit,
        endpoint=endpoint,
        deployment=_text(parts["deployment"]) or override or assigned,
    )


def _status(parts: Mapping[str, str]) -> tuple[int, str]:
    flags = _text(parts["flags"])
    http = int(_text(parts["status"]) or 0)
    if UNREACHED in flags.split(","):
        return 0, flags  # the 503 is the gateway's own answer: nobody was tried
    if http == 0 and not flags:
        return 0, GONE
    if not flags and parts["failed"] == "1":
        flags = FAILED
    grpc = _text(parts["grpc_status"])
    return (_HTTP_OF_GRPC.get(int(grpc), 500) if grpc else http), flags


def _text(part: str) -> str:
    return "" if part == _UNSET else part
