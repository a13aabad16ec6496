"""The law that every method keeps, on each kind of model, and exact values on models small enough to enumerate."""

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from mlflow_deploy_plugin.attribution.table import Table
from mlflow_deploy_plugin.serving.explaining import methods
from mlflow_deploy_plugin.serving.explaining.methods import explain
from mlflow_deploy_plugin.serving.explaining.subject import Subject
from mlflow_deploy_plugin.serving.faults import RequestError

pytest.importorskip("shap", reason="the extra modelserve[explain] is not installed")
sklearn_ensemble = pytest.importorskip("sklearn.ensemble")
torch = pytest.importorskip("torch")

from sklearn.linear_model import LinearRegression, LogisticRegression  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402
from sklearn.svm import SVR  # noqa: E402

pytestmark = [
    pytest.mark.e2e,  # SHAP compiles for ten seconds
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of SHAP's own dependencies
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),  # of scikit-learn, on arrays without names
]

DATA = np.random.default_rng(0).normal(size=(120, 12))
TARGET = DATA[:, 0] * 2 + np.sin(DATA[:, 1]) * DATA[:, 2] - DATA[:, 3] ** 2
ROWS = DATA[:3]


def table(values: np.ndarray) -> Table:
    return Table(tuple(f"c{at}" for at in range(values.shape[1])), values)


def classifier(estimator: Any, width: int) -> Subject:
    labels = np.digitize(TARGET, [-1.0, 1.0]) if width > 4 else (TARGET > 0).astype(int)
    fitted = estimator.fit(DATA[:, :width], labels)
    return Subject(
        answer=fitted.predict_proba,
        background=DATA[:30, :width],
        outputs=tuple(fitted.classes_.tolist()),
        is_probability=True,
        estimator=fitted,
    )


def regressor(estimator: Any, width: int) -> Subject:
    fitted = estimator.fit(DATA[:, :width], TARGET)
    return Subject(
        answer=lambda values: fitted.predict(values)[:, np.newaxis], background=DATA[:30, :width], estimator=fitted
    )


def network(width: int, outputs: int) -> Subject:
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Linear(width, 16), torch.nn.Tanh(), torch.nn.Linear(16, outputs))

    def answer(values: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return np.asarray(module(torch.tensor(values, dtype=torch.float32)).numpy(), dtype=float)

    return Subject(answer=answer, background=DATA[:30, :width], module=module)


E = sklearn_ensemble
KINDS: dict[str, tuple[Callable[[], Subject], int, str]] = {
    "forest": (lambda: classifier(E.RandomForestClassifier(n_estimators=15, random_state=0), 12), 12, "tree"),
    "small forest": (lambda: classifier(E.ExtraTreesClassifier(n_estimators=15, random_state=0), 4), 4, "tree"),
    "boosted classes": (lambda: classifier(E.GradientBoostingClassifier(n_estimators=15), 4), 4, "exact"),
    "boosted numbers": (lambda: regressor(E.HistGradientBoostingRegressor(max_iter=20), 12), 12, "tree"),
    "linear": (lambda: regressor(LinearRegression(), 12), 12, "linear"),
    "logistic": (lambda: classifier(LogisticRegression(), 4), 4, "exact"),
    "pipeline": (lambda: classifier(make_pipeline(StandardScaler(), LogisticRegression()), 12), 12, "permutation"),
    "kernel": (lambda: regressor(SVR(), 6), 6, "exact"),
    "torch number": (lambda: network(12, 1), 12, "gradients"),
    "torch scores": (lambda: network(6, 3), 6, "gradients"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_base_and_attributions_are_the_prediction(kind: str) -> None:
    make, width, method = KINDS[kind]
    subject, rows = make(), ROWS[:, :width]
    found = explain(subject, table(rows))
    assert found.method == method
    total = np.asarray(found.base) + np.asarray(found.attributions).sum(axis=1)
    np.testing.assert_allclose(total, found.predictions, atol=1e-6)
    answers = subject.answer(rows)
    np.testing.assert_allclose(found.predictions, answers.max(axis=1), atol=1e-12)
    if subject.outputs:
        assert list(found.outputs) == [subject.outputs[at] for at in answers.argmax(axis=1)]


def shapley(answer: Callable[[np.ndarray], np.ndarray], row: np.ndarray, background: np.ndarray) -> np.ndarray:
    """By definition: over all coalitions, what a column adds, absent ones taken from the background."""
    width = len(row)

    def worth(coalition: frozenset[int]) -> float:
        mixed = background.copy()
        mixed[:, list(coalition)] = row[list(coalition)]
        return float(answer(mixed).mean())

    found = np.zeros(width)
    for column in range(width):
        for size in range(width):
            weight = math.factorial(size) * math.factorial(width - size - 1) / math.factorial(width)
            for others in itertools.combinations([at for at in range(width) if at != column], size):
                coalition = frozenset(others)
                found[column] += weight * (worth(coalition | {column}) - worth(coalition))
    return found


@pytest.mark.parametrize("kind", ["small forest", "boosted classes", "logistic", "kernel"])
def test_values_are_shapley_s_by_definition(kind: str) -> None:
    make, width, _ = KINDS[kind]
    subject = make()
    found = explain(subject, table(ROWS[:1, :width]))
    at = int(subject.answer(ROWS[:1, :width]).argmax())
    expected = shapley(lambda values: subject.answer(values)[:, at], ROWS[0, :width], subject.background)
    np.testing.assert_allclose(found.attributions[0], expected, atol=1e-6)


def test_a_method_whose_values_do_not_add_up_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = methods.Found(np.zeros(1), np.zeros((3, 12, 1)))
    monkeypatch.setitem(methods.METHODS, "linear", lambda *_: wrong)
    assert explain(regressor(LinearRegression(), 12), table(ROWS)).method == "permutation"


def test_answers_without_end_cannot_be_explained() -> None:
    subject = Subject(answer=lambda values: np.full((len(values), 1), np.nan), background=DATA[:5, :3])
    with pytest.raises(RequestError, match="no method's values add up"):
        explain(subject, table(ROWS[:, :3]))
