"""How a codec of gRPC says what became of a call: gRPC's status in the reply's headers, as on the wire. Pure.

``Reply.status`` stays the status of HTTP that means the same, so that one label of the metrics tells errors of every
protocol. The transport turns the headers into the call's status.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mlflow_deploy_plugin.serving.codecs.base import Reply
from mlflow_deploy_plugin.serving.faults import Fault

if TYPE_CHECKING:
    from mlflow_deploy_plugin.serving.faults import RequestError

PROTO: Final = b"application/grpc+proto"
STATUS: Final = b"grpc-status"
MESSAGE: Final = b"grpc-message"
PUSHBACK: Final = b"grpc-retry-pushback-ms"
"""Trailing metadata by which a server asks clients to wait; https://github.com/grpc/proposal/blob/master/A6-client-retries.md."""

STATUS_OF: Final = {
    Fault.MALFORMED: 3,  # INVALID_ARGUMENT
    Fault.INVALID: 3,
    Fault.UNKNOWN_PATH: 5,  # NOT_FOUND
    Fault.WRONG_METHOD: 12,  # UNIMPLEMENTED
    Fault.SLOW_BODY: 4,  # DEADLINE_EXCEEDED
    Fault.TOO_LARGE: 8,  # RESOURCE_EXHAUSTED
    Fault.UNSUPPORTED_TYPE: 3,
    Fault.OVERLOADED: 8,
    Fault.CLIENT_GONE: 1,  # CANCELLED
    Fault.MODEL_FAILED: 13,  # INTERNAL
    Fault.NOT_OFFERED: 12,
    Fault.UNAVAILABLE: 14,  # UNAVAILABLE
    Fault.TIMED_OUT: 4,
}
"""gRPC's status for each reason: https://grpc.io/docs/guides/status-codes/."""

MAX_MESSAGE: Final = 2000
"""Characters of a message: clients take 8 KiB of trailers altogether."""


def answer(message: bytes) -> Reply:
    """A call that succeeded; ``message`` is the answer in protobuf's bytes."""
    return Reply(200, PROTO, message)


def refusal(error: RequestError) -> Reply:
    """A call that did not.

    >>> from mlflow_deploy_plugin.serving.faults import RequestError
    >>> refusal(RequestError(Fault.INVALID, "no such input")).headers[0]
    (b'grpc-status', b'3')
    """
    headers = [
        (STATUS, str(STATUS_OF[error.fault]).encode()),
        (MESSAGE, error.message[:MAX_MESSAGE].encode("utf-8", "replace")),
    ]
    if error.retry_after_s is not None:
        headers.append((PUSHBACK, str(int(error.retry_after_s * 1000)).encode()))
    status = 400 if error.fault is Fault.INVALID else error.fault.value
    return Reply(status, PROTO, b"", tuple(headers))
