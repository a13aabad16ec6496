from pathlib import Path

import mlflow
import pytest

from mlflow_deploy_plugin.errors import ModelserveError
from pipelines.monitoring.artifacts import Kept, keep

pytestmark = pytest.mark.filterwarnings("ignore")  # SQLAlchemy's, about MLflow's tables


def test_a_report_becomes_an_artifact_of_the_run(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    client = mlflow.MlflowClient(tracking_uri=uri)
    experiment = client.create_experiment("e", artifact_location=(tmp_path / "artifacts").as_uri())
    run = client.create_run(experiment)
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "decision.json").write_text("{}")
    kept = Kept(folder=tmp_path / "report", tracking_uri=uri, run_id=run.info.run_id, path="drift/churn/now")
    keep(kept)
    keep(kept)
    names = [each.path for each in client.list_artifacts(run.info.run_id, "drift/churn/now")]
    assert names == ["drift/churn/now/decision.json"]
    with pytest.raises(ModelserveError, match="did not take the report"):
        keep(Kept(folder=tmp_path / "report", tracking_uri=uri, run_id="0" * 32, path="drift"))
