"""One request's way: ``decode → scheduler → predictor → encode``, measured and recorded.

A hanging model: its request is answered 504 when its time is up; a call that outlives ``timeout_s`` makes the worker
unready, everyone who waits is told 503, and the process ends with :data:`EXIT_STUCK` so that whoever supervises it
starts another. A thread cannot be killed; a process can. Where the call is on the event loop, :mod:`.watchdog` sees
to that, and nobody is told.
"""

from __future__ import annotations

import asyncio
import logging
import time
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

from mlflow_deploy_plugin.serving.books import Times, Told
from mlflow_deploy_plugin.serving.codecs.base import StreamingCodec
from mlflow_deploy_plugin.serving.faults import AsleepError, Fault, RequestError
from mlflow_deploy_plugin.serving.payloads import row_count
from mlflow_deploy_plugin.serving.request import Raw, Response
from mlflow_deploy_plugin.serving.watchdog import Watchdog
from mlflow_deploy_plugin.spec.headers import MODEL_FAILED

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from mlflow_deploy_plugin.serving.books import Books
    from mlflow_deploy_plugin.serving.codecs.base import Call, Codec, Reply
    from mlflow_deploy_plugin.serving.lifecycle import Lifecycle
    from mlflow_deploy_plugin.serving.request import Request
    from mlflow_deploy_plugin.serving.scheduler import Answered, Scheduler
    from mlflow_deploy_plugin.serving.streams import StreamReply, Streams

    Say = Callable[[Reply | StreamReply], None]

_logger = logging.getLogger("modelserve.engine")

EXIT_STUCK: Final = 70  # EX_SOFTWARE of sysexits.h
LARGE_BODY: Final = 256 * 1024
"""Bytes; larger bodies are decoded in a thread, so that health checks are answered meanwhile."""
LARGE_ANSWER: Final = 2048
"""Rows; larger answers are encoded in a thread."""
REPLACED: Final = "this worker is being replaced; try again"
BUG: Final = "internal error; the server's log has it under the request id"
STUCK: Final = "a call of the model has not returned for %.1f s; this worker ends, to be replaced"
LAST_WORDS_S: Final = 0.5
"""Seconds between giving up and the end of the process, in which the answers are written."""


class _Visit:
    """One call on its way, and where its answer comes back: the scheduler's :class:`.scheduler.Answer`."""

    __slots__ = ("_engine", "arrived", "began", "call", "codec", "decoded", "is_gone", "is_over", "request", "say")

    def __init__(self, engine: Engine, codec: Codec, call: Call, is_gone: Callable[[], bool], say: Say) -> None:
        self._engine = engine
        self.codec = codec
        self.call = call
        self.is_gone = is_gone
        self.say = say
        self.arrived = time.time()
        self.began = self.decoded = perf_counter()
        self.request: Request | None = None
        self.is_over = False

    def done(self) -> bool:
        """Whether it is answered."""
        return self.is_over

    def set_result(self, result: Answered, /) -> None:
        """The model's answer."""
        self._engine.known(self, result)

    def set_exception(self, exception: RequestError, /) -> None:
        """There will be none."""
        self._engine.failed(self, exception)

    def end(self, reply: Reply | StreamReply) -> None:
        """Answer; whoever comes later comes too late."""
        self.is_over = True
        self.say(reply)


