"""Bentos with a reference, served by the real launcher."""

import contextlib
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from mlflow_deploy_plugin.spec.bento import MODEL_FOLDER, REFERENCE_FILE, SPEC_FILE, BentoSpec

SAVE = """
import sys
import mlflow.sklearn
import numpy as np
import pandas as pd
from mlflow.models import infer_signature
from sklearn.compose import make_column_transformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

draw = np.random.default_rng(0)
table = pd.DataFrame(draw.normal(size=(80, 3)), columns=["age", "income", "visits"])
table["plan"] = draw.choice(["basic", "gold"], 80)
model = make_pipeline(
    make_column_transformer((OneHotEncoder(), ["plan"]), remainder="passthrough"),
    RandomForestClassifier(n_estimators=20, max_depth=4, random_state=0),
).fit(table, table["age"] + 3 * (table["plan"] == "gold") > table["income"] + 1)
mlflow.sklearn.save_model(
    model, sys.argv[1], signature=infer_signature(table, model.predict(table)), serialization_format="cloudpickle"
)
table.to_parquet(sys.argv[2])
"""


@pytest.fixture(scope="session")
def bento(tmp_path_factory: pytest.TempPathFactory) -> Path:
    source = tmp_path_factory.mktemp("bento") / "src"
    source.mkdir()
    arguments = [str(source / MODEL_FOLDER), str(source / REFERENCE_FILE)]
    subprocess.run([sys.executable, "-W", "ignore", "-c", SAVE, *arguments], check=True, cwd=source, timeout=200)
    spec = BentoSpec(
        model_uri="models:/churn/4",
        model_name="churn",
        model_version="4",
        model_digest="sha256:0",
        serving_digest="sha256:0",
        environment_digest="sha256:0",
        flavor="sklearn",
    )
    (source / SPEC_FILE).write_text(spec.to_json())
    return source


@pytest.fixture(scope="session")
def serve(bento: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., str]]:
    """Serves the Bento with more in its environment; its address."""
    started: list[subprocess.Popen[bytes]] = []

    def start(**environment: str) -> str:
        log = tmp_path_factory.mktemp("log") / "log"
        command = [sys.executable, "-m", "mlflow_deploy_plugin.serving.launch", "--bento", str(bento), "--port", "0"]
        with log.open("wb") as output:
            started.append(subprocess.Popen(command, stderr=output, env={**os.environ, **environment}))
        until = time.monotonic() + 120
        while time.monotonic() < until and started[-1].poll() is None:
            if found := re.search(r"listening on (http://\S+)", log.read_text()):
                with contextlib.suppress(httpx.HTTPError):
                    if httpx.get(f"{found[1]}/readyz").status_code == 200:
                        return found[1]
            time.sleep(0.1)
        pytest.fail(log.read_text())

    yield start
    for process in started:
        process.terminate()
        process.wait(60)
