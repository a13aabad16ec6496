"""The OpenAPI document under schemathesis' requests, and the page of it in a browser that reaches no network."""

import asyncio
import contextlib
import shutil
import subprocess
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest
import requests
import uvicorn
from hypothesis import HealthCheck, Phase, given, settings
from sklearn.linear_model import LogisticRegression

from mlflow_deploy_plugin.serving.app import create_app
from mlflow_deploy_plugin.spec.bento import MODEL_FOLDER, SPEC_FILE, BentoSpec
from mlflow_deploy_plugin.spec.settings import ServingSettings

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # they warn of themselves when they are imported
    import mlflow
    import schemathesis
    from mlflow.models import ModelSignature, infer_signature
    from mlflow.pyfunc import PythonModel
    from mlflow.types import ColSpec, DataType, Schema
    from mlflow.types.schema import Array, Object, Property
    from schemathesis import GenerationMode
    from schemathesis.checks import not_a_server_error
    from schemathesis.specs.openapi.checks import (
        content_type_conformance,
        response_schema_conformance,
        status_code_conformance,
    )

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.filterwarnings("ignore"),  # MLflow's own, on bodies that are wrong on purpose
]

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
EXAMPLES = 4
"""Generated requests of each operation."""
PATIENCE_S = 60.0
"""The first explanation of a worker imports SHAP, which takes seconds on a busy machine."""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a table's classifier."""
    with serve(tmp_path_factory.mktemp("described"), save) as url:
        yield url


@pytest.fixture(scope="module")
def nested(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a model of nested columns."""
    with serve(tmp_path_factory.mktemp("nested"), save_nested) as url:
        yield url


@contextlib.contextmanager
def serve(bento: Path, save_model: Callable[[Path], None]) -> Iterator[str]:
    """The address of a real model behind uvicorn, in a thread."""
    spec = BentoSpec(
        model_uri="models:/churn/4",
        model_name="churn",
        model_version="4",
        model_digest="sha256:m",
        serving_digest="sha256:s",
        environment_digest="sha256:e",
    )
    (bento / SPEC_FILE).write_text(spec.to_json())
    save_model(bento / MODEL_FOLDER)
    app = create_app(bento, ServingSettings(deployment="churn-v4", endpoint="churn"))
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, lifespan="on", interface="asgi3"))
    thread = threading.Thread(target=asyncio.run, args=(server.serve(),), daemon=True)
    thread.start()
    try:
        yield wait(server)
    finally:
        server.should_exit = True
        thread.join(30)


def save(folder: Path) -> None:
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(200, 3)), columns=["a", "b", "c"])
    model = LogisticRegression().fit(frame, (frame["a"] > 0).astype(int))
    signature = infer_signature(frame, model.predict(frame))
    options = {"serialization_format": "cloudpickle", "pip_requirements": ["scikit-learn"]}
    mlflow.sklearn.save_model(model, folder, signature=signature, input_example=frame.head(2), **options)


class Sizes(PythonModel):
    """Answers how long each row's list is."""

    def predict(self, context: Any, model_input: Any, params: Any = None) -> Any:  # noqa: ARG002
        return [len(values) for values in model_input["v"]]


def save_nested(folder: Path) -> None:
    inside = Object([Property("k", DataType.long), Property("t", DataType.string, required=False)])
    columns = [
        ColSpec(Array(DataType.double), "v"),
        ColSpec(inside, "o"),
        ColSpec(DataType.string, "s", required=False),
    ]
    signature = ModelSignature(inputs=Schema(columns), outputs=Schema([ColSpec(DataType.long)]))
    mlflow.pyfunc.save_model(folder, python_model=Sizes(), signature=signature, pip_requirements=["mlflow"])


def wait(server: uvicorn.Server) -> str:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        if server.started:
            url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
            if httpx.get(url + "/readyz").status_code == 200:
                return url
        time.sleep(0.05)
    raise AssertionError("uvicorn did not start")


@pytest.mark.timeout(600)
def test_generated_requests_are_answered_as_the_document_says(served: str) -> None:
    schema = schemathesis.openapi.from_url(served + "/openapi.json")
    operations: list[Any] = [found.ok() for found in schema.get_all_operations()]
    explained = [one for one in operations if "explain" in one.path or "explanations" in one.path]
    with requests.Session() as session:
        for operation in operations:
            exercise(operation, GenerationMode.POSITIVE, served, session)
            if operation.body:
                exercise(operation, GenerationMode.NEGATIVE, served, session)
    assert len(operations) > 50
    assert len(explained) == 5
    assert httpx.get(served + "/readyz").status_code == 200


@pytest.mark.timeout(600)
def test_nested_input_is_answered_as_the_document_says(nested: str) -> None:
    schema = schemathesis.openapi.from_url(nested + "/openapi.json")
    found: list[Any] = [one.ok() for one in schema.get_all_operations()]
    asked = [one for one in found if one.body and "version" not in one.path and "label" not in one.path]
    with requests.Session() as session:
        for operation in asked:
            for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
                exercise(operation, mode, nested, session)
    assert {"/predict", "/invocations", "/v2/models/{model}/infer", "/feedback"} <= {one.path for one in asked}
    assert httpx.get(nested + "/readyz").status_code == 200


def exercise(operation: Any, mode: GenerationMode, served: str, session: requests.Session) -> None:
    """A few requests by the operation's schemas, or against them; always the same ones."""

    is_offered = "501" not in operation.definition.raw["responses"]  # it may be told not to be
    checks = CHECKS if is_offered else [check for check in CHECKS if check is not not_a_server_error]

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def ask(case: Any) -> None:
        case.call_and_validate(base_url=served + "/endpoints/churn", session=session, checks=checks, timeout=PATIENCE_S)

    ask()


CHROMIUM = shutil.which("chromium")


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed: apt-get install chromium")
def test_the_page_shows_the_operations_in_a_browser_without_a_network(served: str, tmp_path: Path) -> None:
    assert CHROMIUM is not None
    command = [
        CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-dev-shm-usage", f"--user-data-dir={tmp_path}",
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
        "--virtual-time-budget=60000", "--dump-dom", f"{served}/endpoints/churn/docs",
    ]  # fmt: skip
    page = subprocess.run(command, capture_output=True, text=True, timeout=240, check=True).stdout
    assert "Predict one row" in page, page[:2000]
    assert "Failed to load API definition" not in page
    for shown in ("/predict_batch", "/invocations", "MLflow's scoring protocol", "churn, served as churn-v4"):
        assert shown in page
