"""Adaptive batching on the event loop: :mod:`.batching` decides, :class:`.thread.ModelThread` calls the model.

- One call of the model is in flight; what arrives meanwhile is the next batch. It runs in the model's thread, or on
  the event loop where the predictor is pure computation and measured short.
- A batch that fails is run again request by request, so that only the request which is at fault fails.
- A model whose output cannot be dealt back to requests is served unbatched from then on.
- A request whose client has gone, or whose time is up, is dropped before it costs a call.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from mlflow_deploy_plugin.serving.batching import Batcher, Ticket
from mlflow_deploy_plugin.serving.faults import Fault, RequestError
from mlflow_deploy_plugin.serving.outputs import UnsplittableError, split
from mlflow_deploy_plugin.serving.payloads import group, join, row_count
from mlflow_deploy_plugin.serving.request import Matrix, Tensor, Tensors

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mlflow_deploy_plugin.serving.predictors.base import Output, Predictor
    from mlflow_deploy_plugin.serving.request import Payload, Request
    from mlflow_deploy_plugin.serving.thread import ModelThread

INLINE_S: Final = 0.003
"""A call that is expected to take less runs on the event loop, where the predictor allows it: handing it to the thread
and fighting for the interpreter's lock would cost more than the loop's standing still does."""

ARRAYS: Final = frozenset({Matrix, Tensor, Tensors})
"""Payloads whose computation is the model's alone."""

_logger = logging.getLogger("modelserve.scheduler")


class Answered(NamedTuple):
    """What became of one request, and how long it waited for its batch."""

    prediction: Any
    probability: Any
    queue_s: float


class Answer(Protocol):
    """Where an answer goes. A future is one; whoever answers at once saves a turn of the event loop by his own."""

    def done(self) -> bool:
        """Whether it has come, or nobody waits for it any more."""

    def set_result(self, result: Answered, /) -> None:
        """It is this; called once at most, and never raises."""

    def set_exception(self, exception: RequestError, /) -> None:
        """There is none, and why."""


@dataclass(eq=False, slots=True)
class Job:
    """One request on its way through the scheduler."""

    request: Request
    rows: int
    answer: Answer
    is_gone: Callable[[], bool]
    arrived: float
    deadline: float


class Observer(Protocol):
    """Who wants to know of batches: the books."""

    def batch(self, *, rows: int, seconds: float, payload: Payload, prediction: Any) -> None:  # noqa: ANN401  a model returns anything
        """One call of the model succeeded, with this for its input and output; its answers have been given."""


@dataclass(slots=True)
class _Computed:
    parts: list[tuple[Any, Any]]
    payload: Payload
    whole: Any
    seconds: float
    began: float


def _is_gone(job: Job) -> bool:
    return job.answer.done() or job.is_gone()


