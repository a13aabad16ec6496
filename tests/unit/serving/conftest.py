"""An application around the echo model, asked over ASGI without a socket."""

import asyncio
import contextlib
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from mlflow_deploy_plugin.serving.app import Application
from mlflow_deploy_plugin.serving.codecs.base import ModelDescription
from mlflow_deploy_plugin.serving.loading import ServedModel
from mlflow_deploy_plugin.serving.metrics import Metrics
from mlflow_deploy_plugin.serving.mlmodel import read_mlmodel
from mlflow_deploy_plugin.serving.predictors import pyfunc
from mlflow_deploy_plugin.serving.predictors.base import Loaded, LoadRequest, Predictor
from mlflow_deploy_plugin.serving.predictors.fake import EchoPredictor
from mlflow_deploy_plugin.serving.record import MemoryLabels, MemoryRecorder
from mlflow_deploy_plugin.serving.signature import Column, Signature, parse_signature
from mlflow_deploy_plugin.spec.bento import BentoSpec
from mlflow_deploy_plugin.spec.settings import ServingSettings

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # MLflow warns of itself when it is imported, and a worker's thread would import it
    import mlflow.pyfunc.scoring_server  # noqa: F401

TWO_DOUBLES = Signature(inputs=(Column(name="a", type="double"), Column(name="b", type="double")))


@dataclass(kw_only=True)
class Served:
    """An application under test and all that it was given."""

    app: Application
    predictor: EchoPredictor
    recorder: MemoryRecorder
    labels: MemoryLabels
    exits: list[int]


@dataclass(kw_only=True)
class Serving:
    """Builds applications: a valid default for everything."""

    predictor: EchoPredictor = field(default_factory=EchoPredictor)
    signature: Signature = TWO_DOUBLES
    is_streamable: bool = False
    may_run_inline: bool = False
    example: Any = None

    def application(self, **settings: Any) -> Served:
        recorder, labels, exits = MemoryRecorder(), MemoryLabels(), []
        app = Application(
            self.model(self.predictor),
            ServingSettings(deployment="churn-v4", endpoint="churn", **settings),
            metrics=Metrics(),
            recorder=recorder,
            labels=labels,
            end_process=exits.append,
        )
        return Served(app=app, predictor=self.predictor, recorder=recorder, labels=labels, exits=exits)

    def model(self, predictor: Predictor) -> ServedModel:
        spec = BentoSpec(
            model_uri="models:/churn/4",
            model_name="churn",
            model_digest="sha256:m",
            serving_digest="sha256:s",
            environment_digest="sha256:e",
        )
        description = ModelDescription(
            endpoint="churn",
            deployment="churn-v4",
            model_name="churn",
            model_version="4",
            flavor="python_function",
            folder=Path("nowhere"),
            signature=self.signature,
            is_streamable=self.is_streamable,
            example=self.example,
        )
        loaded = Loaded(
            predictor=predictor, reason="a test", is_streamable=self.is_streamable, may_run_inline=self.may_run_inline
        )
        return ServedModel(spec=spec, description=description, loaded=loaded)


@pytest.fixture
def serving() -> Serving:
    return Serving()


@pytest.fixture
def loaded() -> Callable[[Path], Loaded]:
    """Loads a model that MLflow saved into a folder, as a worker does."""

    def load(folder: Path) -> Loaded:
        mlmodel = read_mlmodel(folder)
        spec = BentoSpec(model_uri="m", model_name="m", model_digest="d", serving_digest="s", environment_digest="e")
        request = LoadRequest(
            folder=folder,
            compiled=folder / "compiled",
            mlmodel=mlmodel,
            signature=parse_signature(mlmodel),
            spec=spec,
            settings=ServingSettings(),
            worker=0,
        )
        return pyfunc.load(request)

    return load


@contextlib.asynccontextmanager
async def client(served: Served) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a running application that is stopped in the end."""
    served.app.start()
    transport = httpx.ASGITransport(app=served.app, raise_app_exceptions=True)
    async with httpx.AsyncClient(transport=transport, base_url="http://bento") as asking:
        for _ in range(200):
            if served.app.lifecycle.is_ready:
                break
            await asyncio.sleep(0.005)
        yield asking
    await served.app.stop()


Conversation = Callable[[httpx.AsyncClient], Awaitable[Any]]


@pytest.fixture
def talk() -> Callable[[Served, Conversation], Any]:
    """Runs a conversation with an application from its start to its stop."""

    def run(served: Served, conversation: Conversation) -> Any:
        async def whole() -> Any:
            async with client(served) as asking:
                return await conversation(asking)

        return asyncio.run(whole())

    return run
