"""gRPC's own health checks: ``grpc.health.v1.Health/Check``, as load balancers and probes ask it.

After https://github.com/grpc/grpc/blob/master/doc/health-checking.md. A worker serves one model, so it has one health,
whichever service the request names. ``Watch`` is a stream and not offered; clients take that for an answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mlflow_deploy_plugin.serving.codecs import grpc_status
from mlflow_deploy_plugin.serving.codecs.base import Answer, Call, Reply
from mlflow_deploy_plugin.serving.faults import Fault, RequestError
from mlflow_deploy_plugin.spec.grpc import HEALTH

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlflow_deploy_plugin.serving.codecs.base import Host, Route
    from mlflow_deploy_plugin.serving.request import Request, Response

SERVING: Final = b"\x08\x01"
NOT_SERVING: Final = b"\x08\x02"
"""``HealthCheckResponse`` in protobuf's bytes: its one field is ``status``, an enumeration."""


class GrpcHealthCodec:
    """The one method ``Check``."""

    name = "grpc-health"

    def __init__(self, host: Host) -> None:
        self._is_ready = host.is_ready

    def routes(self) -> Sequence[Route]:
        """Its path."""
        return (Answer(path=f"/{HEALTH}/Check", methods=("POST",), answer=self._check),)

    def decode(self, call: Call) -> Request:  # noqa: ARG002
        """Nothing here reaches a model."""
        raise RequestError(Fault.NOT_OFFERED, f"{HEALTH} predicts nothing")

    def encode(self, response: Response, request: Request, call: Call) -> Reply:  # noqa: ARG002
        """Nothing here comes from a model."""
        raise RequestError(Fault.NOT_OFFERED, f"{HEALTH} predicts nothing")

    def encode_error(self, error: RequestError, call: Call, request: Request | None = None) -> Reply:  # noqa: ARG002
        """A status of gRPC and a message."""
        return grpc_status.refusal(error)

    def _check(self, call: Call) -> Reply:  # noqa: ARG002  one health for every service
        return grpc_status.answer(SERVING if self._is_ready() else NOT_SERVING)
