"""Models as MLflow logs them, of kinds that the server looks into: loaded again, explained by the method that fits."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("shap", reason="the extra modelserve[explain] is not installed")

pytestmark = pytest.mark.e2e

# In a process of its own: MLflow warns while it is imported, and warnings are errors here.
SCRIPT = """
import asyncio, json, pathlib, sys
import lightgbm, mlflow, numpy as np, pandas as pd, torch, xgboost
from mlflow.models import infer_signature
from sklearn.ensemble import RandomForestClassifier
from mlflow_deploy_plugin.attribution.table import Table
from mlflow_deploy_plugin.serving.explaining.desk import Desk
from mlflow_deploy_plugin.serving.explaining.methods import explain
from mlflow_deploy_plugin.serving.explaining.subject import Loaded

table = pd.DataFrame(np.random.default_rng(0).normal(size=(60, 5)), columns=list("abcde"))
answers, rows = (2 * table["a"] + table["b"] * table["c"]).to_numpy(), table.to_numpy()[:3]
network = torch.nn.Sequential(torch.nn.Linear(5, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
tensor = table.to_numpy().astype("float32")
scores = network(torch.tensor(tensor)).detach().numpy()
told = {}

def tell(name, columns):
    folder = pathlib.Path(name)
    table.to_parquet(folder / "reference.parquet")
    loaded = Loaded(folder)
    asked = loaded.fit(Table(tuple(columns), rows))
    found = explain(loaded.subject(asked), asked)
    gap = np.abs(np.array(found.base) + np.array(found.attributions).sum(axis=1) - np.array(found.predictions)).max()
    told[name] = [found.method, found.unit, len(found.columns), bool(gap < 1e-6)]
    return loaded, found

boosted = xgboost.XGBRegressor(n_estimators=5).fit(table, answers)
mlflow.xgboost.save_model(boosted, "boosted/model", signature=infer_signature(table, answers))
assert list(tell("boosted", reversed(table.columns))[1].columns) == list("abcde")
classes = (answers > 0).astype(int)
for module, made in ((xgboost, xgboost.XGBClassifier(n_estimators=5)),
                     (lightgbm, lightgbm.LGBMClassifier(n_estimators=5, min_child_samples=5, verbose=-1))):
    name = module.__name__
    made.fit(table, classes)
    getattr(mlflow, name).save_model(made, f"{name}/model", signature=infer_signature(table, classes))
    loaded, found = tell(name, table.columns)
    expected = made.predict_proba(table[:3])
    assert np.allclose(found.predictions, expected.max(axis=1)), "explained by the probability that it predicts"
    assert list(found.outputs) == expected.argmax(axis=1).tolist()

async def asked_through_the_process(folder, asked):
    desk = Desk(pathlib.Path(folder), timeout_s=200)
    try:
        return await desk.explain(asked)
    finally:
        await desk.stop()

endless = np.array([[np.inf, 1, 1, 0, 0], [-np.inf, 1, 1, 0, 0], [np.nan, 1, 1, 0, 0]])
expected = made.predict_proba(pd.DataFrame(endless, columns=table.columns)).max(axis=1)  # LightGBM's, which tells apart
found = asyncio.run(asked_through_the_process("lightgbm", Table(tuple(table.columns), endless)))
assert len(set(expected)) > 1 and np.allclose(found.predictions, expected), (found.predictions, expected)
several = np.column_stack([classes, table["a"] > 0]).astype(int)
forest = RandomForestClassifier(5, random_state=0).fit(table, several)
signature = infer_signature(table, several)
mlflow.sklearn.save_model(forest, "several/model", signature=signature, serialization_format="cloudpickle")
loaded, found = tell("several", table.columns)
assert list(found.predictions) == forest.predict(table[:3]).max(axis=1).tolist(), "what the model answers"
signature = infer_signature(tensor, scores)
mlflow.pytorch.save_model(network, "network/model", signature=signature, serialization_format="pickle")
tell("network", "01234")
print(json.dumps(told))
"""


def test_each_kind_is_explained_by_its_own_method(tmp_path: Path) -> None:
    pytest.importorskip("xgboost", reason="XGBoost is not installed")
    pytest.importorskip("lightgbm", reason="LightGBM is not installed")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", SCRIPT], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == {
        "boosted": ["tree", "output", 5, True],
        "xgboost": ["exact", "probability", 5, True],
        "lightgbm": ["exact", "probability", 5, True],
        "several": ["exact", "output", 5, True],
        "network": ["gradients", "output", 5, True],
    }
