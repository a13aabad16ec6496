"""The door to git: read a GitOps repository, change it by one commit at a time, notice what others push."""

from mlflow_deploy_plugin.manifests.trailers import Message, Trailers
from mlflow_deploy_plugin.repository.fake import FakeRepository
from mlflow_deploy_plugin.repository.model import Commit, CommitResult, Intent, Mode, RepositoryDoor
from mlflow_deploy_plugin.repository.repository import Repository
from mlflow_deploy_plugin.repository.signing import Signature
from mlflow_deploy_plugin.repository.watch import head_token

__all__ = [
    "Commit",
    "CommitResult",
    "FakeRepository",
    "Intent",
    "Message",
    "Mode",
    "Repository",
    "RepositoryDoor",
    "Signature",
    "Trailers",
    "head_token",
]
