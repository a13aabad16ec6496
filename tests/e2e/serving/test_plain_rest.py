"""Plain REST on real models: what it answers equals what the model says, and what it refuses says where and why."""

import asyncio
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import LinearSVC

from mlflow_deploy_plugin.serving.app import Application, create_app
from mlflow_deploy_plugin.spec.bento import MODEL_FOLDER, SPEC_FILE, BentoSpec
from mlflow_deploy_plugin.spec.settings import ServingSettings

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # MLflow warns of itself when it is imported
    import mlflow
    from mlflow.models import infer_signature

pytestmark = [pytest.mark.e2e, pytest.mark.filterwarnings("ignore")]  # MLflow's own, of types that it infers

GENERATOR = np.random.default_rng(0)
NUMBERS = pd.DataFrame(GENERATOR.normal(size=(300, 3)), columns=["a", "b", "c"])
SIGN = NUMBERS["a"] + 0.5 * NUMBERS["b"]
MIXED = pd.DataFrame({"city": GENERATOR.choice(["Bern", "Oslo"], 300), "age": GENERATOR.normal(40, 9, 300)})

MODELS: dict[str, tuple[Any, pd.DataFrame]] = {
    "binary": (make_pipeline(StandardScaler(), LogisticRegression()).fit(NUMBERS, (SIGN > 0).astype(int)), NUMBERS),
    "words": (LogisticRegression().fit(NUMBERS, np.where(SIGN > 0, "yes", "no")), NUMBERS),
    "three": (LogisticRegression().fit(NUMBERS, np.digitize(SIGN, [-0.5, 0.5])), NUMBERS),
    "mixed": (
        make_pipeline(
            make_column_transformer((OneHotEncoder(), ["city"]), (StandardScaler(), ["age"])), LogisticRegression()
        ).fit(MIXED, (MIXED["age"] > 40).astype(int)),
        MIXED,
    ),
    "regressor": (LinearRegression().fit(NUMBERS, SIGN), NUMBERS),
    "margin": (LinearSVC().fit(NUMBERS, (SIGN > 0).astype(int)), NUMBERS),
}


@pytest.fixture(scope="module")
def apps(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Application]]:
    root, made = tmp_path_factory.mktemp("plain"), dict[str, Application]()

    def app(name: str) -> Application:
        if name not in made:
            model, frame = MODELS[name]
            options = {"serialization_format": "cloudpickle", "pip_requirements": ["scikit-learn"]}
            signature = infer_signature(frame, model.predict(frame))
            mlflow.sklearn.save_model(model, root / name / MODEL_FOLDER, signature=signature, **options)
            digests = dict.fromkeys(("model_digest", "serving_digest", "environment_digest"), "sha256:0")
            spec = BentoSpec(model_uri=f"models:/{name}/1", model_name=name, model_version="1", **digests)
            (root / name / SPEC_FILE).write_text(spec.to_json())
            made[name] = create_app(root / name, ServingSettings(endpoint=name, deployment=f"{name}-v1"))
        return made[name]

    yield app
    for each in made.values():
        LOOP.run_until_complete(each.stop())
    LOOP.close()


LOOP = asyncio.new_event_loop()


def post(app: Application, path: str, body: Any) -> httpx.Response:
    async def ask() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://bento") as client:
            return await client.post(path, json=body)

    return LOOP.run_until_complete(ask())


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("form", ["named", "in order"])
def test_one_row_and_many_are_answered_as_the_model_says(
    apps: Callable[[str], Application], name: str, form: str
) -> None:
    model, frame = MODELS[name]
    rows = frame.head(5)
    features = rows.to_dict(orient="records") if form == "named" else rows.to_numpy().tolist()
    expected = model.predict(rows).tolist()
    many = post(apps(name), f"/endpoints/{name}/predict_batch", {"features": features}).json()
    one = post(apps(name), f"/endpoints/{name}/predict", {"features": features[0]}).json()
    assert many["predictions"] == pytest.approx(expected) if name == "regressor" else many["predictions"] == expected
    assert one["prediction"] == many["predictions"][0]
    assert one["model_version"] == many["model_version"] == f"{name}-v1"
    assert one["latency_ms"] > 0
    if not hasattr(model, "predict_proba"):
        assert one.keys() == {"prediction", "model_version", "latency_ms"}
        return
    likely = model.predict_proba(rows).max(axis=1).tolist()
    assert many["probability"] == pytest.approx(likely, rel=1e-9)
    assert one["probability"] == pytest.approx(likely[0], rel=1e-9)


BAD: list[tuple[str, Any, int, str]] = [
    ("binary", {"features": [1, 2]}, 422, "row 0 has 2 values; the model takes 3: 'a', 'b', 'c'"),
    ("binary", {"features": {"a": 1, "b": 2}}, 422, "row 0 misses 'c'"),
    ("binary", {"features": {"a": 1, "b": 2, "c": 3, "d": 4}}, 422, "has unknown 'd'"),
    ("binary", {"features": [1, 2, "3"]}, 422, "row 0, field 'c': must be a number, not a string"),
    ("binary", {"features": [1, 2, None]}, 422, "must be a number, not null"),
    ("binary", {"features": [1, 2, True]}, 422, "must be a number, not a boolean"),
    ("binary", {"features": "x"}, 422, "must be an object or an array"),
    ("binary", {"features": [1, 2, 3], "params": {"x": 1}}, 200, ""),
    ("binary", {"features": [1, 2, 3], "params": [1]}, 422, "'params' must be an object, not an array"),
    ("binary", {"feature": [1, 2, 3]}, 400, "unknown key 'feature'; known: features, params"),
    ("binary", {}, 400, "must have the key 'features'"),
    ("binary", [1, 2, 3], 400, "must be a JSON object, not an array"),
    ("mixed", {"features": {"city": 3, "age": 40}}, 422, "row 0, field 'city': must be a string, not a number"),
    ("mixed", {"features": {"city": "Rome", "age": 40}}, 422, "unknown categories"),
]


@pytest.mark.parametrize(("name", "body", "status", "words"), BAD)
def test_what_is_wrong_is_said_with_its_place(
    apps: Callable[[str], Application], name: str, body: Any, status: int, words: str
) -> None:
    answer = post(apps(name), "/predict", body)
    assert answer.status_code == status, answer.text
    assert status == 200 or words in answer.json()["error"]["message"]


def test_one_wrong_row_of_many_is_named_and_none_is_predicted(apps: Callable[[str], Application]) -> None:
    answer = post(apps("binary"), "/predict_batch", {"features": [[1, 2, 3], [1, "x", 3]]})
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "invalid")
    assert answer.json()["error"]["message"].startswith("row 1, field 'b'")
    assert post(apps("binary"), "/predict_batch", {"features": []}).status_code == 422
