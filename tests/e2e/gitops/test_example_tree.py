"""The example tree is what the code writes, kustomize builds it, and both read the same in it."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from mlflow_deploy_plugin import manifests
from mlflow_deploy_plugin.manifests.model import Files, Stage
from mlflow_deploy_plugin.spec.grpc import ADDRESS
from mlflow_deploy_plugin.spec.settings import PREFIX

pytestmark = pytest.mark.e2e

Written = Callable[[Files], Path]
Build = Callable[[Path], list[dict[str, Any]]]


def test_the_example_is_what_the_code_writes(made: Files, lying: Files) -> None:
    assert lying == made, "render it anew: python tests/e2e/gitops/conftest.py"


def test_the_example_serves_a_canary(lying: Files) -> None:
    assert dict(manifests.parse_stage(lying, "production").endpoints["churn"].route.weights) == {
        "churn-v5": 100,
        "churn": 900,
    }
    assert list(manifests.parse_stage(lying, "staging").endpoints) == ["churn"]
    assert manifests.parse_stage(lying, "dev").endpoints == {}


@pytest.mark.parametrize("stage", ["dev", "staging", "production"])
def test_kustomize_builds_what_the_agent_reads(made: Files, stage: str, written: Written, kustomize: Build) -> None:
    root = written(made)
    assert as_read(kustomize(root / "stages" / stage)) == as_parsed(manifests.parse_stage(made, stage))


@pytest.mark.parametrize("name", ["yes", "1e3", "007", "null", "0x1f"])
def test_kustomize_reads_no_name_as_a_number(made: Files, name: str, written: Written, kustomize: Build) -> None:
    deployment = manifests.parse_stage(made, "staging").deployment("churn")
    assert deployment is not None
    renamed = replace(deployment, name=name, endpoint=name, environment={"MODELSERVE_MODEL_CONFIG": name})
    files = manifests.add_endpoint(made, renamed, salt="s")
    root = written(files)
    assert as_read(kustomize(root / "stages" / "staging")) == as_parsed(manifests.parse_stage(files, "staging"))


@pytest.mark.parametrize("folder", ["gateway", "gateway/class"])
def test_the_gateway_builds(made: Files, folder: str, written: Written, kustomize: Build) -> None:
    kinds = {manifest["kind"] for manifest in kustomize(written(made) / folder)}
    assert kinds == ({"GatewayClass"} if folder.endswith("class") else {"Gateway", "BackendTrafficPolicy"})


def test_the_clusters_point_at_folders_that_exist(made: Files) -> None:
    texts = made["clusters/argocd.yaml"] + made["clusters/flux.yaml"]
    paths = [line.partition("path: ")[2].strip('"') for line in texts.splitlines() if "path: " in line]
    folders = {str(Path("gitops", path).parent) for path in made} | {
        "gitops/stages/*",
        "gitops/stages/{{.path.basename}}",
    }
    assert {path.removeprefix("./") for path in paths} <= folders
    assert len(paths) == 11
    assert {manifest["kind"] for manifest in yaml.safe_load_all(made["clusters/flux.yaml"])} == {
        "GitRepository",
        "Kustomization",
        "Namespace",
    }


def as_parsed(stage: Stage) -> dict[str, Any]:
    """What the agent reads, in the words of a cluster."""
    routes = {
        route: [(slot.deployment, slot.weight) for slot in endpoint.route.backends]
        for name, endpoint in stage.endpoints.items()
        for route in (name, f"{name}.grpc")
    }
    deployments = {
        name: {
            "image": deployment.image,
            "replicas": deployment.replicas,
            "env": {**deployment.environment, f"{PREFIX}WORKERS": str(deployment.workers), ADDRESS: "0.0.0.0:3001"},
            "bento": deployment.model.bento,
        }
        for endpoint in stage.endpoints.values()
        for name, deployment in endpoint.deployments.items()
    }
    return {"routes": routes, "deployments": deployments, "services": sorted(deployments)}


def as_read(built: list[dict[str, Any]]) -> dict[str, Any]:
    """The same from what kustomize built; a kind that it should not have built fails the comparison."""
    of = {
        kind: {manifest["metadata"]["name"]: manifest for manifest in built if manifest["kind"] == kind}
        for kind in {"HTTPRoute", "Deployment", "Service"} | {manifest["kind"] for manifest in built}
    }
    assert of.keys() == {"HTTPRoute", "Deployment", "Service"}
    routes = {
        name: [
            (slot["name"], slot["weight"])
            for rule in manifest["spec"]["rules"]
            if rule["name"] == "split"
            for slot in rule["backendRefs"]
        ]
        for name, manifest in of["HTTPRoute"].items()
    }
    deployments = {}
    for name, manifest in of["Deployment"].items():
        container = manifest["spec"]["template"]["spec"]["containers"][0]
        deployments[name] = {
            "image": container["image"],
            "replicas": manifest["spec"]["replicas"],
            "env": {entry["name"]: entry["value"] for entry in container["env"]},
            "bento": manifest["metadata"]["annotations"]["modelserve.io/bento"],
        }
    return {"routes": routes, "deployments": deployments, "services": sorted(of["Service"])}
