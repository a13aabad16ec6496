"""Boosters on arrays: taken where they answer as MLflow's pyfunc does, with real libraries where they are installed."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlflow_deploy_plugin.serving.predictors.base import Loaded
from mlflow_deploy_plugin.serving.predictors.boosters import straighten
from mlflow_deploy_plugin.serving.predictors.fake import EchoPredictor
from mlflow_deploy_plugin.serving.request import Frame, Matrix
from mlflow_deploy_plugin.serving.signature import Column, Signature

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # MLflow warns of itself when it is imported
    import mlflow
    import pandas as pd
    from mlflow.models import infer_signature

Load = Callable[[Path], Loaded]

X = pd.DataFrame(np.random.default_rng(1).normal(size=(80, 3)), columns=["a", "b", "c"])
Y = (X["a"] + X["b"] > 0).astype(int)
TABLE = Signature(inputs=(Column(name="a", type="double"), Column(name="b", type="double")))


def saved(flavor: Any, model: Any, path: Path, kind: str) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        signature = infer_signature(X, np.zeros(2))
        flavor.save_model(model, str(path), signature=signature, pip_requirements=[kind])
    return path


def agrees(served: Loaded, folder: Path) -> None:
    """The straight path answers unseen rows, NaN among them, as MLflow's own loading does."""
    unseen = np.random.default_rng(2).normal(size=(40, 3))
    unseen[3, 1] = np.nan
    found = served.predictor.predict(Matrix(values=unseen, columns=("a", "b", "c")), None, "prediction").prediction
    expected = mlflow.pyfunc.load_model(str(folder)).predict(pd.DataFrame(unseen, columns=["a", "b", "c"]))
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)


@pytest.mark.filterwarnings("ignore")
def test_a_lightgbm_booster_is_asked_with_arrays(loaded: Load, tmp_path: Path) -> None:
    lightgbm = pytest.importorskip("lightgbm", reason="lightgbm is not installed")
    model = lightgbm.train({"verbose": -1, "num_threads": 1}, lightgbm.Dataset(X, Y), 5)
    folder = saved(mlflow.lightgbm, model, tmp_path / "m", "lightgbm")
    served = loaded(folder)
    assert served.predictor.name == "lightgbm-array", served.reason
    assert served.reason == "the pyfunc's answers on generated rows, to the last bit"
    agrees(served, folder)


@pytest.mark.filterwarnings("ignore")
def test_an_xgboost_classifier_is_asked_with_arrays_and_has_its_probabilities(loaded: Load, tmp_path: Path) -> None:
    xgboost = pytest.importorskip("xgboost", reason="xgboost is not installed")
    model = xgboost.XGBClassifier(n_estimators=5, n_jobs=1).fit(X, Y)
    folder = saved(mlflow.xgboost, model, tmp_path / "m", "xgboost")
    served = loaded(folder)
    assert served.predictor.name == "xgboost-array", served.reason
    assert (served.classes, served.has_probability) == ((0, 1), True)
    rows = Matrix(values=X.to_numpy()[:5], columns=("a", "b", "c"))
    output = served.predictor.predict(rows, None, "probability")
    np.testing.assert_array_equal(output.probability, model.predict_proba(X[:5]))
    agrees(served, folder)


@pytest.mark.filterwarnings("ignore")
def test_an_xgboost_booster_is_asked_in_place(loaded: Load, tmp_path: Path) -> None:
    xgboost = pytest.importorskip("xgboost", reason="xgboost is not installed")
    model = xgboost.train({"nthread": 1}, xgboost.DMatrix(X, Y), 5)
    folder = saved(mlflow.xgboost, model, tmp_path / "m", "xgboost")
    served = loaded(folder)
    assert served.predictor.name == "xgboost-array", served.reason
    agrees(served, folder)


class Booster:
    """Answers with the first column, and with something else where it is told to be another on arrays."""

    def __init__(self, off: float = 0.0) -> None:
        self.off = off

    def predict(self, values: Any) -> Any:
        return values[:, 0] + self.off


def test_one_that_answers_arrays_otherwise_stays_behind_its_pyfunc() -> None:
    plain = EchoPredictor()
    assert straighten(plain, Booster(), "mlflow.lightgbm", TABLE).predictor.name == "lightgbm-array"
    other = straighten(plain, Booster(off=0.5), "mlflow.lightgbm", TABLE)
    assert (other.predictor, other.reason) == (plain, "arrays and DataFrames are answered differently")


def test_parameters_and_frames_go_through_the_pyfunc() -> None:
    plain = EchoPredictor()
    served = straighten(plain, Booster(), "mlflow.lightgbm", TABLE)
    served.predictor.predict(Matrix(values=np.ones((2, 2)), columns=("a", "b")), {"k": 1}, "prediction")
    served.predictor.predict(Frame(frame=pd.DataFrame({"a": [1.0], "b": [2.0]})), None, "prediction")
    assert plain.batches[-2:] == [2, 1]
