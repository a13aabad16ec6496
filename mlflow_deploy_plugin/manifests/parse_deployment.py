"""Reads ``<deployment>.yaml``: a Deployment and its Service, as one machine and a cluster both run them. Pure."""

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Final

from mlflow_deploy_plugin.errors import ConfigError, ManifestError
from mlflow_deploy_plugin.manifests.model import Deployment, ModelIdentity, Resources
from mlflow_deploy_plugin.manifests.parse_route import expect
from mlflow_deploy_plugin.manifests.reading import Value, documents
from mlflow_deploy_plugin.manifests.render import CONTAINER, GPU, GRPC_PORT, OUTSIDE, PORT, WORKERS
from mlflow_deploy_plugin.manifests.tree import deployment_file
from mlflow_deploy_plugin.spec import annotations

_BESIDE: Final = frozenset({"HorizontalPodAutoscaler", "PodDisruptionBudget", "NetworkPolicy", "ServiceMonitor"})
"""Kinds that a cluster may want beside a deployment, and that one machine has no use for."""


@lru_cache(maxsize=4096)  # an unchanged file of a big tree is not read again at the next commit
def parse_deployment(text: str, *, stage: str, endpoint: str, name: str) -> Deployment:
    """The deployment that a ``<deployment>.yaml`` says.

    Raises:
        ManifestError: a rule of the tree is broken; the message begins with the path and the line.
    """
    path = deployment_file(stage, endpoint, name)
    kinds = _by_kind(path, documents(path, text))
    workload = kinds["Deployment"]
    _check_names(workload, endpoint, name)
    _check_service(kinds["Service"], workload, endpoint, name)
    try:
        read = _read(workload, stage=stage, endpoint=endpoint, name=name)
        return replace(read, opens_grpc=GRPC_PORT in _ports(kinds["Service"]))
    except ConfigError as error:
        raise ManifestError(f"{path}: {error}") from error


def _by_kind(path: str, manifests: tuple[Value, ...]) -> dict[str, Value]:
    kinds: dict[str, Value] = {}
    for manifest in manifests:
        kind = manifest.need("kind").text()
        if kind in kinds and kind not in _BESIDE:
            manifest.refuse(f"is a second {kind}; a file holds one deployment")
        if kind not in _BESIDE | {"Deployment", "Service"}:
            manifest.refuse(
                f"is of kind {kind!r}; a deployment's file holds Deployment, Service"
                f" and, for a cluster, {', '.join(sorted(_BESIDE))}"
            )
        kinds[kind] = manifest
    for kind, version in (("Deployment", "apps/v1"), ("Service", "v1")):
        if kind not in kinds:
            raise ManifestError(f"{path}: has no {kind}; add it, or remove the file from kustomization.yaml")
        expect(kinds[kind], "apiVersion", version)
    return kinds


def _check_names(manifest: Value, endpoint: str, name: str) -> None:
    expect(manifest.need("metadata"), "name", name)
    labels = manifest.need("metadata", "labels")
    expect(labels, annotations.ENDPOINT_LABEL, endpoint)
    expect(labels, annotations.DEPLOYMENT_LABEL, name)


def _check_service(service: Value, workload: Value, endpoint: str, name: str) -> None:
    _check_names(service, endpoint, name)
    pods = {
        key: value.text() for key, value in workload.need("spec", "template", "metadata", "labels").fields().items()
    }
    for selector in (service.need("spec", "selector"), workload.need("spec", "selector", "matchLabels")):
        for key, value in selector.fields().items():
            if pods.get(key) != value.text():
                value.refuse(f"is {value.text()!r}, and the pods' label {key} is {pods.get(key, 'not set')!r}")
        expect(selector, annotations.DEPLOYMENT_LABEL, name)
    if PORT not in _ports(service):
        service.need("spec", "ports").refuse(f"does not open port {PORT}, where routes send to")


def _ports(service: Value) -> list[int]:
    return [port.need("port").whole() for port in service.need("spec", "ports").items()]


def _read(workload: Value, *, stage: str, endpoint: str, name: str) -> Deployment:
    container = _container(workload.need("spec", "template", "spec", "containers"))
    variables = _environment(container, stage=stage, endpoint=endpoint, name=name)
    replicas = workload.get("spec", "replicas")  # left out where an autoscaler owns it
    return Deployment(
        name=name,
        endpoint=endpoint,
        stage=stage,
        model=_model(workload.need("metadata", "annotations")),
        image=container.need("image").text(),
        replicas=replicas.whole() if replicas is not None else 1,
        workers=_workers(container, variables),
        resources=_resources(container),
        environment={key: text for key, text in variables.items() if key not in OUTSIDE},
    )


def _container(containers: Value) -> Value:
    for container in containers.items():
        if container.need("name").text() == CONTAINER:
            return container
    return containers.refuse(f"has no container named {CONTAINER!r}, which runs the model")


def _model(notes: Value) -> ModelIdentity:
    texts = {key: value.text() for key, value in notes.fields().items() if key.startswith(annotations.PREFIX)}
    for key in (annotations.BENTO, annotations.MODEL_URI, annotations.MODEL_DIGEST, annotations.MODEL_NAME):
        notes.need(key)
    return ModelIdentity(
        bento=texts[annotations.BENTO],
        uri=texts[annotations.MODEL_URI],
        digest=texts[annotations.MODEL_DIGEST],
        name=texts[annotations.MODEL_NAME],
        version=texts.get(annotations.MODEL_VERSION, ""),
        run_id=texts.get(annotations.RUN_ID, ""),
        flavor=texts.get(annotations.FLAVOR, "python_function"),
    )


def _environment(container: Value, *, stage: str, endpoint: str, name: str) -> dict[str, str]:
    variables: dict[str, str] = {}
    entries = container.get("env")
    for entry in entries.items() if entries else ():
        key = entry.need("name").text()
        if key in variables:
            entry.refuse(f"sets {key} a second time; keep one")
        if (value := entry.get("value")) is None:
            entry.refuse(f"({key}) has no plain value, and the agent reads no other; write the value here")
        variables[key] = value.text()
    identity = {"MODELSERVE_ENDPOINT": endpoint, "MODELSERVE_DEPLOYMENT": name, "MODELSERVE_STAGE": stage}
    for key, wanted in identity.items():
        if variables.setdefault(key, wanted) != wanted:
            container.need("env").refuse(f"sets {key} to {variables[key]!r}, and the file lies under {wanted!r}")
    return variables


def _workers(container: Value, variables: Mapping[str, str]) -> int:
    text = variables.get(WORKERS, "1")
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        container.need("env").refuse(f"sets {WORKERS} to {text!r}, not a number of processes from 1")
    return int(text)


def _resources(container: Value) -> Resources:
    def amount(name: str, *sides: str) -> str:
        found = (container.get("resources", side, name) for side in sides)
        return next((_quantity(value) for value in found if value is not None), "")

    gpu = container.get("resources", "limits", GPU)
    if gpu is not None and not _quantity(gpu).isdecimal():
        gpu.refuse(f"is {_quantity(gpu)!r}; GPUs are given whole")
    return Resources(
        cpu=amount("cpu", "requests", "limits"),
        memory=amount("memory", "limits", "requests"),
        gpu=int(_quantity(gpu)) if gpu is not None else 0,
    )


def _quantity(value: Value) -> str:
    """A Kubernetes quantity: text or a number, both mean the same there."""
    if not isinstance(value.node.value, str) or value.is_null:
        value.refuse("is not a quantity such as 500m, 2 or 4Gi")
    return value.node.value
