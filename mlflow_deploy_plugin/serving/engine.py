"""One request's way: ``decode → scheduler → predictor → encode``, measured and recorded.

A hanging model: its request is answered 504 when its time is up; a call that outlives ``timeout_s`` makes the worker
unready, everyone who waits is told 503, and the process ends with :data:`EXIT_STUCK` so that whoever supervises it
starts another. A thread cannot be killed; a process can.
"""

from __future__ import annotations

import asyncio
import logging
import time
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from mlflow_deploy_plugin.serving.codecs.base import StreamingCodec
from mlflow_deploy_plugin.serving.faults import AsleepError, Fault, RequestError
from mlflow_deploy_plugin.serving.metrics import RouteKey
from mlflow_deploy_plugin.serving.payloads import row_count
from mlflow_deploy_plugin.serving.record import Prediction
from mlflow_deploy_plugin.serving.request import Raw, Response
from mlflow_deploy_plugin.spec.headers import MODEL_FAILED

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from mlflow_deploy_plugin.serving.codecs.base import Call, Codec, Reply
    from mlflow_deploy_plugin.serving.lifecycle import Lifecycle
    from mlflow_deploy_plugin.serving.metrics import Metrics
    from mlflow_deploy_plugin.serving.record import Recorder
    from mlflow_deploy_plugin.serving.request import Request
    from mlflow_deploy_plugin.serving.scheduler import Job, Scheduler
    from mlflow_deploy_plugin.serving.streams import StreamReply, Streams

_logger = logging.getLogger("modelserve.engine")

