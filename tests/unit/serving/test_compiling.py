"""Real scikit-learn models, compiled and held against MLflow's own loading of them."""

import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlflow_deploy_plugin.errors import ModelError
from mlflow_deploy_plugin.serving.compiled import store
from mlflow_deploy_plugin.serving.compiled.form import Computed, Typed, Typing
from mlflow_deploy_plugin.serving.compiled.linear import LinearForm, Step
from mlflow_deploy_plugin.serving.compiling.compare import compare
from mlflow_deploy_plugin.serving.compiling.compiling import compile_model
from mlflow_deploy_plugin.serving.compiling.refusal import RefusedError
from mlflow_deploy_plugin.serving.predictors.base import Output
from mlflow_deploy_plugin.spec.bento import COMPILED_FOLDER, MODEL_FOLDER, SPEC_FILE, BentoSpec

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # MLflow warns of itself when it is imported
    import mlflow
    import pandas as pd
    from mlflow.models import infer_signature
    from sklearn import ensemble, linear_model, naive_bayes, preprocessing
    from sklearn.pipeline import make_pipeline

X = pd.DataFrame(np.random.default_rng(1).normal(size=(120, 4)), columns=list("abcd"))
BINARY = (X["a"] + X["b"] > 0).astype("int64")
WORDS = np.select([X["a"] > 0.5, X["b"] > 0], ["high", "mid"], "low")
VALUES = 3 * X["a"] - X["c"] + 1
SGD = linear_model.SGDClassifier(loss="log_loss", random_state=1)
"""Fitted by another chance it may be refused: some tried rows have shares of nothing, where the last bit decides."""

Saver = Callable[..., Path]


@pytest.fixture
def save(tmp_path: Path) -> Saver:
    """A model as MLflow logs it, beside an empty folder for its form."""

    def fit_and_save(estimator: Any, y: Any, *, x: pd.DataFrame = X) -> Path:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            estimator.fit(x, y)
            mlflow.sklearn.save_model(
                estimator,
                tmp_path / MODEL_FOLDER,
                signature=infer_signature(x, estimator.predict(x)),
                input_example=x.iloc[:5],
                serialization_format="cloudpickle",
                pip_requirements=["scikit-learn"],
            )
        (tmp_path / COMPILED_FOLDER).mkdir()
        return tmp_path

    return fit_and_save


def compiled(bento: Path) -> tuple[Any, Any]:
    return compile_model(bento / MODEL_FOLDER, bento / COMPILED_FOLDER), bento / COMPILED_FOLDER


