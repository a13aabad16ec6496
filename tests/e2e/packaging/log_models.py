"""Logs one small model of each kind to the tracking server of its environment; prints their URIs as JSON.

A process of its own, because MLflow, torch and scikit-learn warn at import and pytest takes warnings for errors.
"""

import json
import sys
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import torch
from mlflow.models import ModelSignature, infer_signature
from mlflow.types import ParamSchema, ParamSpec, Schema, TensorSpec
from sklearn.linear_model import LogisticRegression

import mlflow_deploy_plugin

FRAME = pd.DataFrame({"age": [31.0, 44.0, 28.0, 60.0], "calls": [0.0, 3.0, 1.0, 7.0]})
LABELS = np.array([0, 1, 0, 1])
PINNED = ["mlflow==" + mlflow.__version__, "numpy", "pandas", "scikit-learn", "skops", "cloudpickle"]


class Scaled(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
    """Multiplies by a parameter."""

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> Any:
        del context
        return model_input.sum(axis=1) * (params or {}).get("factor", 1.0)


class StateLoader(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
    """A torch module rebuilt from a state dict that lies beside it."""

    def load_context(self, context: Any) -> None:
        self.module = torch.nn.Linear(4, 2)
        self.module.load_state_dict(torch.load(context.artifacts["state"], weights_only=True))

    def predict(self, context: Any, model_input: Any, params: dict[str, Any] | None = None) -> Any:
        del context, params
        with torch.no_grad():
            return self.module(torch.from_numpy(np.asarray(model_input, dtype=np.float32))).numpy()


def main(folder: Path) -> dict[str, str]:
    experiment = mlflow.create_experiment("models", artifact_location=(folder / "artifacts").as_uri())
    mlflow.set_experiment(experiment_id=experiment)
    with mlflow.start_run():
        classifier = LogisticRegression().fit(FRAME, LABELS)
        signature = infer_signature(FRAME, classifier.predict(FRAME))
        common = {"signature": signature, "pip_requirements": PINNED}
        uris = {
            "skops": _sklearn(classifier, "skops", registered_model_name="My Churn", input_example=FRAME, **common),
            "cloudpickle": _sklearn(classifier, "cloudpickle", registered_model_name="My Churn", **common),
            "no_signature": _sklearn(classifier, "skops", pip_requirements=PINNED),
        }
        mlflow_deploy_plugin.log_reference(FRAME)
    with mlflow.start_run():
        uris |= _torch(folder) | {"params": _params()}
    mlflow.MlflowClient().set_registered_model_alias("My Churn", "champion", "2")
    return uris


def _sklearn(model: Any, serialization: str, **arguments: Any) -> str:
    logged = mlflow.sklearn.log_model(model, name=serialization, serialization_format=serialization, **arguments)
    return str(logged.model_uri)


def _params() -> str:
    schema = ParamSchema([ParamSpec("factor", "double", 1.0)])
    signature = ModelSignature(inputs=infer_signature(FRAME).inputs, params=schema)
    requirements = ["mlflow==" + mlflow.__version__, "pandas", "cloudpickle"]
    logged = mlflow.pyfunc.log_model(
        name="params", python_model=Scaled(), signature=signature, pip_requirements=requirements
    )
    return str(logged.model_uri)


def _torch(folder: Path) -> dict[str, str]:
    torch.manual_seed(0)
    module = torch.nn.Linear(4, 2)
    tensor = Schema([TensorSpec(np.dtype(np.float32), (-1, 4))])
    outputs = Schema([TensorSpec(np.dtype(np.float32), (-1, 2))])
    signature = ModelSignature(inputs=tensor, outputs=outputs)
    requirements = ["mlflow==" + mlflow.__version__, "numpy", "torch", "cloudpickle"]
    common = {"signature": signature, "pip_requirements": requirements}
    rows = np.zeros((2, 4), dtype=np.float32)
    torch.save(module.state_dict(), folder / "state.pt")
    logged = {
        "pt2": mlflow.pytorch.log_model(module, name="pt2", serialization_format="pt2", input_example=rows, **common),
        "pickle": mlflow.pytorch.log_model(module, name="pickle", serialization_format="pickle", **common),
        "state": mlflow.pyfunc.log_model(
            name="state", python_model=StateLoader(), artifacts={"state": str(folder / "state.pt")}, **common
        ),
    }
    return {kind: str(info.model_uri) for kind, info in logged.items()}


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(json.dumps(main(Path(sys.argv[1]))), encoding="utf-8")
