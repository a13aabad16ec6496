"""ONNX models asked without MLflow's wrapper, held against it: tables, tensors, several inputs, what is not proven."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from mlflow_deploy_plugin.serving.faults import RequestError
from mlflow_deploy_plugin.serving.payloads import plain
from mlflow_deploy_plugin.serving.predictors.base import Loaded
from mlflow_deploy_plugin.serving.predictors.checks import are_alike
from mlflow_deploy_plugin.serving.request import Frame, Matrix, Tensor, Tensors

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # MLflow warns of itself when it is imported
    import mlflow
    import pandas as pd
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema, TensorSpec

WEIGHTS = np.arange(6, dtype=np.float32).reshape(3, 2) / 7
SINGLE = Schema([TensorSpec(np.dtype("float32"), (-1, 3))])
DOUBLES = Schema([TensorSpec(np.dtype("float64"), (-1, 3))])
PAIR = Schema([TensorSpec(np.dtype("float32"), (-1, 3), "x"), TensorSpec(np.dtype("float32"), (-1, 2), "bias")])
TABLE = Schema([ColSpec("double", name) for name in "abc"])


def vector(name: str, *shape: int | str) -> Any:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def graph(nodes: list[Any], inputs: list[Any], outputs: list[Any], **constants: np.ndarray) -> Any:
    kept = [onnx.numpy_helper.from_array(values, name) for name, values in constants.items()]
    opset = [helper.make_opsetid("", 18)]
    return helper.make_model(helper.make_graph(nodes, "g", inputs, outputs, kept), opset_imports=opset, ir_version=9)


def linear() -> Any:
    """Two scores for three numbers."""
    nodes = [helper.make_node("MatMul", ["x", "w"], ["scores"])]
    return graph(nodes, [vector("x", "n", 3)], [vector("scores", "n", 2)], w=WEIGHTS)


def summing() -> Any:
    """One number a row, and its negative."""
    nodes = [helper.make_node("MatMul", ["x", "w"], ["sum"]), helper.make_node("Neg", ["sum"], ["less"])]
    return graph(nodes, [vector("x", "n", 3)], [vector("sum", "n", 1), vector("less", "n", 1)], w=WEIGHTS[:, :1])


def biased() -> Any:
    nodes = [helper.make_node("MatMul", ["x", "w"], ["m"]), helper.make_node("Add", ["m", "bias"], ["scores"])]
    inputs = [vector("x", "n", 3), vector("bias", "n", 2)]
    return graph(nodes, inputs, [vector("scores", "n", 2)], w=WEIGHTS)


def columns() -> Any:
    nodes = [helper.make_node("Sub", ["c", "a"], ["less"])]
    return graph(nodes, [vector("a", "n"), vector("c", "n")], [vector("less", "n")])


Serve = Callable[..., Loaded]


@pytest.fixture
def served(loaded: Callable[[Path], Loaded]) -> Serve:
    """A model as MLflow logs it, loaded from a folder as a worker does."""

    def serve(folder: Path, model: Any, inputs: Schema | None, **options: Any) -> Loaded:
        signature = None if inputs is None else ModelSignature(inputs=inputs)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            mlflow.onnx.save_model(model, str(folder), signature=signature, pip_requirements=["onnxruntime"], **options)
        return loaded(folder)

    return serve


ROWS = np.random.default_rng(3).normal(size=(5, 3))
F32 = ROWS.astype(np.float32)


@pytest.fixture
def _one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.mark.usefixtures("_one_thread")
@pytest.mark.parametrize(
    ("model", "inputs", "payload"),
    [
        (linear(), SINGLE, Tensor(array=F32)),
        (linear(), DOUBLES, Tensor(array=ROWS)),
        (biased(), PAIR, Tensors(arrays={"x": F32, "bias": F32[:, :2]})),
        (summing(), TABLE, Matrix(values=ROWS, columns=("a", "b", "c"))),
        (columns(), TABLE, Matrix(values=ROWS, columns=("a", "b", "c"))),
    ],
    ids=["tensor", "doubles", "tensors", "table", "columns"],
)
def test_the_session_answers_as_mlflow_does(
    served: Serve, tmp_path: Path, model: Any, inputs: Schema, payload: Any
) -> None:
    loaded = served(tmp_path / "m", model, inputs)
    assert loaded.predictor.name == "onnx", loaded.reason
    assert loaded.reason == "the pyfunc's answers on generated rows, to the last bit; 1 threads"
    found = loaded.predictor.predict(payload, None, "prediction").prediction
    assert are_alike(mlflow.pyfunc.load_model(str(tmp_path / "m")).predict(plain(payload)), found)


def test_what_is_not_proven_goes_through_mlflow(served: Serve, tmp_path: Path) -> None:
    loaded = served(tmp_path / "m", linear(), SINGLE)
    for payload in (Tensor(array=ROWS), Tensor(array=F32[:, :2])):
        with pytest.raises(RequestError, match="Failed to enforce schema"):
            loaded.predictor.predict(payload, None, "prediction")
    for good in (Tensor(array=F32), Frame(frame=pd.DataFrame(F32))):
        assert len(loaded.predictor.predict(good, None, "prediction").prediction) > 0


def test_a_table_whose_answers_are_no_columns_is_mlflows_to_refuse(served: Serve, tmp_path: Path) -> None:
    two = graph(
        [helper.make_node("MatMul", ["x", "w"], ["scores"]), helper.make_node("Identity", ["x"], ["same"])],
        [vector("x", "n", 3)],
        [vector("scores", "n", 2), vector("same", "n", 3)],
        w=WEIGHTS,
    )
    loaded = served(tmp_path / "m", two, TABLE)
    assert (loaded.predictor.name, loaded.reason) == ("pyfunc", "not proven on generated rows (ValueError)")


@pytest.mark.usefixtures("_one_thread")
def test_a_model_without_a_signature_or_with_threads_of_its_own_keeps_its_session(
    served: Serve, tmp_path: Path
) -> None:
    assert served(tmp_path / "none", linear(), None).predictor.name == "pyfunc"
    options = {"intra_op_num_threads": 2}
    loaded = served(tmp_path / "own", linear(), SINGLE, onnx_session_options=options)
    assert (loaded.predictor.name, "threads" in loaded.reason) == ("onnx", False)
