"""A repository with many endpoints: a tick reads the one that it is about, and names of the others."""

from typing import Any

import pytest

from mlflow_deploy_plugin import manifests
from mlflow_deploy_plugin.errors import ManifestError

World = Any
ENDPOINTS = 60

PLAN = """
apiVersion: modelserve.io/v1alpha1
kind: Rollout
metadata: {name: churn, annotations: {config.kubernetes.io/local-config: "true"}}
spec:
  steps: [{weight: 10}, {weight: 100}]
"""


@pytest.fixture
def crowded(world: World) -> World:
    """Sixty copies of an endpoint beside ``churn``, whose canary is to begin; one copy is broken."""
    folder = "stages/production/churn/"

    def copied(files: dict[str, str]) -> dict[str, str]:
        names = [f"other{number}" for number in range(ENDPOINTS)]
        more = {
            path.replace("churn", name): text.replace("churn", name)
            for path, text in files.items()
            if path.startswith(folder)
            for name in names
        }
        listing = "stages/production/kustomization.yaml"
        listed = files[listing].replace("  - churn\n", "".join(f"  - {name}\n" for name in ("churn", *names)))
        more["stages/production/other7/other7.yaml"] = "kind: Deployment\n"
        return {**files, **more, listing: listed}

    world.change(copied)
    world.join(weight=0)
    world.change(lambda files: {**files, f"{folder}rollout.yaml": PLAN})
    return world


def test_a_broken_neighbour_does_not_stop_a_tick_nor_a_rollback(crowded: World) -> None:
    world = crowded
    with pytest.raises(ManifestError):
        manifests.parse_stage(world.repository.files(world.head), "production")
    assert world.run("promote", "--endpoint", "churn") == 0, world.warned
    assert world.weights == {"churn": 900, "churn-v2": 100}
    assert world.run("rollback", "--endpoint", "churn", "--reason", "seen elsewhere") == 0, world.warned
    assert world.weights == {"churn": 1000}


def test_a_schedule_looks_at_those_that_have_a_second_deployment(crowded: World) -> None:
    world = crowded
    assert world.run("promote") == 0, world.warned
    assert world.weights == {"churn": 900, "churn-v2": 100}
    assert len(world.said) == 1
    assert world.said[0].startswith("churn: ")


def test_a_name_that_is_none_is_told_with_those_that_are(crowded: World) -> None:
    assert crowded.run("promote", "--endpoint", "chrun") == 2
    assert "not found in stage 'production'; known: churn, other0, other1" in crowded.warned[0]


def test_each_endpoint_is_found_as_the_whole_stage_has_it(world: World) -> None:
    files = world.repository.files(world.head)
    stage = manifests.parse_stage(files, "production")
    assert manifests.find_endpoint(files, "production", "churn") == stage.endpoints["churn"]
    assert manifests.find_endpoint(files, "production", "nobody") is None
    assert manifests.find_endpoint(files, "nowhere", "churn") is None
    assert manifests.deployments_by_endpoint(files, "production") == {"churn": ("churn",)}


def test_an_endpoint_that_its_stage_does_not_list_is_refused(world: World) -> None:
    files = dict(world.repository.files(world.head))
    listing = "stages/production/kustomization.yaml"
    files[listing] = files[listing].replace("- churn", "- other")
    with pytest.raises(ManifestError, match="does not list 'churn'"):
        manifests.find_endpoint(files, "production", "churn")
    with pytest.raises(ManifestError, match=r"other/kustomization\.yaml: missing"):
        manifests.find_endpoint(files, "production", "other")