EXIT_STUCK: Final = 70  # EX_SOFTWARE of sysexits.h
LARGE_BODY: Final = 256 * 1024
"""Bytes; larger bodies are decoded in a thread, so that health checks are answered meanwhile."""
LARGE_ANSWER: Final = 2048
"""Rows; larger answers are encoded in a thread."""
LAST_WORDS_S: Final = 0.5
"""Seconds between giving up and the end of the process, in which the answers are written."""


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
        self._loop = asyncio.get_running_loop()
        self._period_s = min(0.25, timeout_s / 4)
        self._sweep_timer = self._loop.call_later(self._period_s, self._sweep)
        self._wakings: dict[Callable[[], None], asyncio.Task[None]] = {}

    @property
    def in_flight(self) -> int:
        """Requests without an answer yet."""
        return self._scheduler.in_flight

    @property
    def waiting_rows(self) -> int:
        """Rows that wait for the model."""
        return self._scheduler.waiting_rows

    def answer(self, codec: Codec, call: Call, is_gone: Callable[[], bool]) -> Coroutine[Any, Any, Reply | StreamReply]:
        """The reply to one call; never raises but for cancellation."""
        return self._answer(_Visit(codec, call, time.time(), perf_counter()), is_gone)

    async def _answer(self, visit: _Visit, is_gone: Callable[[], bool]) -> Reply | StreamReply:
        codec, call = visit.codec, visit.call
        request: Request | None = None
        try:
            is_large = len(call.body) >= LARGE_BODY
            request = await asyncio.to_thread(codec.decode, call) if is_large else codec.decode(call)
            if request.is_stream and isinstance(codec, StreamingCodec):
                return await self._streams.open(codec, request)
            decoded = perf_counter()
            job = self._submit(request, is_gone)
            answered = await job.answer
            known = perf_counter()
            response = Response(answered.prediction, answered.probability, job.rows, (known - visit.began) * 1000)
            is_large = job.rows >= LARGE_ANSWER
            encode = codec.encode
            reply = (
                await asyncio.to_thread(encode, response, request, call)
                if is_large
                else encode(response, request, call)
            )
            self._tell(visit, request, response, reply, queue_s=answered.queue_s, waited_s=known - decoded)
            return reply  # noqa: TRY300  what goes wrong above is answered below
        except AsleepError as asleep:
            failure = await self._wake(asleep)
            return await self._answer(visit, is_gone) if failure is None else self._refuse(visit, request, failure)
        except RequestError as error:
            return self._refuse(visit, request, error)
        except Exception:  # a bug of ours must not cost the connection, and must be seen
            _logger.exception("%s failed on request %s", codec.name, call.caller.request_id)
            words = "internal error; the server's log has it under the request id"
            return self._refuse(visit, None, RequestError(Fault.MODEL_FAILED, words))

    def _submit(self, request: Request, is_gone: Callable[[], bool]) -> Job:
        if self._lifecycle.is_stuck:
            raise RequestError(Fault.UNAVAILABLE, "this worker is being replaced; try again", retry_after_s=1)
        return self._scheduler.submit(request, self._timeout_s, is_gone)

    def _tell(  # noqa: PLR0913  what there is to tell
        self, visit: _Visit, request: Request, response: Response, reply: Reply, *, queue_s: float, waited_s: float
    ) -> None:
        """Count and log one answer. All but the waiting was the codec's time."""
        codec, call, arrived, began = visit
        latency_s = perf_counter() - began
        key = RouteKey(codec.name, call.route.path, reply.status)
        self._metrics.answered(key, latency_s=latency_s, queue_s=queue_s, codec_s=latency_s - waited_s)
        self._recorder.record(
            Prediction(
                call.caller,
                arrived,
                codec.name,
                "success",
                response.latency_ms,
                response.rows,
                request.payload,
                response.prediction,
            )
        )

    async def _wake(self, asleep: AsleepError) -> RequestError | None:
        """Load what a request needs, once for all who wait for it; why it does not load."""
        task = self._wakings.get(asleep.wake)
        if task is None:
            task = self._loop.create_task(asyncio.to_thread(asleep.wake))
            self._wakings[asleep.wake] = task
            task.add_done_callback(lambda _: self._wakings.pop(asleep.wake))
        try:
            await asyncio.shield(task)
        except Exception as error:
            _logger.exception("what a request needs does not load")
            return RequestError(Fault.MODEL_FAILED, f"what this request needs does not load: {error}")
        return None

    def _refuse(self, visit: _Visit, request: Request | None, error: RequestError) -> Reply:
        codec, call = visit.codec, visit.call
        reply = _marked(self._words(visit, request, error), error)
        latency_s = perf_counter() - visit.began
        self._metrics.failed(RouteKey(codec.name, call.route.path, reply.status), error.fault, latency_s=latency_s)
        if request is not None and not error.fault.is_clients:
            rows, payload = row_count(request.payload), request.payload
            self._recorder.record(
                Prediction(call.caller, visit.arrived, codec.name, "error", latency_s * 1000, rows, payload, None)
            )
        return reply

    def _words(self, visit: _Visit, request: Request | None, error: RequestError) -> Reply:
        codec, call = visit.codec, visit.call
        try:
            return codec.encode_error(error, call, request)
        except Exception:  # some inputs cannot even be quoted, such as one nested almost too deep to be read
            _logger.exception("%s has no words for the failure of request %s", codec.name, call.caller.request_id)
            return codec.encode_error(RequestError(error.fault, error.message), call)

    async def warm_up(self, codec: Codec, call: Call, *, may_wake: bool) -> RequestError | None:
        """One call through the whole way, without trace in metrics and log; the error, where it failed."""
        try:
            request = codec.decode(call)
            if request.is_stream or (isinstance(request.payload, Raw) and request.payload.value is None):
                return None
            output = await self._scheduler.probe(request)
            codec.encode(Response(prediction=output.prediction, probability=output.probability), request, call)
        except AsleepError as asleep:
            if not may_wake or await self._wake(asleep) is not None:
                return asleep
            return await self.warm_up(codec, call, may_wake=True)
        except RequestError as error:
            return error
        return None

    def _sweep(self) -> None:
        """Tell those whose time is up, and see whether the model still returns."""
        now = perf_counter()
        self._scheduler.expire(now)
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
        await self._scheduler.drain()

    def stop(self) -> None:
        """End the sweeping; nobody waits any more."""
        self._sweep_timer.cancel()
        self._streams.stop()


def _marked(reply: Reply, error: RequestError) -> Reply:
    """A failure of the model that its protocol calls the client's error: the gateway must not take it for one."""
    if error.fault is not Fault.MODEL_FAILED or reply.status >= Fault.MODEL_FAILED.value:
        return reply
    return reply._replace(headers=(*reply.headers, (MODEL_FAILED.encode(), b"1")))
