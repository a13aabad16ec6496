"""The straight path of torch: what is proven serves, what is not is told, and no room is no dead worker."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from mlflow_deploy_plugin.serving.faults import Fault, RequestError
from mlflow_deploy_plugin.serving.predictors.accelerators import FakeAccelerator, TorchAccelerator, accelerator
from mlflow_deploy_plugin.serving.predictors.base import Output
from mlflow_deploy_plugin.serving.predictors.torch_module import TorchPredictor, buckets, prove
from mlflow_deploy_plugin.serving.request import Matrix, Raw, Tensor
from mlflow_deploy_plugin.serving.signature import TensorSpec
from mlflow_deploy_plugin.spec.settings import ServingSettings

SPEC = TensorSpec(name="", dtype="float32", shape=(-1, 4))
SAMPLE = Tensor(array=np.random.default_rng(0).normal(size=(8, 4)).astype("float32"))


def network() -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(4, 16), torch.nn.ReLU(), torch.nn.Linear(16, 3)).eval()


@dataclass
class Wrapper:
    """Stands for MLflow's wrapper around the same module."""

    module: Any
    name: str = "pyfunc"
    asked: list[Any] = field(default_factory=list)

    def predict(self, payload: Any, params: Any, wants: Any) -> Output:  # noqa: ARG002
        self.asked.append(payload)
        if isinstance(payload, Raw):
            raise MemoryError("no room")  # noqa: TRY004  not of its type
        array = payload.array if isinstance(payload, Tensor) else payload.values.astype("float32")  # noqa: PD011
        with torch.no_grad():
            answer = self.module(torch.from_numpy(array)).numpy()
        return Output(answer if isinstance(payload, Tensor) else pd.DataFrame(answer))

    def stream(self, payload: Any, params: Any) -> Any:
        raise NotImplementedError


def make(module: Any = None, device: Any = None, spec: Any = SPEC) -> TorchPredictor:
    module = module or network()
    return TorchPredictor(plain=Wrapper(module), module=module, device=device or FakeAccelerator(), spec=spec)


def loaded(base: TorchPredictor, sample: Any = SAMPLE, compiler: Any = None, **settings: Any) -> Any:
    expected = base.plain.predict(sample, None, "prediction").prediction
    return prove(base, sample, expected, settings=ServingSettings(**settings), compiler=compiler)


def test_a_tensor_is_answered_as_the_pyfunc_answers_it() -> None:
    served = loaded(make(device=TorchAccelerator()))
    assert served.predictor.name == "torch"
    assert "within 1e-05; fp32 on cpu" in served.reason
    assert served.may_run_inline
    found = served.predictor.predict(SAMPLE, None, "prediction").prediction
    np.testing.assert_array_equal(found, served.predictor.plain.predict(SAMPLE, None, "prediction").prediction)


def test_a_table_is_answered_as_a_table() -> None:
    sample = Matrix(values=SAMPLE.array.astype("float64"), columns=("a", "b", "c", "d"))
    served = loaded(make(spec=None), sample)
    assert isinstance(served.predictor.predict(sample, None, "prediction").prediction, pd.DataFrame)
    assert served.predictor.device.runs == [8, 8]


@pytest.mark.parametrize(
    "payload",
    [
        Tensor(array=np.zeros((2, 5), dtype="float32")),
        Tensor(array=np.zeros((2, 4), dtype="float64")),
        Tensor(array=np.zeros((0, 4), dtype="float32")),
        Tensor(array=np.zeros((2, 4, 1), dtype="float32")),
        Matrix(values=np.zeros((1, 4)), columns=("a", "b", "c", "d")),
    ],
)
def test_what_is_not_like_the_signature_is_for_mlflow_to_refuse(payload: Any) -> None:
    predictor = make(module=lambda _: torch.zeros(1))
    predictor.predict(payload, None, "prediction")
    assert (predictor.device.runs, predictor.plain.asked) == ([], [payload])


def test_parameters_go_through_the_pyfunc() -> None:
    predictor = make()
    predictor.predict(SAMPLE, {"temperature": 1}, "prediction")
    assert predictor.device.runs == []


def test_a_module_that_answers_otherwise_than_its_pyfunc_is_not_asked() -> None:
    base = make()
    base.plain.module = lambda tensor: network()(tensor) + 1
    served = loaded(base)
    assert served.predictor is base.plain
    assert "differently" in served.reason


def test_no_room_is_answered_in_halves_and_in_the_right_order() -> None:
    predictor = make(device=FakeAccelerator(rows=3))
    found = predictor.predict(SAMPLE, None, "prediction").prediction
    np.testing.assert_allclose(found, predictor.plain.predict(SAMPLE, None, "prediction").prediction, rtol=1e-6)
    assert predictor.device.runs == [8, 4, 2, 2, 4, 2, 2]
    assert predictor.device.freed == 3


def test_no_room_for_one_row_is_503_and_the_next_request_is_served() -> None:
    device = FakeAccelerator(rows=0)
    predictor = make(device=device)
    with pytest.raises(RequestError, match="no room on cuda:0 for even one row") as told:
        predictor.predict(SAMPLE, None, "prediction")
    assert (told.value.fault, told.value.retry_after_s) == (Fault.UNAVAILABLE, 1.0)
    with pytest.raises(RequestError, match="no room"):
        predictor.predict(Raw(value=1), None, "prediction")
    device.rows = 100
    assert len(predictor.predict(SAMPLE, None, "prediction").prediction) == 8


