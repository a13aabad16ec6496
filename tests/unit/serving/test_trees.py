"""Ensembles of scikit-learn's trees as a compiled form: equal to the last bit, also where trees decide."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn import ensemble, preprocessing, tree
from sklearn.pipeline import make_pipeline

from mlflow_deploy_plugin.serving.compiled.form import BeyondFormError, Computed, Typed, Typing
from mlflow_deploy_plugin.serving.compiled.trees import TreesForm
from mlflow_deploy_plugin.serving.compiling import rows, to_trees
from mlflow_deploy_plugin.serving.compiling.estimators import thresholds_of
from mlflow_deploy_plugin.serving.compiling.refusal import RefusedError
from mlflow_deploy_plugin.serving.predictors.compiled import CompiledPredictor
from mlflow_deploy_plugin.serving.predictors.fake import EchoPredictor
from mlflow_deploy_plugin.serving.request import Matrix

X = np.random.default_rng(1).normal(size=(300, 4))
BINARY = (X[:, 0] * X[:, 1] > X[:, 2]).astype(int)
WORDS = np.select([X[:, 0] > 0.5, X[:, 1] > 0], ["high", "mid"], "low")
VALUES = 3 * X[:, 0] - X[:, 2] ** 2

FEW = {"n_estimators": 12, "random_state": 0}
ENSEMBLES: list[tuple[Any, Any]] = [
    (tree.DecisionTreeClassifier(random_state=0), WORDS),
    (tree.DecisionTreeRegressor(random_state=0), np.column_stack([VALUES, -VALUES])),
    (ensemble.RandomForestClassifier(**FEW), BINARY),
    (ensemble.RandomForestRegressor(**FEW), VALUES),
    (ensemble.ExtraTreesClassifier(**FEW), WORDS),
    (ensemble.ExtraTreesRegressor(**FEW), VALUES),
    (ensemble.GradientBoostingClassifier(**FEW), BINARY),
    (ensemble.GradientBoostingClassifier(**FEW, init="zero"), WORDS),
    (ensemble.GradientBoostingRegressor(**FEW), VALUES),
    (ensemble.HistGradientBoostingClassifier(max_iter=12, random_state=0), BINARY),
    (ensemble.HistGradientBoostingClassifier(max_iter=12, random_state=0), WORDS),
    (ensemble.HistGradientBoostingRegressor(max_iter=12, random_state=0), VALUES),
    (ensemble.HistGradientBoostingRegressor(max_iter=12, loss="poisson"), np.exp(VALUES / 10)),
    (make_pipeline(preprocessing.StandardScaler(), ensemble.RandomForestClassifier(**FEW)), BINARY),
    (make_pipeline(preprocessing.MinMaxScaler(), ensemble.HistGradientBoostingRegressor(max_iter=9)), VALUES),
]


def said(form: TreesForm, estimator: Any, values: Any) -> Computed:
    """What a form says, its labels as the estimator's."""
    found = form.compute(values, "probability")
    return found._replace(prediction=estimator.classes_[found.prediction]) if found.is_index else found


@pytest.mark.parametrize("kind", ["float64", "float32", "int64"])
@pytest.mark.parametrize(("estimator", "y"), ENSEMBLES, ids=lambda value: type(value).__name__)
def test_every_ensemble_answers_alike_where_its_trees_decide(estimator: Any, y: Any, kind: str) -> None:
    table = (X * 7).round().astype(kind) if kind == "int64" else X.astype(kind)
    estimator.fit(table, y)
    tried = rows.compared(kind, 4, example=None, edges=thresholds_of(estimator)).astype(kind)
    found = said(to_trees.form(estimator, kind), estimator, tried)
    expected = estimator.predict(tried)
    if expected.dtype.kind == "f":
        prediction = found.prediction.reshape(expected.shape)
        np.testing.assert_allclose(prediction, expected, rtol=1e-14, atol=1e-14)
        return
    assert found.prediction.tolist() == expected.tolist()
    np.testing.assert_allclose(found.probability, estimator.predict_proba(tried), rtol=1e-14, atol=1e-14)


