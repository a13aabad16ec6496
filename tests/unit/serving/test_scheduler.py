"""The scheduler on a real event loop and a real thread, with the echo model."""

import asyncio
import random
from collections.abc import Callable, Coroutine
from typing import Any

import numpy as np
import pytest

from mlflow_deploy_plugin.serving.batching import Batcher
from mlflow_deploy_plugin.serving.books import Books
from mlflow_deploy_plugin.serving.faults import Fault, RequestError
from mlflow_deploy_plugin.serving.metrics import Metrics
from mlflow_deploy_plugin.serving.predictors.fake import EchoPredictor
from mlflow_deploy_plugin.serving.record import NullRecorder
from mlflow_deploy_plugin.serving.request import Raw, Request, Tensor
from mlflow_deploy_plugin.serving.scheduler import Answered, Job, Scheduler
from mlflow_deploy_plugin.serving.thread import ModelThread

Play = Callable[[Scheduler], Coroutine[Any, Any, Any]]


def run(predictor: EchoPredictor, play: Play, *, max_rows: int = 16, max_waiting: int = 10_000) -> Any:
    async def whole() -> Any:
        thread = ModelThread(asyncio.get_running_loop())
        batcher: Batcher[Job] = Batcher(max_rows=max_rows, max_waiting=max_waiting, latency_s=10.0)
        try:
            return await play(Scheduler(predictor, batcher, thread, Books(Metrics(), NullRecorder())))
        finally:
            thread.stop()

    return asyncio.run(whole())


def request(*values: float) -> Request:
    return Request(payload=Tensor(array=np.array(values)[:, None]))


def ask(
    scheduler: Scheduler, *values: float, patience: float = 60.0, is_gone: bool = False
) -> asyncio.Future[Answered]:
    return submit(scheduler, request(*values), patience=patience, is_gone=is_gone)


def submit(
    scheduler: Scheduler, asked: Request, *, patience: float = 60.0, is_gone: bool = False
) -> asyncio.Future[Answered]:
    answer: asyncio.Future[Answered] = asyncio.get_running_loop().create_future()
    scheduler.submit(asked, patience, lambda: is_gone, answer)
    return answer


def values(answered: Answered) -> list[float]:
    return np.asarray(answered.prediction).tolist()


def test_a_lone_request_runs_in_a_batch_of_its_own() -> None:
    async def play(scheduler: Scheduler) -> None:
        assert values(await ask(scheduler, 1.0, 2.0)) == [1.0, 2.0]

    echo = EchoPredictor()
    run(echo, play)
    assert echo.batches == [2]


def test_requests_that_arrive_together_share_a_call() -> None:
    async def play(scheduler: Scheduler) -> None:
        answers = await asyncio.gather(*(ask(scheduler, float(n)) for n in range(5)))
        assert [values(answer) for answer in answers] == [[float(n)] for n in range(5)]

    echo = EchoPredictor()
    run(echo, play)
    assert echo.batches == [5]


def test_answers_are_never_mixed_whatever_the_sizes() -> None:
    dice = random.Random(7)  # noqa: S311  ragged sizes, always the same

    async def client(scheduler: Scheduler, name: int) -> None:
        for turn in range(12):
            mine = [float(name * 1000 + turn * 10 + row) for row in range(dice.randint(1, 9))]
            assert values(await ask(scheduler, *mine)) == mine
            if dice.random() < 0.3:
                await asyncio.sleep(0)

    async def play(scheduler: Scheduler) -> None:
        await asyncio.gather(*(client(scheduler, name) for name in range(1, 65)))

    echo = EchoPredictor()
    run(echo, play)
    assert len(echo.batches) < 64 * 12 / 2
    assert max(echo.batches) <= 16


def test_poison_costs_only_its_sender() -> None:
    async def play(scheduler: Scheduler) -> list[Any]:
        return await asyncio.gather(*(ask(scheduler, float(n)) for n in range(8)), return_exceptions=True)

    outcome = run(EchoPredictor(poison=3.0), play)
    failed = [at for at, answer in enumerate(outcome) if isinstance(answer, RequestError)]
    assert failed == [3]
    assert outcome[3].fault is Fault.MODEL_FAILED
    assert isinstance(outcome[3].__cause__, ValueError)