def test_another_error_of_the_module_is_the_models_own() -> None:
    def broken(_: Any) -> Any:
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        make(module=broken).predict(SAMPLE, None, "prediction")
    with pytest.raises(TypeError, match="single output tensor"):
        make(module=lambda tensor: (tensor, tensor)).predict(SAMPLE, None, "prediction")


def test_every_bucket_is_compiled_and_recorded_before_the_first_client() -> None:
    compiled: list[tuple[int, ...]] = []

    def compiler(module: Any) -> Any:
        def run(tensor: Any) -> Any:
            compiled.append(tuple(tensor.shape))
            return module(tensor)

        return run

    device = FakeAccelerator(has_graphs=True)
    settings = {"torch_compile": "on", "cuda_graphs": "on", "max_batch_size": 6}
    served = loaded(make(device=device), compiler=compiler, **settings)
    assert served.predictor.sizes == buckets(6) == (1, 2, 4, 6)
    assert device.recorded == [1, 2, 4, 6]
    assert {shape[0] for shape in compiled} >= {1, 2, 4, 6}
    assert "4 buckets to 6 rows" in served.reason
    device.runs.clear()
    three = Tensor(array=SAMPLE.array[:3])
    assert len(served.predictor.predict(three, None, "prediction").prediction) == 3
    assert device.runs == [4], "filled up with zeros to its bucket"
    served.predictor.predict(SAMPLE, None, "prediction")
    assert device.runs == [4, 8], "a batch beyond all buckets runs as it comes"


def test_a_module_whose_rows_see_each_other_gets_no_buckets() -> None:
    def centred(tensor: Any) -> Any:
        return tensor - tensor.mean(dim=0)

    served = loaded(make(module=centred), compiler=lambda module: module, torch_compile="on")
    assert served.predictor.sizes == ()
    assert served.fallbacks == ("buckets: a row is answered otherwise beside rows that fill a batch up",)


def test_a_compiler_that_fails_is_told_and_the_module_itself_serves() -> None:
    def compiler(_: Any) -> Any:
        def fails(_: Any) -> Any:
            raise RuntimeError("no C++ compiler")

        return fails

    served = loaded(make(), compiler=compiler, torch_compile="on")
    assert served.fallbacks == ("buckets: RuntimeError: no C++ compiler",)
    assert served.predictor.name == "torch"


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_serves_within_its_tolerance_and_answers_in_float32(precision: str) -> None:
    served = loaded(make(), precision=precision)
    assert f"{precision} on cuda:0" in served.reason
    answer = served.predictor.predict(SAMPLE, None, "prediction").prediction
    assert answer.dtype == np.float32
    assert not np.array_equal(answer, served.predictor.plain.predict(SAMPLE, None, "prediction").prediction)


@dataclass
class Allowed:
    """A wrapper that notes whether tf32 was allowed when it was asked."""

    plain: Any
    name: str = "pyfunc"
    seen: list[tuple[str, bool]] = field(default_factory=list)

    def predict(self, *asked: Any) -> Output:
        self.seen.append((torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32))
        return self.plain.predict(*asked)


@pytest.fixture
def arithmetic() -> Iterator[None]:
    """Gives torch's process-wide switches back as they were."""
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    yield
    torch.set_float32_matmul_precision(before[0])
    torch.backends.cudnn.allow_tf32 = before[1]


@pytest.mark.parametrize("precision", ["tf32", "bf16", "fp16"])
@pytest.mark.usefixtures("arithmetic")
def test_whether_rows_see_each_other_is_judged_in_full_single_precision(precision: str) -> None:
    base = make()
    base.plain = Allowed(base.plain)
    served = loaded(base, precision=precision)
    during = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    assert during == (("high", True) if precision == "tf32" else ("highest", False))
    served.judge.predict(SAMPLE, None, "prediction")
    assert base.plain.seen[-1] == ("highest", False)
    assert (torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32) == during


def test_in_single_precision_the_path_that_serves_is_judged_itself() -> None:
    assert loaded(make()).judge is None
    assert loaded(make(device=TorchAccelerator()), precision="bf16").judge is None, "served in fp32"


def test_a_precision_that_loses_the_answer_is_not_served() -> None:
    wide = torch.nn.Linear(4, 3)
    with torch.no_grad():
        wide.weight.fill_(1e6)  # beyond fp16
    served = loaded(make(module=wide.eval()), precision="fp16")
    assert "fp32 on" in served.reason
    assert served.fallbacks[0].startswith("precision=fp16: answers differ by more than")


def test_precision_is_arithmetic_of_a_gpu() -> None:
    served = loaded(make(device=TorchAccelerator()), precision="bf16")
    assert served.fallbacks == ("precision=bf16: it is arithmetic of a GPU, and this is cpu",)


def test_devices_have_their_accelerators() -> None:
    assert [type(accelerator(device)).__name__ for device in ("cpu", "cuda:1")] == [
        "TorchAccelerator",
        "CudaAccelerator",
    ]
