"""Modules of torch, compiled and held against MLflow's own loading of them."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from mlflow_deploy_plugin.serving.compiled import store
from mlflow_deploy_plugin.serving.compiled.form import Computed, Typed, Typing
from mlflow_deploy_plugin.serving.compiling import modules
from mlflow_deploy_plugin.serving.compiling.compiling import compile_model
from mlflow_deploy_plugin.serving.compiling.refusal import RefusedError
from mlflow_deploy_plugin.serving.compiling.verdict import Verdict

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # MLflow warns of itself when it is imported
    import mlflow
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

Compile = Callable[..., tuple[Verdict, Path]]


def layers() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Dropout(0.5), nn.Linear(32, 3))


class Picture(nn.Module):
    """A small network of somebody for pictures."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.convolution, self.norm, self.head = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4 * 6 * 6, 5)

    def forward(self, batch: Any) -> Any:
        return torch.softmax(self.head(torch.relu(self.norm(self.convolution(batch))).flatten(1)), dim=1)


class Deciding(nn.Module):
    """One whose way depends on its values."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, batch: Any) -> Any:
        return self.layer(batch) if batch.sum() > 0 else -self.layer(batch)


class Counting(nn.Module):
    """One that answers otherwise each time, which no record of one run can."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.count = nn.Linear(4, 3), 0

    def forward(self, batch: Any) -> Any:
        self.count += 1
        return self.layer(batch) + self.count


class Several(nn.Module):
    """One with two answers."""

    def forward(self, batch: Any) -> Any:
        return {"a": batch, "b": batch}


class Summing(nn.Module):
    """One that has a single answer for all rows."""

    def forward(self, batch: Any) -> Any:
        return batch.sum(dim=0)


@pytest.fixture
def compiled(tmp_path: Path) -> Compile:
    def save_and_compile(
        module: nn.Module, *sizes: int, dtype: str = "float32", kind: str = "pickle", example: Any = None
    ) -> Any:
        number = np.dtype(dtype)
        specs = (Schema([TensorSpec(number, (-1, *sizes))]), Schema([TensorSpec(number, (-1, 3))]))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            mlflow.pytorch.save_model(
                module,
                tmp_path / "model",
                signature=ModelSignature(*specs),
                pip_requirements=["torch"],
                serialization_format=kind,
                input_example=example,
            )
        (tmp_path / "compiled").mkdir()
        return compile_model(tmp_path / "model", tmp_path / "compiled"), tmp_path / "compiled"

    return save_and_compile


MODULES = {"layers": (layers(), (4,)), "own": (Picture(), (3, 8, 8)), "flat": (nn.Flatten(0), (1,))}


@pytest.mark.parametrize(("module", "sizes"), MODULES.values(), ids=MODULES)
def test_a_form_answers_as_the_module_does(compiled: Compile, module: nn.Module, sizes: tuple[int, ...]) -> None:
    verdict, folder = compiled(module, *sizes)
    assert verdict.form == "onnx", verdict.reason
    assert [line.partition("==")[0] for line in verdict.requirements] == ["onnxruntime"]
    form, record = store.read(folder)
    assert record.comparison.rows > 190
    assert record.comparison.worst <= record.comparison.tolerance == 1e-5
    assert "torch" in record.versions
    for rows in (1, 2, 7):
        batch = np.random.default_rng(rows).normal(size=(rows, *sizes)).astype("float32")
        with torch.no_grad():
            expected = module.eval()(torch.from_numpy(batch)).numpy()
        found, probability = Typed(form, record.typing).answer(batch, "prediction")
        assert (found.dtype, found.shape, probability) == (expected.dtype, expected.shape, None)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_an_exported_module_is_compiled_too(compiled: Compile) -> None:
    verdict, folder = compiled(layers().eval(), 4, kind="pt2", example=np.ones((5, 4), dtype="float32"))
    assert verdict.form == "onnx", verdict.reason
    batch = np.random.default_rng(1).normal(size=(3, 4)).astype("float32")
    found, _ = Typed(store.read(folder).form, store.read(folder).record.typing).answer(batch, "prediction")
    np.testing.assert_allclose(found, layers().eval()(torch.from_numpy(batch)).detach().numpy(), rtol=1e-4, atol=1e-6)


def test_the_input_example_is_among_what_is_compared(compiled: Compile) -> None:
    _, folder = compiled(layers(), 4, example=np.ones((5, 4), dtype="float32"))
    rows = store.read(folder).record.comparison.rows
    assert rows == 5 + 3 * (modules.ROWS + 1) + 3


@pytest.mark.parametrize(
    ("module", "reason"),
    [
        (Deciding(), "may depend on its values"),
        (Counting(), "off by"),
        (Several(), "refuses generated rows"),
        (Summing(), "not one array"),
        (nn.Linear(5, 3), "refuses generated rows"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else "",
)
def test_what_has_no_equal_form_says_why(compiled: Compile, module: nn.Module, reason: str) -> None:
    verdict, folder = compiled(module, 4)
    assert (verdict.form, (folder / store.RECORD).exists()) == ("", False)
    assert reason in verdict.reason


@pytest.mark.parametrize(("sizes", "dtype"), [((-1,), "float32"), ((4,), "float64"), ((4,), "int64")])
def test_other_signatures_are_not_even_loaded(compiled: Compile, sizes: tuple[int, ...], dtype: str) -> None:
    verdict, _ = compiled(layers(), *sizes, dtype=dtype)
    assert verdict.reason.startswith("the signature")


def test_a_module_too_large_to_gain_is_left_alone(compiled: Compile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(modules, "MOST_BYTES", 100)
    verdict, _ = compiled(layers(), 4)
    assert verdict.reason == "its weights have 1036 bytes; forms are made of at most 100"


@pytest.mark.parametrize(("said", "threads"), [("3", 3), ("", 1), ("4,2", 1)])
def test_a_graph_has_the_threads_of_its_worker(
    compiled: Compile, monkeypatch: pytest.MonkeyPatch, said: str, threads: int
) -> None:
    _, folder = compiled(layers(), 4)
    monkeypatch.setenv("OMP_NUM_THREADS", said)
    form: Any = store.read(folder).form
    assert form.session.get_session_options().intra_op_num_threads == threads


@dataclass
class Answering:
    """A form with an answer of the test's."""

    answer: Any
    name: str = "fake"

    def compute(self, values: Any, wants: Any) -> Computed:
        del values, wants
        return Computed(self.answer)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ([[1.0], [2.1]], "off by 0.05"),
        ([[np.inf], [2.0]], "is infinite elsewhere"),
        ([[np.nan], [2.0]], "is infinite elsewhere"),
        ([[1.0, 2.0]], "answers float64"),
    ],
)
def test_what_differs_is_refused(answer: Any, reason: str) -> None:
    batch, expected = np.zeros((2, 1), np.float32), np.array([[1.0], [2.0]])
    form = Answering(np.array(answer))
    with pytest.raises(RefusedError, match=reason):
        modules.compare_batches(form, Typing(is_flat=False), [batch], [expected])