def test_a_forests_shares_are_equal_to_the_last_bit_in_any_batch() -> None:
    estimator = ensemble.RandomForestClassifier(n_estimators=40, random_state=0).fit(X, WORDS)
    form = to_trees.form(estimator, "float64")
    many = np.random.default_rng(2).normal(size=(9000, 4))  # walked in parts
    assert np.array_equal(form.compute(many, "probability").probability, estimator.predict_proba(many))
    for count in (1, 2, 300):
        found = form.compute(X[:count], "probability").probability
        assert np.array_equal(found, estimator.predict_proba(X[:count]))
    assert form.compute(X[:0], "prediction").prediction.shape == (0,)


def test_a_form_survives_its_file(tmp_path: Path) -> None:
    estimator = make_pipeline(preprocessing.StandardScaler(), ensemble.GradientBoostingClassifier(**FEW))
    form = to_trees.form(estimator.fit(X, WORDS), "float64")
    form.write(tmp_path / "trees.npz")
    again = TreesForm.of_file(tmp_path / "trees.npz")
    for one, other in zip(form.compute(X, "probability"), again.compute(X, "probability"), strict=True):
        assert np.array_equal(one, other)


def test_what_float32_cannot_hold_is_the_models_to_refuse() -> None:
    estimator = make_pipeline(preprocessing.StandardScaler(), tree.DecisionTreeRegressor()).fit(X, VALUES)
    form = to_trees.form(estimator, "float64")
    beyond = np.full((1, 4), 1e300)
    with np.errstate(over="ignore"), pytest.raises(ValueError, match="too large for dtype"):
        estimator.predict(beyond)
    with pytest.raises(BeyondFormError, match="beyond float32"):
        form.compute(beyond, "prediction")
    generic = EchoPredictor()
    predictor = CompiledPredictor(Typed(form, Typing()), "compiled-trees", generic)
    for values, asked in ((X[:2], 0), (beyond, 1)):
        predictor.predict(Matrix(values=values, columns=tuple("abcd")), None, "prediction")
        assert len(generic.batches) == asked


@pytest.mark.parametrize(
    ("estimator", "y", "words"),
    [
        (ensemble.IsolationForest(n_estimators=2), None, "no form of trees"),
        (ensemble.RandomForestClassifier(n_estimators=2), np.column_stack([BINARY, BINARY]), "several outputs"),
        (ensemble.GradientBoostingRegressor(n_estimators=2, init=tree.DecisionTreeRegressor()), VALUES, "of its user"),
        (
            make_pipeline(preprocessing.QuantileTransformer(n_quantiles=9), tree.DecisionTreeRegressor()),
            VALUES,
            "scaler",
        ),
        (ensemble.HistGradientBoostingRegressor(max_iter=2, categorical_features=[0]), VALUES, "categorical"),
    ],
)
def test_what_is_no_such_ensemble_says_why(estimator: Any, y: Any, words: str) -> None:
    table = X.copy()
    table[:, 0] = np.abs(table[:, 0].round())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        estimator.fit(table) if y is None else estimator.fit(table, y)
    with pytest.raises(RefusedError, match=words):
        to_trees.form(estimator, "float64")


def test_what_has_other_insides_than_were_known_is_refused() -> None:
    scaled = make_pipeline(preprocessing.StandardScaler(), tree.DecisionTreeRegressor()).fit(X, VALUES)
    del scaled[0].mean_
    empty = ensemble.HistGradientBoostingRegressor(max_iter=2).fit(X, VALUES)
    empty._predictors.clear()
    for estimator in (scaled, empty):
        with pytest.raises(RefusedError, match=f"{type(estimator).__name__} is not as it was known"):
            to_trees.form(estimator, "float64")