@pytest.mark.parametrize(
    ("estimator", "y", "form"),
    [
        (make_pipeline(preprocessing.StandardScaler(), linear_model.LogisticRegression()), BINARY, "linear"),
        (make_pipeline(preprocessing.MinMaxScaler(), linear_model.LogisticRegression()), WORDS, "linear"),
        (
            make_pipeline(preprocessing.RobustScaler(), linear_model.SGDClassifier(loss="log_loss", random_state=5)),
            WORDS,
            "linear",
        ),
        (linear_model.Ridge(), VALUES, "linear"),
        (linear_model.LinearRegression(), np.column_stack([VALUES, -VALUES]), "linear"),
        (naive_bayes.GaussianNB(), BINARY, "onnx"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_a_form_answers_as_the_estimator_does(save: Saver, estimator: Any, y: Any, form: str) -> None:
    bento = save(estimator, y)
    verdict, folder = compiled(bento)
    assert verdict.form == form, verdict.reason
    found, record = store.read(folder)
    assert record.comparison.rows > 300
    assert record.comparison.worst <= record.comparison.tolerance
    typed = Typed(found, record.typing)
    prediction, probability = typed.answer(X.to_numpy(), "probability")
    expected = estimator.predict(X)
    assert prediction.dtype == expected.dtype
    if record.typing.classes:
        assert prediction.tolist() == expected.tolist()
        np.testing.assert_allclose(probability, estimator.predict_proba(X), rtol=1e-9)
    else:
        np.testing.assert_allclose(prediction, expected, rtol=1e-9)


def test_what_has_no_exact_form_says_why(save: Saver) -> None:
    verdict, folder = compiled(save(ensemble.AdaBoostClassifier(n_estimators=3), BINARY))
    assert verdict.form == ""
    assert "AdaBoostClassifier has no linear form" in verdict.reason
    assert not (folder / store.RECORD).exists()


def test_a_table_of_mixed_columns_is_not_even_loaded(save: Saver) -> None:
    mixed = X.assign(a=X["a"].round().astype("int64"))
    verdict, _ = compiled(save(linear_model.Ridge(), VALUES, x=mixed))
    assert verdict.reason == "the signature is no table of named numbers of one type"


def test_whole_numbers_are_compiled_too(save: Saver) -> None:
    whole = (X * 5).round().astype("int64")
    verdict, folder = compiled(save(linear_model.Ridge(), VALUES, x=whole))
    assert verdict.form == "linear"
    assert store.read(folder).record.comparison.worst <= 1e-9


def test_a_file_that_is_not_the_compared_one_is_refused(save: Saver) -> None:
    _, folder = compiled(save(linear_model.Ridge(), VALUES))
    path = folder / store.FILES["linear"]
    path.write_bytes(path.read_bytes().replace(b"1", b"2", 1))
    with pytest.raises(ModelError, match="not the file that was compared"):
        store.read(folder)


def test_a_record_that_is_missing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="package the model again"):
        store.read(tmp_path)


def test_loading_and_asking_a_compiled_bento_imports_no_framework(save: Saver) -> None:
    bento = save(make_pipeline(preprocessing.StandardScaler(), linear_model.LogisticRegression()), BINARY)
    verdict, _ = compiled(bento)
    spec = BentoSpec(
        model_uri="models:/churn/1",
        model_name="churn",
        model_digest="sha256:m",
        serving_digest="sha256:s",
        environment_digest="sha256:e",
        predictor="compiled",
        predictor_reason=verdict.reason,
    )
    (bento / SPEC_FILE).write_text(spec.to_json())
    code = (
        "import sys, pathlib, numpy as np\n"
        "from mlflow_deploy_plugin.serving.app import create_app\n"
        "from mlflow_deploy_plugin.serving.loading import load\n"
        "from mlflow_deploy_plugin.serving.request import Matrix\n"
        "from mlflow_deploy_plugin.spec.settings import ServingSettings\n"
        "bento = pathlib.Path(sys.argv[1])\n"
        "create_app(bento, ServingSettings())\n"
        "model = load(bento, ServingSettings())\n"
        "rows = Matrix(values=np.ones((2, 4)), columns=('a', 'b', 'c', 'd'))\n"
        "print(model.loaded.predictor.name, model.loaded.predictor.predict(rows, None, 'probability').prediction)\n"
        "print(sorted({'mlflow', 'sklearn', 'pandas', 'scipy', 'torch', 'pyarrow', 'bentoml'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code, bento], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["compiled-linear [1 1]", "[]"]


class Wrong:
    """A form that is off by a given amount."""

    name = "wrong"

    def __init__(self, off: float) -> None:
        self._off = off

    def compute(self, values: Any, wants: Any) -> Computed:
        del wants
        return Computed(values[:, 0] + self._off)


@pytest.mark.parametrize(("off", "is_taken"), [(0.0, True), (1e-12, True), (1e-6, False), (float("nan"), False)])
def test_a_form_that_is_off_is_refused(off: float, *, is_taken: bool) -> None:
    rows = np.random.default_rng(3).normal(size=(50, 2))
    try:
        compare(Wrong(off), Typing(), rows, Output(rows[:, 0]))
    except RefusedError:
        assert not is_taken
    else:
        assert is_taken


def test_one_other_label_is_enough_to_refuse() -> None:
    rows = np.arange(50.0)[:, None]
    labels = np.where(rows[:, 0] > 24, 1, 0)
    form = LinearForm(coefficients=np.ones((1, 1)), intercept=np.array([-24.0]), link="labels")
    compare(form, Typing(classes=(0, 1), dtype="<i8"), rows, Output(labels))
    labels[24] = 1
    with pytest.raises(RefusedError, match="1 of 50 rows"):
        compare(form, Typing(classes=(0, 1), dtype="<i8"), rows, Output(labels))


def test_a_linear_form_survives_its_file() -> None:
    numbers = np.random.default_rng(4).normal(size=(3, 2)) * 1e-17
    form = LinearForm(
        steps=(Step("subtract", np.array([0.1, 1 / 3, 5e-324])),),
        coefficients=numbers,
        intercept=np.array([0.1, 0.2]),
        link="softmax",
    )
    again = LinearForm.of_document(form.to_document())
    rows = np.random.default_rng(5).normal(size=(9, 3))
    for one, other in zip(form.compute(rows, "probability"), again.compute(rows, "probability"), strict=True):
        assert np.array_equal(one, other)
