"""The compiled predictor with the generic path asleep behind it, and the engine that wakes it."""

import asyncio
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlflow_deploy_plugin.errors import ModelError
from mlflow_deploy_plugin.serving.app import Application
from mlflow_deploy_plugin.serving.compiled.form import Computed, Typed, Typing
from mlflow_deploy_plugin.serving.faults import AsleepError
from mlflow_deploy_plugin.serving.metrics import Metrics
from mlflow_deploy_plugin.serving.predictors import devices
from mlflow_deploy_plugin.serving.predictors.compiled import CompiledPredictor, SleepingPredictor, why_torch
from mlflow_deploy_plugin.serving.predictors.fake import EchoPredictor
from mlflow_deploy_plugin.serving.record import MemoryLabels, MemoryRecorder
from mlflow_deploy_plugin.serving.request import Frame, Matrix, Tensor
from mlflow_deploy_plugin.serving.signature import TensorSpec
from mlflow_deploy_plugin.spec.settings import ServingSettings


class Doubling:
    """A form that a test can tell from the echo."""

    name = "doubling"

    def compute(self, values: Any, wants: Any) -> Computed:
        del wants
        return Computed(values[:, 0] * 2)


def matrix(*values: float) -> Matrix:
    return Matrix(values=np.array([[value, 0.0] for value in values]), columns=("a", "b"))


def predictor(load: Any = EchoPredictor) -> CompiledPredictor:
    return CompiledPredictor(Typed(Doubling(), Typing()), "compiled-doubling", SleepingPredictor(load))


def test_a_table_of_finite_numbers_is_the_forms() -> None:
    assert predictor().predict(matrix(1.0, 2.0), None, "prediction").prediction.tolist() == [2.0, 4.0]


@pytest.mark.parametrize("odd", [matrix(float("nan")), matrix(float("inf")), Frame(frame=None)])  # type: ignore[arg-type]
def test_anything_else_asks_to_be_woken(odd: Any) -> None:
    with pytest.raises(AsleepError):
        predictor().predict(odd, None, "prediction")


def test_parameters_are_the_generic_paths_to_refuse() -> None:
    with pytest.raises(AsleepError):
        predictor().predict(matrix(1.0), {"k": 1}, "prediction")


def test_once_awake_the_generic_path_answers_what_is_odd_and_the_form_the_rest() -> None:
    loads: list[int] = []

    def load() -> EchoPredictor:
        loads.append(1)
        return EchoPredictor()

    asked = predictor(load)
    with pytest.raises(AsleepError) as asleep:
        asked.predict(matrix(float("inf")), None, "prediction")
    wakers = [threading.Thread(target=asleep.value.wake) for _ in range(4)]
    for waker in wakers:
        waker.start()
    for waker in wakers:
        waker.join()
    assert loads == [1]
    assert asked.predict(matrix(float("inf")), None, "prediction").prediction.tolist() == [float("inf")]
    assert asked.predict(matrix(3.0), None, "prediction").prediction.tolist() == [6.0]


SPEC = TensorSpec(name="", dtype="float32", shape=(-1, 2))


def test_a_tensor_of_the_signatures_shape_is_the_forms_and_any_other_is_not() -> None:
    asked = CompiledPredictor(Typed(Doubling(), Typing()), "compiled-doubling", SleepingPredictor(EchoPredictor), SPEC)
    fitting = np.array([[1.0, 0.0], [2.0, 0.0]], dtype="float32")
    assert asked.predict(Tensor(array=fitting), None, "prediction").prediction.tolist() == [2.0, 4.0]
    for odd in (fitting[0], fitting[:, :1], fitting.astype("float64"), fitting * np.nan, fitting[:0]):
        with pytest.raises(AsleepError):
            asked.predict(Tensor(array=odd), None, "prediction")
    with pytest.raises(AsleepError):
        asked.predict(matrix(1.0), None, "prediction")


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"device": "cuda"}, "may have a GPU"),
        ({"device": "cuda:1"}, "may have a GPU"),
        ({"device": "cpu", "torch_compile": "on"}, "torch_compile is torch's"),
        ({"device": "cpu", "cuda_graphs": "on"}, "cuda_graphs is torch's"),
        ({"device": "cpu", "precision": "bf16"}, "precision is torch's"),
        ({"device": "cpu", "model_config": "{}"}, "model_config is torch's"),
        ({"device": "cpu"}, ""),
        ({"device": ""}, ""),
        ({"device": "auto"}, ""),
    ],
)
def test_what_only_torch_can_do_is_left_to_it(settings: dict[str, Any], why: str) -> None:
    found = why_torch(ServingSettings(**settings), {"CUDA_VISIBLE_DEVICES": ""})
    assert why in found
    assert bool(found) == bool(why)