class Engine:
    """Answers the calls of all codecs. Belongs to the event loop's thread."""

    def __init__(  # noqa: PLR0913  its parts, each by name
        self,
        *,
        scheduler: Scheduler,
        streams: Streams,
        books: Books,
        lifecycle: Lifecycle,
        timeout_s: float,
        end_process: Callable[[int], None],
    ) -> None:
        self._scheduler = scheduler
        self._streams = streams
        self._books = books
        self._lifecycle = lifecycle
        self._timeout_s = timeout_s
        self._end_process = end_process
        self._loop = asyncio.get_running_loop()
        self._period_s = min(0.25, timeout_s / 4)
        self._sweep_timer = self._loop.call_later(self._period_s, self._sweep)
        self._watchdog = Watchdog(
            lambda: scheduler.standing_since, self._bite, limit_s=timeout_s, period_s=self._period_s
        )
        self._wakings: dict[Callable[[], None], asyncio.Task[None]] = {}
        self._loading = asyncio.Lock()
        self._apart: set[asyncio.Task[None]] = set()

    @property
    def in_flight(self) -> int:
        """Requests without an answer yet."""
        return self._scheduler.in_flight

    @property
    def waiting_rows(self) -> int:
        """Rows that wait for the model."""
        return self._scheduler.waiting_rows

    async def answer(self, codec: Codec, call: Call, is_gone: Callable[[], bool]) -> Reply | StreamReply:
        """The reply to one call; never raises but for cancellation."""
        answer: asyncio.Future[Reply | StreamReply] = self._loop.create_future()

        def say(reply: Reply | StreamReply) -> None:
            if not answer.done():
                answer.set_result(reply)

        self.begin(codec, call, lambda: answer.done() or is_gone(), say)
        return await answer

    def begin(self, codec: Codec, call: Call, is_gone: Callable[[], bool], say: Say) -> None:
        """Set one call on its way; ``say`` is called once with the reply, perhaps before this returns.

        No coroutine and no task: the way through the model needs none, and each costs some microseconds. What has to
        wait for something else (a thread that decodes, a model that is loaded) gets one.
        """
        visit = _Visit(self, codec, call, is_gone, say)
        if len(call.body) >= LARGE_BODY:
            self._run_apart(self._decode_apart(visit), visit)
            return
        try:
            request = codec.decode(call)
        except Exception as error:  # noqa: BLE001  sorted there
            self._refuse(visit, error)
        else:
            self._decoded(visit, request)

    def _decoded(self, visit: _Visit, request: Request) -> None:
        visit.request = request
        if request.is_stream and isinstance(visit.codec, StreamingCodec):
            self._run_apart(self._open_stream(visit.codec, request, visit), visit)
            return
        visit.decoded = perf_counter()
        if self._lifecycle.is_leaving and self._lifecycle.is_stuck:
            self._refuse(visit, RequestError(Fault.UNAVAILABLE, REPLACED, retry_after_s=1))
            return
        try:
            self._scheduler.submit(request, self._timeout_s, visit.is_gone, visit)
        except Exception as error:  # noqa: BLE001  sorted there
            self._refuse(visit, error)

    def known(self, visit: _Visit, answered: Answered) -> None:
        """The model has answered: encode, reply, tell."""
        request = visit.request
        if request is None:
            raise TypeError("a visit without a request cannot be answered")
        known = perf_counter()
        rows = row_count(request.payload)
        response = Response(answered.prediction, answered.probability, rows, (known - visit.began) * 1000)
        if rows >= LARGE_ANSWER:
            self._run_apart(self._encode_apart(visit, request, response, answered.queue_s), visit)
            return
        try:
            reply = visit.codec.encode(response, request, visit.call)
        except Exception as error:  # noqa: BLE001  sorted there
            self._refuse(visit, error)
            return
        visit.end(reply)
        self._books.answer(_told(visit, request, response, reply.status, known=known, queue_s=answered.queue_s))

    def failed(self, visit: _Visit, error: Exception) -> None:
        """The model gives no answer, or nobody has the time for one."""
        if not visit.is_over:
            self._refuse(visit, error)

    def _refuse(self, visit: _Visit, error: Exception) -> None:
        """Answer what went wrong; or wake what is asleep, and try again."""
        if isinstance(error, AsleepError):
            self._run_apart(self._awaken(visit, error), visit)
            return
        request = visit.request
        if not isinstance(error, RequestError):  # a bug of ours must not cost the connection, and must be seen
            _logger.error("%s failed on request %s", visit.codec.name, visit.call.caller.request_id, exc_info=error)
            request, error = None, RequestError(Fault.MODEL_FAILED, BUG)
        try:
            reply = _marked(self._words(visit, request, error), error)
        except AsleepError as asleep:  # the words are
            self._run_apart(self._awaken_words(visit, asleep, error), visit)
            return
        times = Times(visit.arrived, visit.began)
        self._books.refusal(visit.codec, visit.call, request, error, status=reply.status, times=times)
        visit.end(reply)

    def _run_apart(self, work: Coroutine[Any, Any, None], visit: _Visit) -> None:
        task = self._loop.create_task(self._guarded(work, visit))
        self._apart.add(task)
        task.add_done_callback(self._apart.discard)

    async def _guarded(self, work: Coroutine[Any, Any, None], visit: _Visit) -> None:
        try:
            await work
        except Exception as error:  # noqa: BLE001  sorted there
            self._refuse(visit, error)

    async def _decode_apart(self, visit: _Visit) -> None:
        self._decoded(visit, await asyncio.to_thread(visit.codec.decode, visit.call))

    async def _open_stream(self, codec: StreamingCodec, request: Request, visit: _Visit) -> None:
        visit.end(await self._streams.open(codec, request))

    async def _encode_apart(self, visit: _Visit, request: Request, response: Response, queue_s: float) -> None:
        known = perf_counter()
        reply = await asyncio.to_thread(visit.codec.encode, response, request, visit.call)
        visit.end(reply)
        self._books.alone(_told(visit, request, response, reply.status, known=known, queue_s=queue_s))

    async def _awaken(self, visit: _Visit, asleep: AsleepError) -> None:
        if (failure := await self.wake(asleep)) is not None:
            raise failure
        if visit.request is None:
            self._decoded(visit, visit.codec.decode(visit.call))
        else:
            self._decoded(visit, visit.request)

    async def _awaken_words(self, visit: _Visit, asleep: AsleepError, error: RequestError) -> None:
        if await self.wake(asleep) is not None:
            error = RequestError(error.fault, error.message)  # in words that need nothing
        self._refuse(visit, error)

    async def wake(self, asleep: AsleepError) -> RequestError | None:
        """Load what a request needs, once for all who wait for it; why it does not load.

        One thing at a time, since two threads that import the same modules in another order find them half made.
        """
        task = self._wakings.get(asleep.wake)
        if task is None:
            task = self._loop.create_task(self._load(asleep.wake))
            self._wakings[asleep.wake] = task
            task.add_done_callback(lambda _: self._wakings.pop(asleep.wake))
        try:
            await asyncio.shield(task)
        except Exception as error:
            _logger.exception("what a request needs does not load")
            return RequestError(Fault.MODEL_FAILED, f"what this request needs does not load: {error}")
        return None

    async def _load(self, wake: Callable[[], None]) -> None:
        async with self._loading:
            await asyncio.to_thread(wake)

    def _words(self, visit: _Visit, request: Request | None, error: RequestError) -> Reply:
        codec, call = visit.codec, visit.call
        try:
            return codec.encode_error(error, call, request)
        except AsleepError:
            raise
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
            if not may_wake or await self.wake(asleep) is not None:
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
        _logger.critical(STUCK, seconds)
        self._scheduler.fail_all(RequestError(Fault.UNAVAILABLE, REPLACED, retry_after_s=1))
        self._loop.call_later(LAST_WORDS_S, self._end)

    def _bite(self, seconds: float) -> None:
        """In the watchdog's thread: the loop stands still, so all that is left is to end."""
        _logger.critical(STUCK, seconds)
        self._end()

    def _end(self) -> None:
        self._books.recorder.close()
        self._end_process(EXIT_STUCK)

    async def drain(self) -> None:
        """Wait until nobody waits for the model, or for what follows it."""
        while self._scheduler.in_flight or self._apart:  # what is decoded apart asks the model afterwards
            await self._scheduler.drain()
            if self._apart:
                await asyncio.wait(self._apart)

    def stop(self) -> None:
        """End the sweeping; nobody waits any more."""
        self._sweep_timer.cancel()
        self._watchdog.stop()
        self._streams.stop()


def _told(visit: _Visit, request: Request, response: Response, status: int, *, known: float, queue_s: float) -> Told:  # noqa: PLR0913
    return Told(
        visit.codec,
        visit.call,
        request,
        status,
        visit.arrived,
        visit.began,
        visit.decoded,
        known,
        queue_s,
        response.rows,
        response.prediction,
    )


def _marked(reply: Reply, error: RequestError) -> Reply:
    """A failure of the model that its protocol calls the client's error: the gateway must not take it for one."""
    if error.fault is not Fault.MODEL_FAILED or reply.status >= Fault.MODEL_FAILED.value:
        return reply
    return reply._replace(headers=(*reply.headers, (MODEL_FAILED.encode(), b"1")))
