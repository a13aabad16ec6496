from collections.abc import Callable, Mapping
from typing import Any

import pytest

from mlflow_deploy_plugin.manifests.model import Deployment, ModelIdentity


@pytest.fixture
def make_deployment() -> Callable[..., Deployment]:
    """A valid deployment; a test names only what matters."""

    def make(name: str = "churn", endpoint: str = "churn", version: int = 1, **fields: Any) -> Deployment:
        digest = "sha256:" + f"{version:064x}"
        defaults: Mapping[str, Any] = {
            "name": name,
            "endpoint": endpoint,
            "stage": "production",
            "model": ModelIdentity(
                bento=f"churn:{version:016x}",
                uri=f"models:/churn/{version}",
                digest=digest,
                name="churn",
                version=str(version),
            ),
            "image": f"modelserve.invalid/churn@{digest}",
            "environment": {
                "MODELSERVE_ENDPOINT": endpoint,
                "MODELSERVE_DEPLOYMENT": name,
                "MODELSERVE_STAGE": "production",
            },
        }
        return Deployment(**{**defaults, **fields})

    return make
