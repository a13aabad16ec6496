"""The report of a drift tick as an artifact of the MLflow run that made the version; through MLflow's own client."""

from dataclasses import dataclass
from pathlib import Path

from mlflow_deploy_plugin.errors import ModelserveError
from mlflow_deploy_plugin.packaging.mlflow_registry import quiet_mlflow


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What is kept, and where."""

    folder: Path
    """Every file in it."""
    tracking_uri: str
    run_id: str
    path: str
    """Within the run's artifacts."""


def keep(kept: Kept) -> None:
    """Add the folder to the run's artifacts. MLflow's notes never reach standard output, which is the command's.

    Raises:
        ModelserveError: the tracking server refuses, is away, or knows no such run.
    """
    try:
        with quiet_mlflow() as mlflow:
            client = mlflow.MlflowClient(tracking_uri=kept.tracking_uri)
            client.log_artifacts(kept.run_id, str(kept.folder), artifact_path=kept.path)
    except Exception as error:  # each artifact store has its own errors: boto, azure, requests
        first = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise ModelserveError(f"run {kept.run_id} of {kept.tracking_uri} did not take the report ({first})") from error
