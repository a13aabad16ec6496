"""A repository of a thousand endpoints: what a scheduled run reads of all of them, and a tick of one."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from mlflow_deploy_plugin import manifests
from mlflow_deploy_plugin.manifests.model import Deployment, Files, ModelIdentity

Measure = Callable[[Callable[[], Any]], Any]

ENDPOINTS = 1000


@pytest.fixture(scope="module")
def tree() -> Files:
    """Copies of one endpoint with two deployments."""
    model = ModelIdentity(bento="b:1", uri="models:/m/1", digest=f"sha256:{1:064x}", name="m")
    one = Deployment(name="endpoint-x", endpoint="endpoint-x", stage="production", model=model, image="i@sha256:1")
    files = manifests.add_endpoint({}, one, salt="s")
    second = Deployment(
        name="endpoint-x-v2", endpoint="endpoint-x", stage="production", model=model, image="i@sha256:1"
    )
    files = manifests.add_deployment(files, second, weight=0)
    return {**_copied(files), **_listed(files)}


def _copied(files: Files) -> Mapping[str, str]:
    return {
        path.replace("endpoint-x", f"e{number}"): text.replace("endpoint-x", f"e{number}")
        for path, text in files.items()
        if "endpoint-x" in path
        for number in range(ENDPOINTS)
    }


def _listed(files: Files) -> Mapping[str, str]:
    path = "stages/production/kustomization.yaml"
    return {path: files[path].replace("- endpoint-x\n", "".join(f"- e{number}\n  " for number in range(ENDPOINTS)))}


def test_names_of_a_thousand_endpoints(measure: Measure, tree: Files) -> None:
    assert len(measure(lambda: manifests.deployments_by_endpoint(tree, "production"))) == ENDPOINTS


def test_one_of_a_thousand_endpoints(measure: Measure, tree: Files) -> None:
    found = measure(lambda: manifests.find_endpoint(tree, "production", "e500"))
    assert found.route.endpoint == "e500"


def test_places_of_ten_thousand_users(measure: Measure) -> None:
    users = [f"user-{number}" for number in range(10_000)]
    assert len(measure(lambda: manifests.split.places(users, "salt"))) == len(users)
