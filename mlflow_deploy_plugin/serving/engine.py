"""One request's way: ``decode → scheduler → predictor → encode``, measured and recorded.

A hanging model: its request is answered 504 when its time is up; a call that outlives ``timeout_s`` makes the worker
unready, everyone who waits is told 503, and the process ends with :data:`EXIT_STUCK` so that whoever supervises it
starts another. A thread cannot be killed; a process can.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass
from time import monotonic, perf_counter
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from mlflow_deploy_plugin.serving.codecs.base import StreamingCodec
from mlflow_deploy_plugin.serving.faults import Fault, RequestError
from mlflow_deploy_plugin.serving.metrics import RouteKey
from mlflow_deploy_plugin.serving.payloads import row_count
from mlflow_deploy_plugin.serving.record import Prediction
from mlflow_deploy_plugin.serving.request import Raw, Response

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlflow_deploy_plugin.serving.codecs.base import Call, Codec, Reply
    from mlflow_deploy_plugin.serving.lifecycle import Lifecycle
    from mlflow_deploy_plugin.serving.metrics import Metrics
    from mlflow_deploy_plugin.serving.record import Recorder, Status
    from mlflow_deploy_plugin.serving.request import Request
    from mlflow_deploy_plugin.serving.scheduler import Answered, Scheduler
    from mlflow_deploy_plugin.serving.streams import StreamReply, Streams

_logger = logging.getLogger("modelserve.engine")

EXIT_STUCK: Final = 70  # EX_SOFTWARE of sysexits.h
LARGE_BODY: Final = 256 * 1024
"""Bytes; larger bodies are decoded in a thread, so that health checks are answered meanwhile."""
LARGE_ANSWER: Final = 2048
"""Rows; larger answers are encoded in a thread."""
LAST_WORDS_S: Final = 0.5
"""Seconds between giving up and the end of the process, in which the answers are written."""


@dataclass(eq=False, slots=True)
class Pending:
    """One request that waits for the model."""

    deadline: float
    answer: asyncio.Future[Answered]


class _Visit(NamedTuple):
    """One call, and when it came: seconds since the epoch, and on the performance counter."""

    codec: Codec
    call: Call
    arrived: float
    began: float


class Engine:
    """Answers the calls of all codecs. Belongs to the event loop's thread."""

    def __init__(  # noqa: PLR0913  its parts, each by name
        self,
        *,
        scheduler: Scheduler,
        streams: Streams,
        metrics: Metrics,
        recorder: Recorder,
        lifecycle: Lifecycle,
        timeout_s: float,
        end_process: Callable[[int], None],
    ) -> None:
        self._scheduler = scheduler
        self._streams = streams
        self._metrics = metrics
        self._recorder = recorder
        self._lifecycle = lifecycle
        self._timeout_s = timeout_s
        self._end_process = end_process
        self._pending: set[Pending] = set()
        self._loop = asyncio.get_running_loop()
        self._period_s = min(0.25, timeout_s / 4)
        self._sweep_timer = self._loop.call_later(self._period_s, self._sweep)

    @property
    def in_flight(self) -> int:
        """Requests that wait for the model."""
        return len(self._pending)

    @property
    def waiting_rows(self) -> int:
        """Rows that wait for the model."""
        return self._scheduler.waiting_rows

    async def answer(self, codec: Codec, call: Call, is_gone: Callable[[], bool]) -> Reply | StreamReply:
        """The reply to one call; never raises but for cancellation."""
        began = perf_counter()
        visit = _Visit(codec, call, time.time(), began)
        request: Request | None = None
        try:
            request = await self._decode(codec, call)
            if request.is_stream and isinstance(codec, StreamingCodec):
                return await self._streams.open(codec, request)
            decoded = perf_counter()
            answered = await self._ask(request, is_gone)
            known = perf_counter()
            latency_ms = (known - began) * 1000
            reply = await self._encode(visit, request, answered, latency_ms)
            ended = perf_counter()
            self._metrics.answered(
                RouteKey(codec.name, call.route.path, reply.status),
                latency_s=ended - began,
                queue_s=answered.queue_s,
                codec_s=decoded - began + ended - known,
            )
            self._record(visit, request, latency_ms=latency_ms, status="success", output=answered.prediction)
        except RequestError as error:
            return self._refuse(visit, request, error)
        except Exception:  # a bug of ours must not cost the connection, and must be seen
            _logger.exception("%s failed on request %s", codec.name, call.caller.request_id)
            words = "internal error; the server's log has it under the request id"
            return self._refuse(visit, None, RequestError(Fault.MODEL_FAILED, words))
        return reply

    async def _decode(self, codec: Codec, call: Call) -> Request:
        if len(call.body) < LARGE_BODY:
            return codec.decode(call)
        return await asyncio.to_thread(codec.decode, call)

    async def _encode(self, visit: _Visit, request: Request, answered: Answered, latency_ms: float) -> Reply:
        rows = row_count(request.payload)
        response = Response(
            prediction=answered.prediction, probability=answered.probability, rows=rows, latency_ms=latency_ms
        )
        if rows < LARGE_ANSWER:
            return visit.codec.encode(response, request, visit.call)
        return await asyncio.to_thread(visit.codec.encode, response, request, visit.call)

    async def _ask(self, request: Request, is_gone: Callable[[], bool]) -> Answered:
        if self._lifecycle.is_stuck:
            raise RequestError(Fault.UNAVAILABLE, "this worker is being replaced; try again", retry_after_s=1)
        deadline = monotonic() + self._timeout_s
        pending = Pending(deadline, self._scheduler.submit(request, deadline=deadline, is_gone=is_gone))
        self._pending.add(pending)
        try:
            return await pending.answer
        finally:
            self._pending.discard(pending)

    def _record(self, visit: _Visit, request: Request, *, latency_ms: float, status: Status, output: Any) -> None:  # noqa: ANN401
        self._recorder.record(
            Prediction(
                caller=visit.call.caller,
                time=visit.arrived,
                protocol=visit.codec.name,
                status=status,
                latency_ms=latency_ms,
                rows=row_count(request.payload),
                payload=request.payload,
                output=output,
            )
        )

    def _refuse(self, visit: _Visit, request: Request | None, error: RequestError) -> Reply:
        codec, call = visit.codec, visit.call
        reply = codec.encode_error(error, call, request)
        latency_s = perf_counter() - visit.began
        self._metrics.failed(RouteKey(codec.name, call.route.path, reply.status), error.fault, latency_s=latency_s)
        if request is not None and not error.fault.is_clients:
            self._record(visit, request, latency_ms=latency_s * 1000, status="error", output=None)
        return reply

    async def warm_up(self, codec: Codec, call: Call) -> RequestError | None:
        """One call through the whole way, without trace in metrics and log; the error, where it failed."""
        try:
            request = codec.decode(call)
            if request.is_stream or (isinstance(request.payload, Raw) and request.payload.value is None):
                return None
            output = await self._scheduler.probe(request)
            codec.encode(Response(prediction=output.prediction, probability=output.probability), request, call)
        except RequestError as error:
            return error
        return None

    def _sweep(self) -> None:
        """Tell those whose time is up, and see whether the model still returns."""
        now = monotonic()
        for pending in [pending for pending in self._pending if pending.deadline <= now]:
            if not pending.answer.done():
                pending.answer.set_exception(
                    RequestError(Fault.TIMED_OUT, f"the model did not answer within {self._timeout_s:g} s")
                )
        since = self._scheduler.busy_since
        if self._lifecycle.is_ready and since is not None and now - since > self._timeout_s:
            self._give_up(now - since)
            return
        self._sweep_timer = self._loop.call_later(self._period_s, self._sweep)

    def _give_up(self, seconds: float) -> None:
        self._lifecycle.stick()
        _logger.critical("a call of the model has not returned for %.1f s; this worker ends, to be replaced", seconds)
        self._scheduler.fail_all(
            RequestError(Fault.UNAVAILABLE, "this worker is being replaced; try again", retry_after_s=1)
        )
        self._loop.call_later(LAST_WORDS_S, self._end)

    def _end(self) -> None:
        self._recorder.close()
        self._end_process(EXIT_STUCK)

    async def drain(self) -> None:
        """Wait until nobody waits for the model."""
        while self._pending:
            await asyncio.wait([pending.answer for pending in self._pending])

    def stop(self) -> None:
        """End the sweeping; nobody waits any more."""
        self._sweep_timer.cancel()
        self._streams.stop()
