"""What is written down of answers: counters of :mod:`.metrics`, and events for the log behind :mod:`.record`.

Most answers come many at a time, from one call of the model, and are written down so: one loop over the batch and one
event for it cost a fraction of what each answer's own would.
"""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple

from mlflow_deploy_plugin.serving.metrics import RouteKey
from mlflow_deploy_plugin.serving.payloads import row_count
from mlflow_deploy_plugin.serving.record import Batch, Prediction

if TYPE_CHECKING:
    from mlflow_deploy_plugin.serving.codecs.base import Call, Codec
    from mlflow_deploy_plugin.serving.faults import RequestError
    from mlflow_deploy_plugin.serving.metrics import Metrics
    from mlflow_deploy_plugin.serving.record import Recorder
    from mlflow_deploy_plugin.serving.request import Payload, Request


class Told(NamedTuple):
    """One answer, when its client has it. Times are of the performance counter unless said."""

    codec: Codec
    call: Call
    request: Request
    status: int
    """Of the reply."""
    arrived: float
    """Seconds since the epoch."""
    began: float
    decoded: float
    known: float
    """When the prediction was."""
    queue_s: float
    rows: int
    output: Any
    """The model's own, for these rows."""


class Books:
    """Metrics and log of one worker; belongs to the event loop's thread."""

    def __init__(self, metrics: Metrics, recorder: Recorder) -> None:
        self.recorder = recorder
        self._metrics = metrics
        self._told: list[Told] = []

    def answer(self, told: Told) -> None:
        """One answer of the batch whose :meth:`batch` follows."""
        self._told.append(told)

    def batch(self, *, rows: int, seconds: float, payload: Payload, prediction: Any) -> None:  # noqa: ANN401
        """One call of the model succeeded, and every answer of it that could be given was."""
        self._metrics.batch(rows=rows, seconds=seconds, prediction=prediction)
        told, self._told = self._told, []
        if not told:
            return
        now = perf_counter()
        encode_s = (now - told[0].known) / len(told)
        self._metrics.answered(
            [RouteKey(one.codec.name, one.call.route.path, one.status) for one in told],
            latencies_s=[now - one.began for one in told],
            queues_s=[one.queue_s for one in told],
            codecs_s=[one.decoded - one.began + encode_s for one in told],
        )
        if len(told) == rows == row_count(payload):  # each is one row, and in its place
            self.recorder.record_batch(_batch(told, payload, prediction))
        else:
            for one in told:
                self.recorder.record(_prediction(one))

    def alone(self, told: Told) -> None:
        """One answer that took its own way to its client."""
        now = perf_counter()
        self._metrics.answered(
            [RouteKey(told.codec.name, told.call.route.path, told.status)],
            latencies_s=[now - told.began],
            queues_s=[told.queue_s],
            codecs_s=[told.decoded - told.began + now - told.known],
        )
        self.recorder.record(_prediction(told))

    def refusal(  # noqa: PLR0913  what there is to tell
        self, codec: Codec, call: Call, request: Request | None, error: RequestError, *, status: int, times: Times
    ) -> None:
        """One request got no prediction; it is logged where that is not its client's doing."""
        latency_s = perf_counter() - times.began
        self._metrics.failed(RouteKey(codec.name, call.route.path, status), error.fault, latency_s=latency_s)
        if request is not None and not error.fault.is_clients:
            rows, payload = row_count(request.payload), request.payload
            self.recorder.record(
                Prediction(call.caller, times.arrived, codec.name, "error", latency_s * 1000, rows, payload, None)
            )


class Times(NamedTuple):
    """When a request had come: seconds since the epoch, and on the performance counter."""

    arrived: float
    began: float


def _prediction(told: Told) -> Prediction:
    return Prediction(
        told.call.caller,
        told.arrived,
        told.codec.name,
        "success",
        (told.known - told.began) * 1000,
        told.rows,
        told.request.payload,
        told.output,
    )


def _batch(told: list[Told], payload: Payload, output: Any) -> Batch:  # noqa: ANN401  a model returns anything
    return Batch(
        callers=[one.call.caller for one in told],
        times=[one.arrived for one in told],
        protocols=[one.codec.name for one in told],
        latencies_ms=[(one.known - one.began) * 1000 for one in told],
        payload=payload,
        output=output,
    )
