"""What is settled of a model when it is loaded, whatever loads it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from mlflow_deploy_plugin.serving import predictors
from mlflow_deploy_plugin.serving.loading import load
from mlflow_deploy_plugin.serving.predictors.base import Loaded
from mlflow_deploy_plugin.serving.predictors.fake import EchoPredictor
from mlflow_deploy_plugin.spec.bento import MODEL_FOLDER, SPEC_FILE, BentoSpec
from mlflow_deploy_plugin.spec.settings import ServingSettings

Load = Callable[..., Loaded]


@pytest.fixture
def loads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    """Loads a Bento of one column whose predictor is given."""
    digests = dict.fromkeys(("model_digest", "serving_digest", "environment_digest"), "sha256:0")
    (tmp_path / SPEC_FILE).write_text(BentoSpec(model_uri="m", model_name="m", **digests).to_json())
    (tmp_path / MODEL_FOLDER).mkdir()
    inputs = json.dumps([{"name": "a", "type": "double", "required": True}])
    (tmp_path / MODEL_FOLDER / "MLmodel").write_text(yaml.safe_dump({"signature": {"inputs": inputs}}))

    def loaded(predictor: Any, judge: Any = None, **settings: Any) -> Loaded:
        made = Loaded(predictor=predictor, reason="a test", judge=judge)
        monkeypatch.setattr(predictors, "load", lambda _: made)
        return load(tmp_path, ServingSettings(**settings)).loaded

    return loaded


INDEPENDENT = EchoPredictor(answer=lambda column: column)
ROUNDS = EchoPredictor(answer=lambda column: column * (1.004 if len(column) == 1 else 1.0))
"""As half precision does, where the kernel for one row is another than that for several."""


def test_a_model_that_looks_across_rows_is_served_unbatched_and_that_is_said(
    loads: Load, caplog: pytest.LogCaptureFixture
) -> None:
    looks = EchoPredictor(answer=lambda column: column - column.mean())
    assert not loads(looks).can_batch
    assert "serving unbatched: a row is answered differently alone and among others" in caplog.text
    assert loads(looks, batching="off").can_batch, "nothing was asked"


def test_whether_rows_see_each_other_is_told_by_the_judge_where_there_is_one(loads: Load) -> None:
    assert not loads(ROUNDS).can_batch, "rounding cannot be told from looking"
    assert loads(ROUNDS, judge=INDEPENDENT).can_batch
    assert not loads(INDEPENDENT, judge=EchoPredictor(answer=lambda column: column - column.mean())).can_batch