def test_where_there_may_be_a_gpu_the_form_serves_only_whom_it_is_told_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "DRIVERS", (tmp_path,))
    assert "may have a GPU" in why_torch(ServingSettings(), {})
    assert "may have a GPU" in why_torch(ServingSettings(device="auto"), {})
    assert not why_torch(ServingSettings(device="cpu"), {})
    assert not why_torch(ServingSettings(), {"CUDA_VISIBLE_DEVICES": ""})
    monkeypatch.setattr(devices, "DRIVERS", (tmp_path / "none",))
    assert not why_torch(ServingSettings(), {})


def lean(serving: Any, load: Any) -> Any:
    """An application whose model is compiled, its generic path asleep."""
    model = serving.model(predictor(load))
    loaded = replace(model.loaded, may_run_inline=True, is_lean=True)
    return Application(
        replace(model, loaded=loaded),
        ServingSettings(deployment="churn-v4", endpoint="churn"),
        metrics=Metrics(),
        recorder=MemoryRecorder(),
        labels=MemoryLabels(),
    )


class Talk:
    """Holds what ``talk`` needs of an application."""

    def __init__(self, app: Application) -> None:
        self.app = app


BINARY_NAN = {
    "inputs": [
        {"name": "a", "datatype": "FP64", "shape": [1, 1], "parameters": {"binary_data_size": 8}},
        {"name": "b", "datatype": "FP64", "shape": [1, 1], "parameters": {"binary_data_size": 8}},
    ]
}


async def ask_infinity(client: Any) -> Any:
    """A number that JSON cannot say, by the binary tensors of the Open Inference Protocol."""
    import orjson  # noqa: PLC0415

    header = orjson.dumps(BINARY_NAN)
    body = header + np.array([np.inf]).tobytes() + np.array([0.0]).tobytes()
    headers = {"inference-header-content-length": str(len(header)), "content-type": "application/octet-stream"}
    return await client.post("/v2/models/churn/infer", content=body, headers=headers)


def test_a_request_that_needs_the_generic_path_waits_for_it_while_others_are_answered(serving: Any, talk: Any) -> None:
    gate, begun, loads = threading.Event(), threading.Event(), []

    def load() -> EchoPredictor:
        loads.append(1)
        begun.set()
        assert gate.wait(60)
        return EchoPredictor()

    async def play(client: Any) -> None:
        odd = [asyncio.ensure_future(ask_infinity(client)) for _ in range(3)]
        assert await asyncio.to_thread(begun.wait, 60)
        quick = await client.post("/predict", json={"features": [2.0, 0.0]})
        assert quick.json()["prediction"] == 4.0
        assert not any(task.done() for task in odd)
        gate.set()
        answers = await asyncio.gather(*odd)
        assert [answer.status_code for answer in answers] == [200, 200, 200]

    talk(Talk(lean(serving, load)), play)
    assert loads == [1], "it is loaded once for all who wait, and the warm-up needs it not"


def test_a_generic_path_that_does_not_load_costs_only_those_who_need_it(serving: Any, talk: Any) -> None:
    def load() -> EchoPredictor:
        raise ModelError("model 'models:/churn/4' does not load")

    async def play(client: Any) -> None:
        refused = await ask_infinity(client)
        assert refused.status_code == 500
        assert "does not load" in refused.text
        assert (await client.post("/predict", json={"features": [2.0, 0.0]})).json()["prediction"] == 4.0

    talk(Talk(lean(serving, load)), play)
