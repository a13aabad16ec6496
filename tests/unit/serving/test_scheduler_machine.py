"""The scheduler in any order of arrivals, calls, failures, lost clients and clocks: one right outcome each."""

import asyncio
from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from mlflow_deploy_plugin.serving.batching import Batcher
from mlflow_deploy_plugin.serving.books import Books
from mlflow_deploy_plugin.serving.faults import Fault, RequestError
from mlflow_deploy_plugin.serving.metrics import Metrics
from mlflow_deploy_plugin.serving.predictors.fake import EchoPredictor
from mlflow_deploy_plugin.serving.record import NullRecorder
from mlflow_deploy_plugin.serving.request import Request, Tensor
from mlflow_deploy_plugin.serving.scheduler import Job, Scheduler

POISON = -1.0
MOST_ROWS = 8


class SteppedThread:
    """The model's thread, one step at a time: a call returns when the test says so."""

    def __init__(self) -> None:
        self.work: tuple[Callable[[], Any], Callable[[Any, BaseException | None], None]] | None = None

    def submit(self, work: Callable[[], Any], done: Callable[[Any, BaseException | None], None]) -> None:
        assert self.work is None, "one call of the model at a time"
        self.work = (work, done)

    def step(self) -> None:
        assert self.work is not None
        (work, done), self.work = self.work, None
        try:
            result, error = work(), None
        except ValueError as raised:
            result, error = None, raised
        done(result, error)


class SchedulerMachine(RuleBasedStateMachine):
    """Every request that was let in is answered once: with its own rows, or with the fault that befell it."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.thread = SteppedThread()
        self.echo = EchoPredictor(poison=POISON)
        self.jobs: list[tuple[Job, list[float]]] = []
        self.lost: set[int] = set()
        self.expired: set[int] = set()
        self.next_value = 0.0
        self.scheduler = self.loop.run_until_complete(self._make())

    async def _make(self) -> Scheduler:
        batcher: Batcher[Job] = Batcher(max_rows=MOST_ROWS, max_waiting=40, latency_s=10.0)
        return Scheduler(self.echo, batcher, self.thread, Books(Metrics(), NullRecorder()))  # type: ignore[arg-type]

    def _turn(self) -> None:
        """A few turns of the loop, so that what is due happens."""
        for _ in range(5):
            self.loop.run_until_complete(asyncio.sleep(0))

    @rule(rows=st.integers(1, 10), is_wide=st.booleans(), is_poison=st.booleans(), is_patient=st.booleans())
    def arrive(self, *, rows: int, is_wide: bool, is_poison: bool, is_patient: bool) -> None:
        values = [self.next_value + row for row in range(rows)]
        self.next_value += rows
        if is_poison:
            values[-1] = POISON
        array = np.repeat(np.array(values)[:, None], 2 if is_wide else 1, axis=1)
        name = len(self.jobs)
        job = self._submitted(array, 3600.0 if is_patient else 1800.0, lambda: name in self.lost)
        if job is None:
            assert self.scheduler.waiting_rows + rows > 40
        else:
            self.jobs.append((job, values))

    def _submitted(self, array: np.ndarray, patience_s: float, is_gone: Callable[[], bool]) -> Job | None:
        try:
            return self.scheduler.submit(
                Request(payload=Tensor(array=array)), patience_s, is_gone, self.loop.create_future()
            )
        except RequestError as error:
            if error.fault is not Fault.OVERLOADED:
                raise
            return None

    @rule()
    def turn(self) -> None:
        self._turn()

    @precondition(lambda self: self.thread.work is not None)
    @rule()
    def return_from_a_call(self) -> None:
        self.thread.step()
        self._turn()

    @precondition(lambda self: self.jobs)
    @rule(which=st.integers(0, 10_000))
    def lose_a_client(self, which: int) -> None:
        self.lost.add(which % len(self.jobs))

    @precondition(lambda self: self.jobs)
    @rule()
    def time_passes_for_the_impatient(self) -> None:
        first = self.jobs[0][0].arrived
        self.scheduler.expire(first + 2700.0)
        self.expired |= {at for at, (job, _) in enumerate(self.jobs) if job.deadline <= first + 2700.0}
        self._turn()

    @invariant()
    def every_outcome_is_the_right_one(self) -> None:
        for at, (job, values) in enumerate(self.jobs):
            assert isinstance(job.answer, asyncio.Future)
            if not job.answer.done():
                continue
            error = job.answer.exception()
            if error is None:
                assert np.asarray(job.answer.result().prediction).tolist() == values
            else:
                assert isinstance(error, RequestError)
                why = {
                    Fault.MODEL_FAILED: POISON in values,
                    Fault.CLIENT_GONE: at in self.lost,
                    Fault.TIMED_OUT: at in self.expired,
                }
                assert why[error.fault], error.fault

    @invariant()
    def batches_are_small_or_of_one_request(self) -> None:
        assert all(rows <= 10 for rows in self.echo.batches)
        assert self.scheduler.in_flight == sum(not job.answer.done() for job, _ in self.jobs)

    def teardown(self) -> None:
        """Whatever has happened: in the end nobody waits."""
        self._turn()
        while self.thread.work is not None:
            self.thread.step()
            self._turn()
        assert all(job.answer.done() for job, _ in self.jobs)
        self.every_outcome_is_the_right_one()
        assert (self.scheduler.in_flight, self.scheduler.waiting_rows) == (0, 0)
        self.loop.close()


SchedulerMachine.TestCase.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
TestScheduler = SchedulerMachine.TestCase
