"""The version before, really started: its Bento answers logged inputs, logs nothing and is gone afterwards."""

import contextlib
import subprocess
import sys
from pathlib import Path

import pandas as pd
import psutil
import pytest

from mlflow_deploy_plugin.config.home import Home
from mlflow_deploy_plugin.errors import AgentError
from mlflow_deploy_plugin.manifests.model import Deployment, ModelIdentity
from mlflow_deploy_plugin.packaging import PackagingOptions, package
from mlflow_deploy_plugin.scoring import HttpScorer
from pipelines.commands.version_before import _serving, score
from pipelines.commands.version_elsewhere import score as score_at

pytestmark = [pytest.mark.e2e, pytest.mark.slow]
SAVE = """
import sys, mlflow, pandas
from sklearn.linear_model import LinearRegression
X = pandas.DataFrame({"x": [0.0, 1.0, 2.0], "y": [1.0, 0.0, 1.0]})
mlflow.sklearn.save_model(LinearRegression().fit(X, X["x"] * 2), sys.argv[1], input_example=X)
"""


def deployment(tag: str) -> Deployment:
    model = ModelIdentity(bento=tag, uri="models:/twice/1", digest="sha256:" + "0" * 64, name="twice")
    return Deployment(
        name="twice",
        endpoint="twice",
        stage="production",
        model=model,
        image=f"modelserve.invalid/twice@{model.digest}",
    )


def launched() -> set[int]:
    found = set()
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):  # ended meanwhile, whether or not its parent has noticed
            if "serving.launch" in " ".join(child.cmdline()):
                found.add(child.pid)
    return found


def test_a_bento_is_started_asked_and_ended(own_home: Path, tmp_path: Path) -> None:
    home = Home(root=own_home).ensure()
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", SAVE, str(tmp_path / "model")], check=True, capture_output=True
    )
    made = package(str(tmp_path / "model"), home=home, config=PackagingOptions())
    rows = pd.DataFrame({"x": [float(n) for n in range(450)], "y": 1.0})
    before = launched()  # other tests' servers live as long as their fixtures
    answers = score(deployment(made.tag), rows, home=home)
    assert answers == pytest.approx([2.0 * n for n in range(450)])
    assert not list(home.events.rglob("*.parquet"))
    with _serving(deployment(made.tag), home) as address:  # as somebody else keeps it warm
        for route in ("endpoints/twice/invocations", "v2/models/twice/infer"):
            elsewhere = score_at(f"{address}/{route}", deployment(made.tag), rows[:201], scorer=HttpScorer())
            assert elsewhere == pytest.approx([2.0 * n for n in range(201)])
    assert launched() <= before
    with pytest.raises(AgentError, match="is not in the store"):
        score(deployment("twice:0"), rows, home=home)
