"""The example tree of this repository, and the calls that make it."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from mlflow_deploy_plugin import manifests
from mlflow_deploy_plugin.manifests.model import Deployment, Files, ModelIdentity, Resources
from mlflow_deploy_plugin.spec import annotations

EXAMPLE = Path(__file__).parents[3] / "gitops"
OURS = ("README.md", "stages/", "evidence/", "gateway/", "clusters/")


def version(number: int, *, name: str, stage: str, replicas: int) -> Deployment:
    digest = f"sha256:{number:064x}"
    return Deployment(
        name=name,
        endpoint="churn",
        stage=stage,
        model=ModelIdentity(
            bento=f"churn:{number}",
            uri=f"models:/churn/{number}",
            digest=digest,
            name="churn",
            version=str(number),
            flavor="sklearn",
        ),
        image=f"modelserve.invalid/churn@{digest}",
        replicas=replicas,
        resources=Resources(cpu="500m", memory="1Gi"),
        environment={"MODELSERVE_LOG": "full"},
    )


def example() -> Files:
    """Version 4 serves production while version 5 is tried there; staging has version 5 alone."""
    files = manifests.skeleton(url="https://github.com/example/modelserve.git", root="gitops")
    stable = version(4, name="churn", stage="production", replicas=2)
    canary = version(5, name="churn-v5", stage="production", replicas=1)
    files = manifests.add_endpoint(files, version(5, name="churn", stage="staging", replicas=1), salt="churn-staging")
    files = manifests.add_endpoint(files, stable, salt="churn-production")
    files = manifests.add_deployment(files, canary, weight=0)
    return manifests.set_split(
        files,
        "production",
        "churn",
        {"churn": 900, "churn-v5": 100},
        annotations={
            annotations.ROLLOUT: "8c1f0a52e7b94d36",
            annotations.PHASE: "running",
            annotations.STEP: "1",
            annotations.SINCE: "2026-01-31T12:00:00Z",
        },
    )


@pytest.fixture
def made() -> Files:
    return example()


@pytest.fixture
def lying() -> Files:
    """What lies in ``gitops/``, less what other rooms put there."""
    paths = (path for path in sorted(EXAMPLE.rglob("*")) if path.is_file())
    texts = {str(path.relative_to(EXAMPLE)): path.read_text(encoding="utf-8") for path in paths}
    return {path: text for path, text in texts.items() if path.startswith(OURS)}


@pytest.fixture
def kustomize() -> Callable[[Path], list[dict[str, Any]]]:
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("kubectl is not on PATH: only it can say what kustomize builds")

    def build(folder: Path) -> list[dict[str, Any]]:
        done = subprocess.run([kubectl, "kustomize", str(folder)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return [manifest for manifest in yaml.safe_load_all(done.stdout) if manifest]

    return build


def write(files: Files, folder: Path) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


@pytest.fixture
def written(tmp_path: Path) -> Callable[[Files], Path]:
    """Write a tree to disk; its folder."""
    return lambda files: write(files, tmp_path)


if __name__ == "__main__":  # writes the example anew
    write(example(), EXAMPLE)
