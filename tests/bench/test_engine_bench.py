"""The scheduler, its waiting room, and the predictors."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlflow_deploy_plugin.packaging.compiling import CompileJob, compile_model
from mlflow_deploy_plugin.serving import loading
from mlflow_deploy_plugin.serving.batching import Batcher, Ticket
from mlflow_deploy_plugin.serving.books import Books
from mlflow_deploy_plugin.serving.metrics import Metrics
from mlflow_deploy_plugin.serving.predictors.base import Predictor
from mlflow_deploy_plugin.serving.predictors.fake import EchoPredictor
from mlflow_deploy_plugin.serving.record import NullRecorder
from mlflow_deploy_plugin.serving.request import Matrix, Request, Tensor
from mlflow_deploy_plugin.serving.scheduler import Answered, Job, Scheduler
from mlflow_deploy_plugin.serving.thread import ModelThread
from mlflow_deploy_plugin.spec.bento import COMPILED_FOLDER, SPEC_FILE, BentoSpec
from mlflow_deploy_plugin.spec.settings import ServingSettings
from pipelines.benchmark.wires import column_names
from pipelines.benchmark.works import WORKS, Prepared, prepare

Measure = Callable[[Callable[[], Any]], Any]
Play = Callable[[Callable[[], Awaitable[Any]]], Any]

CLIENTS = 64


def test_waiting_room_of_64(measure: Measure) -> None:
    batcher: Batcher[int] = Batcher(max_rows=CLIENTS, max_waiting=10_000, latency_s=10.0)

    def turn() -> int:
        for number in range(CLIENTS):
            batcher.offer(Ticket(number, 1, "same", 1e9))
        return len(batcher.take(0.0, lambda item: item < 0).batch)

    assert measure(turn) == CLIENTS


@pytest.mark.parametrize("is_inline", [True, False], ids=["on-the-loop", "in-the-thread"])
def test_scheduler_of_64(measure: Measure, play: Play, *, is_inline: bool) -> None:
    requests = [Request(payload=Tensor(array=np.array([[float(number)]]))) for number in range(CLIENTS)]

    async def open_scheduler() -> tuple[Scheduler, ModelThread]:
        thread = ModelThread(asyncio.get_running_loop())
        batcher: Batcher[Job] = Batcher(max_rows=CLIENTS, max_waiting=10_000, latency_s=10.0)
        books = Books(Metrics(), NullRecorder())
        return Scheduler(EchoPredictor(), batcher, thread, books, may_run_inline=is_inline), thread

    scheduler, thread = play(open_scheduler)

    async def ask_all() -> list[float]:
        loop = asyncio.get_running_loop()
        answers: list[asyncio.Future[Answered]] = [loop.create_future() for _ in requests]
        for request, answer in zip(requests, answers, strict=True):
            scheduler.submit(request, 60.0, lambda: False, answer)
        return [float((await answer).prediction[0]) for answer in answers]

    assert measure(lambda: play(ask_all)) == [float(number) for number in range(CLIENTS)]
    thread.stop()


DIGESTS = {"model_digest": "sha256:m", "serving_digest": "sha256:s", "environment_digest": "sha256:e"}


@pytest.fixture(scope="module")
def tabular(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return prepare(WORKS["tabular"], tmp_path_factory.mktemp("bento"))


def load(tabular: Prepared, *, predictor: str) -> Predictor:
    spec = BentoSpec(model_uri="models:/bench/1", model_name="bench", predictor=predictor, **DIGESTS)
    (tabular.folder / SPEC_FILE).write_text(spec.to_json())
    return loading.load(tabular.folder, ServingSettings()).loaded.predictor


@pytest.fixture(scope="module")
def generic(tabular: Prepared) -> Predictor:
    return load(tabular, predictor="pyfunc")


@pytest.fixture(scope="module")
def compiled(tabular: Prepared) -> Predictor:
    code = Path(loading.__file__).parents[2]
    job = CompileJob(python=None, code=code, model=tabular.model, out=tabular.folder / COMPILED_FOLDER)
    outcome = compile_model(job)
    assert outcome.form, outcome.reason
    return load(tabular, predictor="compiled")


def measure_predictor(measure: Measure, predictor: Predictor, tabular: Prepared, rows: int) -> None:
    payload = Matrix(values=tabular.rows[:rows], columns=tuple(column_names(30)))
    output = measure(lambda: predictor.predict(payload, None, "prediction"))
    assert np.asarray(output.prediction).tolist() == tabular.answers[:rows, 0].tolist()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:X does not have valid feature names")  # a filter of the loader, which pytest undoes
@pytest.mark.parametrize("rows", [1, 64])
def test_predictor_of_sklearn(measure: Measure, generic: Predictor, tabular: Prepared, rows: int) -> None:
    measure_predictor(measure, generic, tabular, rows)


@pytest.mark.slow
@pytest.mark.parametrize("rows", [1, 64])
def test_predictor_compiled(measure: Measure, compiled: Predictor, tabular: Prepared, rows: int) -> None:
    measure_predictor(measure, compiled, tabular, rows)