def test_an_output_that_cannot_be_split_is_served_unbatched_from_then_on() -> None:
    async def play(scheduler: Scheduler) -> list[Any]:
        await asyncio.gather(*(ask(scheduler, float(n)) for n in range(4)))
        return [values(await ask(scheduler, 5.0, 6.0)), scheduler.row_limit]

    echo = EchoPredictor(answer=lambda column: [float(np.sum(column))])
    assert run(echo, play) == [[11.0], 1]
    assert echo.batches == [4, 1, 1, 1, 1, 2]


def test_a_request_whose_time_is_up_costs_no_call() -> None:
    async def play(scheduler: Scheduler) -> None:
        first = ask(scheduler, 1.0)
        await asyncio.sleep(0.01)
        late = ask(scheduler, 2.0, patience=0.0)
        await first
        with pytest.raises(RequestError) as told:
            await late
        assert told.value.fault is Fault.TIMED_OUT

    echo = EchoPredictor(seconds=0.05)
    run(echo, play)
    assert echo.batches == [1]


def test_a_client_that_has_gone_costs_no_call() -> None:
    async def play(scheduler: Scheduler) -> None:
        with pytest.raises(RequestError) as told:
            await ask(scheduler, 1.0, is_gone=True)
        assert told.value.fault is Fault.CLIENT_GONE

    echo = EchoPredictor()
    run(echo, play)
    assert echo.batches == []


def test_a_full_queue_refuses_and_says_when_to_come_back() -> None:
    async def play(scheduler: Scheduler) -> None:
        first = ask(scheduler, 1.0)
        await asyncio.sleep(0.01)
        second = ask(scheduler, 2.0, 3.0)
        with pytest.raises(RequestError) as told:
            ask(scheduler, 4.0)
        assert told.value.fault is Fault.OVERLOADED
        assert told.value.retry_after_s is not None
        await asyncio.gather(first, second)

    run(EchoPredictor(seconds=0.05), play, max_waiting=2)


def test_raw_requests_are_never_joined() -> None:
    async def play(scheduler: Scheduler) -> None:
        raw = Request(payload=Raw(value=1.0))
        await asyncio.gather(*(submit(scheduler, raw) for _ in range(3)))

    echo = EchoPredictor()
    run(echo, play)
    assert echo.batches == [1, 1, 1]


def test_a_model_that_ends_the_interpreter_fails_its_request_only() -> None:
    def leave(_: Any) -> Any:
        raise SystemExit(3)

    async def play(scheduler: Scheduler) -> None:
        with pytest.raises(RequestError) as told:
            await ask(scheduler, 1.0)
        assert told.value.fault is Fault.MODEL_FAILED

    run(EchoPredictor(answer=leave), play)


class Hungry(EchoPredictor):
    """Has memory for one request at a time, and none for those of more than two rows."""

    def predict(self, payload: Any, params: Any, wants: Any) -> Any:
        answer = EchoPredictor.predict(self, payload, params, wants)
        if self.batches[-1] > 2:
            raise MemoryError("CUDA out of memory\nand a page of advice")
        return answer


def test_no_memory_for_a_batch_is_met_request_by_request_and_is_503_where_one_finds_none() -> None:
    async def play(scheduler: Scheduler) -> list[Any]:
        asked = [ask(scheduler, 1.0, 2.0), ask(scheduler, 3.0, 4.0), ask(scheduler, 5.0, 6.0, 7.0)]
        return await asyncio.gather(*asked, return_exceptions=True)

    first, second, third = run(Hungry(), play)
    assert (values(first), values(second)) == ([1.0, 2.0], [3.0, 4.0])
    assert (third.fault, third.retry_after_s) == (Fault.UNAVAILABLE, 1)
    assert str(third) == "no memory for the request, even alone: CUDA out of memory"


def test_giving_up_tells_everyone_who_waits() -> None:
    async def play(scheduler: Scheduler) -> None:
        first = ask(scheduler, 1.0)
        await asyncio.sleep(0.01)
        second = ask(scheduler, 2.0)
        scheduler.fail_all(RequestError(Fault.UNAVAILABLE, "replaced"))
        for answer in (first, second):
            with pytest.raises(RequestError):
                await answer

    run(EchoPredictor(seconds=0.05), play)
