"""Why a request is not answered with a prediction: one closed list, which every codec says in its protocol's words."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from mlflow_deploy_plugin.errors import ModelserveError

if TYPE_CHECKING:
    from collections.abc import Callable


class Fault(Enum):
    """A reason and the HTTP status that fits it best; a protocol with statuses of its own maps the reason."""

    MALFORMED = 400  # the body is not what the protocol writes
    INVALID = 422  # it reads well, and breaks the model's signature; most protocols say 400
    UNKNOWN_PATH = 404
    WRONG_METHOD = 405
    SLOW_BODY = 408
    TOO_LARGE = 413
    UNSUPPORTED_TYPE = 415
    OVERLOADED = 429
    CLIENT_GONE = 499  # nobody reads the answer; the metrics do
    MODEL_FAILED = 500  # the model raised
    NOT_OFFERED = 501  # something that this server could do is not installed
    UNAVAILABLE = 503  # draining, warming up, or replaced because a call hangs
    TIMED_OUT = 504

    @property
    def is_clients(self) -> bool:
        """Whether the client can mend it, or nobody failed. These do not count against the model's error rate."""
        return self.value in {400, 404, 405, 408, 413, 415, 422, 499, 501}


class RequestError(ModelserveError):
    """One request gets no prediction. The foreign exception, where there is one, is ``__cause__``."""

    def __init__(self, fault: Fault, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.fault = fault
        self.message = message
        self.retry_after_s = retry_after_s


class AsleepError(RequestError):
    """What this request needs is not imported yet. Whoever catches it calls ``wake`` in a thread, and tries again."""

    def __init__(self, wake: Callable[[], None]) -> None:
        super().__init__(Fault.UNAVAILABLE, "what this request needs is being loaded; try again", retry_after_s=5)
        self.wake = wake
