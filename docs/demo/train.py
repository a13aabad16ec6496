"""Train and register the demo's models on the RAND Health Insurance Experiment (20,190 person-years, in statsmodels).

The question: will a person see a doctor more than twice this year? Version 1 is a scaled logistic regression.
Version 2 is a gradient boosting that looks better on its own hold-out, and is broken: the table it was trained on
held the index of chronic diseases per month, and what it will be asked about holds it per year. The torch model
is a small network over the same columns.

Run as ``python docs/demo/train.py FOLDER``; writes ``sample.json`` and ``people.parquet`` beside the registry.
"""

import json
import sys
from importlib.metadata import version
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import torch
from mlflow.models import infer_signature
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from statsmodels.datasets import randhie

import mlflow_deploy_plugin

VISITS = 2
MONTHS = 12
TRUSTED = ["sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor"]  # made here, a few lines below


def people() -> pd.DataFrame:
    """20,190 rows: nine numeric features and ``label``, 1 where the person made more than two visits."""
    table = randhie.load_pandas().data.astype("float64")
    label = (table.pop("mdvis") > VISITS).astype("int64")
    return table.assign(label=label)


def pinned(*names: str) -> list[str]:
    """Requirement lines of what is installed; stating them spares MLflow the minute that inferring them takes."""
    return [f"{name}=={version(name).partition('+')[0]}" for name in names]


def register_tabular(name: str, train: pd.DataFrame, model: object, *, unit: float = 1.0) -> float:
    """Fit on ``train`` with the disease index divided by ``unit``; the error ratio on the model's own hold-out."""
    frame = train.assign(disea=train["disea"] / unit)
    features, label = frame.drop(columns="label"), frame["label"]
    fit, held, fit_label, held_label = train_test_split(features, label, random_state=1, stratify=label)
    model.fit(fit, fit_label)
    with mlflow.start_run():
        mlflow.sklearn.log_model(
            model,
            name="model",
            registered_model_name=name,
            signature=infer_signature(fit, model.predict(fit[:5])),
            input_example=fit[:2],
            serialization_format="skops",
            skops_trusted_types=TRUSTED,
            pip_requirements=pinned("mlflow", "numpy", "pandas", "scikit-learn", "skops"),
        )
        mlflow_deploy_plugin.log_reference(train.drop(columns="label")[:5000])
        error = float((model.predict(held) != held_label).mean())
        mlflow.log_metric("holdout_error", error)
    return error


def register_torch(name: str, train: pd.DataFrame) -> None:
    """A two-layer network on standardised features, trained for a few epochs and logged as the class it is."""
    features = torch.tensor(train.drop(columns="label").to_numpy(), dtype=torch.float32)
    label = torch.tensor(train["label"].to_numpy(), dtype=torch.float32)
    torch.manual_seed(0)
    network = torch.nn.Sequential(
        torch.nn.BatchNorm1d(features.shape[1]),
        torch.nn.Linear(features.shape[1], 32),
        torch.nn.ReLU(),
        torch.nn.Linear(32, 1),
        torch.nn.Sigmoid(),
    )
    optimiser = torch.optim.Adam(network.parameters(), lr=0.01)
    for _ in range(30):
        optimiser.zero_grad()
        torch.nn.functional.binary_cross_entropy(network(features)[:, 0], label).backward()
        optimiser.step()
    network.eval()
    example = features[:2].numpy()
    with mlflow.start_run():
        mlflow.pytorch.log_model(
            network,
            name="model",
            registered_model_name=name,
            signature=infer_signature(example, np.asarray(network(features[:2]).detach())),
            input_example=example,
            pip_requirements=pinned("mlflow", "numpy", "torch"),
        )


def main(folder: Path) -> None:
    """Register ``visits`` versions 1 and 2 and ``visits-torch`` version 1."""
    mlflow.create_experiment("visits", artifact_location=(folder / "artifacts").resolve().as_uri())
    mlflow.set_experiment("visits")
    table = people()
    train, unseen = train_test_split(table, test_size=0.6, random_state=0, stratify=table["label"])
    linear = make_pipeline(StandardScaler(), LogisticRegression())
    boosted = HistGradientBoostingClassifier(max_iter=60, random_state=0)
    print(f"visits/1        wrong on its hold-out: {register_tabular('visits', train, linear):.1%}")
    print(f"visits/2        wrong on its hold-out: {register_tabular('visits', train, boosted, unit=MONTHS):.1%}")
    register_torch("visits-torch", train)
    print("visits-torch/1  registered")
    unseen.to_parquet(folder / "people.parquet")
    records = unseen.drop(columns="label")[:3].to_dict(orient="records")
    (folder / "sample.json").write_text(json.dumps(records, indent=1))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
