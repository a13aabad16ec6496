"""Whose fault a failed prediction is, for protocols whose statuses tell the client from the server. Pure.

MLflow's protocol says 400 whatever its model raised; the others say 4xx only where the client can mend it. Metrics and
log count both as failures of the model: a version that refuses what another takes must not look healthy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlflow_deploy_plugin.serving.faults import Fault, RequestError

if TYPE_CHECKING:
    from mlflow_deploy_plugin.serving.request import Request
    from mlflow_deploy_plugin.serving.signature import Signature


def is_inputs_fault(error: RequestError, request: Request | None, signature: Signature) -> bool:
    """Whether a model that raised has refused its input.

    A ValueError is how models refuse a value that their signature allows, such as NaN or an unknown category. Where no
    signature has said beforehand what the model takes, whatever it raises may be its input's fault.
    """
    if error.fault is not Fault.MODEL_FAILED or request is None or error.__cause__ is None:
        return False
    return isinstance(error.__cause__, ValueError) or not signature.inputs


def as_told(error: RequestError, request: Request | None, signature: Signature) -> RequestError:
    """The error as its client is told of it: INVALID in place of a failure that is the input's fault."""
    return RequestError(Fault.INVALID, error.message) if is_inputs_fault(error, request, signature) else error


def status_of(error: RequestError, request: Request | None, signature: Signature) -> int:
    """The HTTP status, for a protocol that knows no 422."""
    fault = as_told(error, request, signature).fault
    status: int = Fault.MALFORMED.value if fault is Fault.INVALID else fault.value
    return status
