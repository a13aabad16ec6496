"""Where the files of the tree lie. Pure.

>>> route_file("production", "churn")
'stages/production/churn/route.yaml'
>>> evidence_file("churn", "4f1")
'evidence/churn/4f1.json'
"""

from typing import Final

from mlflow_deploy_plugin.errors import ConfigError
from mlflow_deploy_plugin.spec.names import require_label

STAGES: Final = "stages"
EVIDENCE: Final = "evidence"
ROUTE: Final = "route.yaml"
ROLLOUT: Final = "rollout.yaml"
KUSTOMIZATION: Final = "kustomization.yaml"
SUFFIXES: Final = (".yaml", ".yml")

_TAKEN: Final = frozenset(name.removesuffix(".yaml") for name in (ROUTE, ROLLOUT, KUSTOMIZATION))


def stage_folder(stage: str) -> str:
    """Folder of a stage, with the closing slash."""
    return f"{STAGES}/{stage}/"


def endpoint_folder(stage: str, endpoint: str) -> str:
    """Folder of an endpoint, with the closing slash."""
    return f"{stage_folder(stage)}{endpoint}/"


def route_file(stage: str, endpoint: str) -> str:
    """The file that holds the split."""
    return endpoint_folder(stage, endpoint) + ROUTE


def rollout_file(stage: str, endpoint: str) -> str:
    """The plan, people's file."""
    return endpoint_folder(stage, endpoint) + ROLLOUT


def deployment_file(stage: str, endpoint: str, deployment: str) -> str:
    """The file of one deployment."""
    return f"{endpoint_folder(stage, endpoint)}{deployment}.yaml"


def stage_kustomization(stage: str) -> str:
    """The list of a stage's endpoints."""
    return stage_folder(stage) + KUSTOMIZATION


def endpoint_kustomization(stage: str, endpoint: str) -> str:
    """The list of an endpoint's files."""
    return endpoint_folder(stage, endpoint) + KUSTOMIZATION


def evidence_file(endpoint: str, operation: str) -> str:
    """Why a commit was made."""
    return f"{EVIDENCE}/{endpoint}/{operation}.json"


def require_deployment_name(name: str) -> str:
    """``name``, where a deployment's file may be called so.

    Raises:
        ConfigError: it is no DNS label, or it is the name of another file of the folder.
    """
    if name in _TAKEN:
        raise ConfigError(f"deployment name {name!r} is taken by the file {name}.yaml of the tree; use '{name}-1'")
    return require_label(name, what="deployment")
