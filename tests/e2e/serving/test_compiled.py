"""A model packaged for real: compiled, launched, asked what its form can answer and what it cannot."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from mlflow_deploy_plugin.config.home import Home
from mlflow_deploy_plugin.packaging import Doors, package
from mlflow_deploy_plugin.packaging.fake import FakeBuilder

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # MLflow warns of itself when it is imported
    import mlflow
    import pandas as pd
    import torch
    from mlflow.models import infer_signature
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

pytestmark = pytest.mark.e2e


def loaded_libraries(pid: int) -> str:
    """The shared libraries of a process, one path a line."""
    return Path(f"/proc/{pid}/maps").read_text()


def test_a_compiled_bento_answers_without_the_frameworks_and_wakes_them_for_who_needs_them(
    tmp_path: Path, launch: Callable[..., Any]
) -> None:
    x = pd.DataFrame(np.random.default_rng(1).normal(size=(80, 3)), columns=["a", "b", "c"])
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(x, x["a"] > 0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        signature = infer_signature(x, model.predict(x))
        mlflow.sklearn.save_model(
            model, tmp_path / "churn", signature=signature, input_example=x[:2], pip_requirements=["scikit-learn"]
        )
    doors = Doors(build=FakeBuilder())  # what BentoML builds around it is another test's
    packaged = package(str(tmp_path / "churn"), home=Home(root=tmp_path / "home"), doors=doors)
    assert packaged.spec.predictor == "compiled", packaged.spec.predictor_reason
    running = launch(packaged.path / "src").wait_ready()
    assert "served by compiled-linear: the pyfunc's answers on" in running.stderr
    document = {"dataframe_split": {"columns": ["a", "b", "c"], "data": x.to_numpy().tolist()}}
    fast = httpx.post(f"{running.url}/invocations", json=document).json()["predictions"]
    assert fast == model.predict(x).tolist()
    assert "sklearn" not in loaded_libraries(running.process.pid)
    csv = httpx.post(
        f"{running.url}/invocations", content=x.to_csv(index=False), headers={"content-type": "text/csv"}, timeout=240
    )
    assert csv.json()["predictions"] == fast
    assert "sklearn" in loaded_libraries(running.process.pid)
    assert running.terminate() == 0


def test_a_module_of_torch_answers_without_torch(tmp_path: Path, launch: Callable[..., Any]) -> None:
    module = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2)).eval()
    rows = np.random.default_rng(1).normal(size=(5, 4)).astype("float32")
    expected = module(torch.from_numpy(rows)).detach().numpy()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mlflow.pytorch.save_model(
            module,
            tmp_path / "net",
            signature=infer_signature(rows, expected),
            pip_requirements=["torch"],
            serialization_format="pickle",
        )
    packaged = package(str(tmp_path / "net"), home=Home(root=tmp_path / "home"), doors=Doors(build=FakeBuilder()))
    assert packaged.spec.predictor == "compiled", packaged.spec.predictor_reason
    running = launch(packaged.path / "src").wait_ready()
    assert "served by compiled-onnx: the pyfunc's answers on" in running.stderr
    tensor = {"name": "x", "datatype": "FP32", "shape": [5, 4], "data": rows.ravel().tolist()}
    by_mlflow = httpx.post(f"{running.url}/invocations", json={"inputs": rows.tolist()}).json()["predictions"]
    by_tensors = httpx.post(f"{running.url}/v2/models/net/infer", json={"inputs": [tensor]}).json()["outputs"][0]
    np.testing.assert_allclose(by_mlflow, expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(np.reshape(by_tensors["data"], by_tensors["shape"]), expected, rtol=1e-4, atol=1e-6)
    assert "libtorch" not in loaded_libraries(running.process.pid)
    assert httpx.post(f"{running.url}/invocations", json={"inputs": [[1.0]]}, timeout=240).status_code == 400
    assert "libtorch" in loaded_libraries(running.process.pid)
    assert running.terminate() == 0
