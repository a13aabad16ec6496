"""One version run as another deployment is sized: in the next stage, or as the baseline of a canary. Pure."""

from dataclasses import replace
from typing import Final

from mlflow_deploy_plugin.manifests.model import Deployment
from mlflow_deploy_plugin.spec.settings import GPUS

IDENTITY: Final = frozenset({"MODELSERVE_ENDPOINT", "MODELSERVE_DEPLOYMENT", "MODELSERVE_STAGE"})
"""Variables that say who a deployment is; written anew for every copy."""


def sized_like(version: Deployment, size: Deployment, *, name: str, stage: str) -> Deployment:
    """``version`` under another name: its model, image and variables, with replicas, workers and resources of ``size``.

    Args:
        version: what is served.
        size: how large: GPUs come from it too, with the variable that BentoML counts them by.
        name: of the copy.
        stage: where it will stand.
    """
    variables = {key: text for key, text in version.environment.items() if key not in {*IDENTITY, GPUS}}
    if GPUS in size.environment:
        variables[GPUS] = size.environment[GPUS]
    return replace(
        version,
        name=name,
        stage=stage,
        replicas=size.replicas,
        workers=size.workers,
        resources=size.resources,
        environment=variables,
    )