class Scheduler:
    """The waiting room and the model of one worker. All methods belong to the event loop's thread."""

    def __init__(
        self,
        predictor: Predictor,
        batcher: Batcher[Job],
        thread: ModelThread,
        observer: Observer,
        *,
        may_run_inline: bool = False,
    ) -> None:
        self._predictor = predictor
        self._batcher = batcher
        self._thread = thread
        self._observer = observer
        self._may_run_inline = may_run_inline
        self._loop = asyncio.get_running_loop()
        self._running: list[Ticket[Job]] = []
        self._busy_since: float | None = None
        self._is_standing = False
        self._is_pump_due = False
        self._was_alone = False
        self._outstanding: set[Job] = set()
        self._drained: asyncio.Future[None] | None = None

    @property
    def in_flight(self) -> int:
        """Requests without an answer yet."""
        return len(self._outstanding)

    @property
    def busy_since(self) -> float | None:
        """When the call in flight began, on ``time.perf_counter``; None: no call is."""
        return self._busy_since

    @property
    def standing_since(self) -> float | None:
        """When the call began for which the event loop stands still; None: it turns. Any thread may ask."""
        return self._busy_since if self._is_standing else None

    @property
    def waiting_rows(self) -> int:
        """Rows that wait."""
        return self._batcher.waiting_rows

    @property
    def row_limit(self) -> int:
        """Rows of the next batch, at most."""
        return self._batcher.row_limit

    def submit(self, request: Request, timeout_s: float, is_gone: Callable[[], bool], answer: Answer) -> Job:
        """Let a request wait for its batch, ``timeout_s`` at most; :meth:`expire` keeps that.

        Raises:
            RequestError: OVERLOADED, the queue is full.
        """
        rows = row_count(request.payload)
        arrived = perf_counter()
        key = group(request.payload, request.params, request.wants) if self._batcher.is_joining else None
        job = Job(request, rows, answer, is_gone, arrived, arrived + timeout_s)
        if not self._batcher.offer(Ticket(job, rows, key, job.deadline)):
            raise RequestError(
                Fault.OVERLOADED,
                f"{self._batcher.waiting_rows} rows wait already and at most {self._batcher.max_waiting} may;"
                " try again later",
                retry_after_s=self._seconds_to_drain(),
            )
        self._outstanding.add(job)
        if self._busy_since is None and not self._is_pump_due:
            self._pump_after_turn(0)
        return job

    def probe(self, request: Request) -> asyncio.Future[Output]:
        """One call by itself that is neither counted nor learned from: the warm-up."""
        answer: asyncio.Future[Output] = self._loop.create_future()

        def done(output: Output | None, error: BaseException | None) -> None:
            if output is not None:
                answer.set_result(output)
            elif error is not None:
                answer.set_exception(_as_fault(error))

        self._thread.submit(lambda: self._predictor.predict(request.payload, request.params, request.wants), done)
        return answer

    def fail_all(self, error: RequestError) -> None:
        """Tell everyone who waits or runs; used when the worker gives up."""
        self._batcher.drop_all()
        for job in list(self._outstanding):
            self._fail(job, error)

    def expire(self, now: float) -> None:
        """Tell those whose time is up; the call that they are in goes on without them."""
        for job in [job for job in self._outstanding if job.deadline <= now]:
            self._fail(job, RequestError(Fault.TIMED_OUT, "the model did not answer in time (timeout_s)"))

    async def drain(self) -> None:
        """Wait until everyone has an answer."""
        while self._outstanding:
            self._drained = self._loop.create_future()
            await self._drained

    def _leave(self, job: Job) -> None:
        self._outstanding.discard(job)
        if not self._outstanding and self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

    def _seconds_to_drain(self) -> float:
        fixed, per_row = self._batcher.service.fit()
        batches = self._batcher.waiting_rows / max(self._batcher.row_limit, 1)
        return max(1.0, batches * fixed + self._batcher.waiting_rows * per_row)

    def _pump_after_turn(self, seen: int) -> None:
        self._is_pump_due = True
        self._loop.call_soon(self._gather, seen)

    def _gather(self, seen: int) -> None:
        """Pump when a turn of the event loop brings nobody new.

        No time is waited for: a turn with work to do polls the sockets and goes on. But what the sockets hold already,
        such as the next requests of those who have just been answered, joins this batch and not the one after. One
        that comes alone after one that was alone is not held up for that.
        """
        self._is_pump_due = False
        waiting = len(self._batcher)
        is_alone = waiting == 1 and self._was_alone
        if waiting > seen and not is_alone and self._batcher.waiting_rows < self._batcher.max_rows:
            self._pump_after_turn(waiting)
        else:
            self._pump()

    def _pump(self) -> None:
        while self._busy_since is None and len(self._batcher):
            taken = self._batcher.take(perf_counter(), _is_gone)
            for ticket in taken.expired:
                self._fail(ticket.item, RequestError(Fault.TIMED_OUT, "the request's time was up before its turn came"))
            for ticket in taken.gone:
                self._fail(ticket.item, RequestError(Fault.CLIENT_GONE, "the client has gone"))
            if taken.batch:
                self._was_alone = len(taken.batch) == 1 and not len(self._batcher)
                self._start(taken.batch)
                return

    def _start(self, batch: list[Ticket[Job]]) -> None:
        self._running = batch
        self._busy_since = perf_counter()
        jobs = [ticket.item for ticket in batch]
        is_array = type(jobs[0].request.payload) in ARRAYS  # a frame may be anything, in any time
        if self._may_run_inline and is_array and self._batcher.expected_s(sum(job.rows for job in jobs)) < INLINE_S:
            self._is_standing = True
            outcome = _outcome(self._compute, jobs)
            self._is_standing = False
            self._settle(*outcome)
            if len(self._batcher) and not self._is_pump_due:
                self._pump_after_turn(-1)  # when those who have just been answered may have asked again
        else:
            self._thread.submit(lambda: self._compute(jobs), self._finish)

    def _compute(self, jobs: Sequence[Job]) -> _Computed:
        """In the model's thread: one call for all."""
        began = perf_counter()
        first = jobs[0].request
        payload = join([job.request.payload for job in jobs])
        output = self._predictor.predict(payload, first.params, first.wants)
        seconds = perf_counter() - began
        return _Computed(_deal(output, [job.rows for job in jobs]), payload, output.prediction, seconds, began)

    def _finish(self, computed: _Computed | None, error: BaseException | None) -> None:
        self._settle(computed, error)
        self._pump()

    def _settle(self, computed: _Computed | None, error: BaseException | None) -> None:
        batch, self._running, self._busy_since = self._running, [], None
        if computed is not None:
            self._deliver(batch, computed)
        elif error is not None and len(batch) > 1:
            self._separate(batch, error)
        elif error is not None:
            self._fail(batch[0].item, _as_fault(error))

    def _deliver(self, batch: list[Ticket[Job]], computed: _Computed) -> None:
        for ticket, (prediction, probability) in zip(batch, computed.parts, strict=True):
            job = ticket.item
            self._leave(job)
            if not job.answer.done():
                job.answer.set_result(Answered(prediction, probability, computed.began - job.arrived))
        rows = sum(ticket.rows for ticket in batch)
        self._batcher.service.learn(rows, computed.seconds)
        seconds, payload, prediction = computed.seconds, computed.payload, computed.whole
        self._observer.batch(rows=rows, seconds=seconds, payload=payload, prediction=prediction)

    def _fail(self, job: Job, error: RequestError) -> None:
        self._leave(job)
        if not job.answer.done():
            job.answer.set_exception(error)

    def _separate(self, batch: list[Ticket[Job]], error: BaseException) -> None:
        if isinstance(error, UnsplittableError) and self._batcher.is_joining:
            self._batcher.is_joining = False
            _logger.warning("serving unbatched from now on: %s", error)
        self._batcher.put_back(batch)


def _outcome(work: Callable[[list[Job]], _Computed], jobs: list[Job]) -> tuple[_Computed | None, Exception | None]:
    try:
        return work(jobs), None
    except Exception as error:  # noqa: BLE001  whatever the model raises goes to its client
        return None, error


def _deal(output: Output, sizes: list[int]) -> list[tuple[Any, Any]]:
    if len(sizes) == 1:
        return [(output.prediction, output.probability)]
    predictions = split(output.prediction, sizes)
    if output.probability is None:
        return [(prediction, None) for prediction in predictions]
    return list(zip(predictions, split(output.probability, sizes), strict=True))


def _as_fault(error: BaseException) -> RequestError:
    if isinstance(error, RequestError):
        return error
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":  # the latter is torch's
        words = (str(error).splitlines() or [""])[0]
        return RequestError(Fault.UNAVAILABLE, f"no memory for the request, even alone: {words}", retry_after_s=1)
    fault = RequestError(Fault.MODEL_FAILED, f"the model raised {type(error).__name__}: {error}")
    fault.__cause__ = error
    return fault
