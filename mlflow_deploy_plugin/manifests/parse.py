"""Reads the tree: one stage as values, or the first rule that it breaks. Pure.

What is listed is served: an endpoint's ``kustomization.yaml`` names its files, as kustomize reads them, and a
manifest that nobody lists is refused instead of being served by one applier and not by the other.
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import Final

from mlflow_deploy_plugin.errors import ConfigError, ManifestError
from mlflow_deploy_plugin.manifests.model import Deployment, Endpoint, Files, Route, Stage
from mlflow_deploy_plugin.manifests.parse_deployment import parse_deployment
from mlflow_deploy_plugin.manifests.parse_route import expect, parse_route
from mlflow_deploy_plugin.manifests.reading import Value, document
from mlflow_deploy_plugin.manifests.render import CONTAINER_GRPC_PORT, GRPC_PORT, LOCAL_CONFIG, PLAN_KIND
from mlflow_deploy_plugin.manifests.tree import (
    KUSTOMIZATION,
    ROLLOUT,
    ROUTE,
    STAGES,
    SUFFIXES,
    deployment_file,
    endpoint_folder,
    endpoint_kustomization,
    rollout_file,
    route_file,
    stage_folder,
    stage_kustomization,
)
from mlflow_deploy_plugin.spec.names import is_label

_KUSTOMIZE_KEYS: Final = frozenset({"apiVersion", "kind", "metadata", "resources"})


def stages(files: Files) -> tuple[str, ...]:
    """The stages of the tree, by name."""
    return tuple(
        sorted({path.split("/")[1] for path in files if path.startswith(f"{STAGES}/") and path.count("/") > 1})
    )


def parse_stage(files: Files, stage: str) -> Stage:
    """Everything that ``stage`` says is served; nothing where the tree has no folder of it.

    Raises:
        ManifestError: a rule of the tree is broken; the message begins with the path.
    """
    inside = _by_endpoint(files, stage)
    endpoints = {name: _parse_endpoint(found, stage, name) for name, found in inside.items()}
    _check_unique(stage, endpoints)
    return Stage(name=stage, endpoints=endpoints)


def find_endpoint(files: Files, stage: str, endpoint: str) -> Endpoint | None:
    """One endpoint, without a look at the others; ``None`` where the stage lists none of that name.

    Needs the stage's ``kustomization.yaml`` and the endpoint's folder of the tree alone.

    Raises:
        ManifestError: the stage's list or the endpoint breaks a rule of the tree; other endpoints may.
    """
    path, folder = stage_kustomization(stage), endpoint_folder(stage, endpoint)
    inside = tuple((name, text) for name, text in files.items() if name.startswith(folder))
    if path not in files and not inside:
        return None
    if endpoint not in _resources(files, path):
        if inside:
            raise ManifestError(f"{path}: does not list {endpoint!r}; add it to resources, or remove {folder}")
        return None
    return _parse_endpoint(inside, stage, endpoint)


def deployments_by_endpoint(files: Files, stage: str) -> dict[str, tuple[str, ...]]:
    """Names alone: what each endpoint of a stage lists, without reading a manifest.

    Raises:
        ManifestError: a list breaks a rule of the tree.
    """
    return {name: listed_deployments(dict(inside), stage, name) for name, inside in _by_endpoint(files, stage).items()}


def _by_endpoint(files: Files, stage: str) -> dict[str, tuple[tuple[str, str], ...]]:
    """The files of each endpoint that the stage lists; nothing where the tree has no folder of the stage."""
    folder = stage_folder(stage)
    within = {path: text for path, text in files.items() if path.startswith(folder)}
    if not within:
        return {}
    inside: dict[str, list[tuple[str, str]]] = {name: [] for name in listed_endpoints(within, stage)}
    for path, text in within.items():
        inside.get(path.removeprefix(folder).partition("/")[0], []).append((path, text))
    return {name: tuple(found) for name, found in inside.items()}


def parse_endpoint(files: Files, stage: str, endpoint: str) -> Endpoint:
    """One endpoint, without a look at the others.

    Raises:
        ManifestError: a rule of the tree is broken.
    """
    folder = endpoint_folder(stage, endpoint)
    inside = tuple((path, text) for path, text in files.items() if path.startswith(folder))
    return _parse_endpoint(inside, stage, endpoint)


def listed_endpoints(files: Files, stage: str) -> tuple[str, ...]:
    """The endpoints that a stage's ``kustomization.yaml`` lists, each with a folder, none left out."""
    path, folder = stage_kustomization(stage), stage_folder(stage)
    resources = _resources(files, path)
    inside = [name.removeprefix(folder) for name in files if name.startswith(folder)]
    folders = {name.split("/")[0] for name in inside if "/" in name and name.endswith(SUFFIXES)}
    for name, value in resources.items():
        if not is_label(name):
            value.refuse(f"is {name!r}; a stage lists the folders of its endpoints, whose names are DNS labels")
        if name not in folders:
            value.refuse(f"is {name!r}, and {folder}{name}/ does not exist; add the folder or remove the line")
    stray = sorted(name for name in inside if name.endswith(SUFFIXES) and "/" not in name and name != KUSTOMIZATION)
    if missing := [*sorted(folders - resources.keys()), *stray]:
        raise ManifestError(
            f"{path}: does not list {missing[0]!r}; add it to resources, or remove {folder}{missing[0]}"
        )
    return tuple(resources)


def listed_deployments(files: Files, stage: str, endpoint: str) -> tuple[str, ...]:
    """The deployments that an endpoint's ``kustomization.yaml`` lists, each with a file, none left out."""
    path, folder = endpoint_kustomization(stage, endpoint), endpoint_folder(stage, endpoint)
    if path not in files:
        raise ManifestError(f"{path}: missing; a folder of a stage is an endpoint, and lists its files there")
    resources = _resources(files, path)
    present = {name.removeprefix(folder) for name in files if name.startswith(folder) and name.endswith(SUFFIXES)}
    for name, value in resources.items():
        if name not in present:
            value.refuse(f"is {name!r}, and {folder}{name} does not exist; add the file or remove the line")
    if ROUTE not in resources:
        raise ManifestError(f"{path}: does not list {ROUTE}, the split of the endpoint; add it")
    if missing := sorted(present - resources.keys() - {KUSTOMIZATION, ROLLOUT}):
        raise ManifestError(
            f"{path}: does not list {missing[0]!r}; add it to resources, or remove {folder}{missing[0]}"
        )
    return tuple(name.removesuffix(".yaml") for name in resources if name not in {ROUTE, ROLLOUT})


@lru_cache(maxsize=4096)  # of a big tree, what did not change is not read again at the next commit
def _parse_endpoint(inside: tuple[tuple[str, str], ...], stage: str, name: str) -> Endpoint:
    files = dict(inside)
    deployments = {d.name: d for d in _parse_deployments(files, stage, name)}
    _check_plan(files, stage, name)
    path = route_file(stage, name)
    route = parse_route(files[path], stage=stage, endpoint=name)
    _check_grpc(route, deployments)
    try:
        return Endpoint(route=route, deployments=_in_order(route, deployments))
    except ConfigError as error:
        raise ManifestError(f"{path}: {error}") from error


def _check_grpc(route: Route, deployments: dict[str, Deployment]) -> None:
    """A gRPC route leads to every deployment: by the split, as a shadow, or where a client picks it."""
    closed = next((one.name for one in deployments.values() if not one.opens_grpc), None)
    if route.has_grpc and closed is not None:
        raise ManifestError(
            f"{deployment_file(route.stage, route.endpoint, closed)}: the Service does not open port {GRPC_PORT}, where"
            f" the gRPC route of {route.endpoint!r} sends to; add to its ports {{name: grpc, port: {GRPC_PORT},"
            f" targetPort: {CONTAINER_GRPC_PORT}, appProtocol: kubernetes.io/h2c}}, or remove the second document of"
            f" {ROUTE}"
        )


def _in_order(route: Route, deployments: dict[str, Deployment]) -> dict[str, Deployment]:
    """Stable first, then the others as they are listed."""
    first = {route.stable: deployments[route.stable]} if route.stable in deployments else {}
    return {**first, **deployments}


def _parse_deployments(files: Files, stage: str, endpoint: str) -> Iterator[Deployment]:
    for name in listed_deployments(files, stage, endpoint):
        path = deployment_file(stage, endpoint, name)
        if path not in files or not is_label(name):
            raise ManifestError(
                f"{endpoint_folder(stage, endpoint)}{name}: not the file of a deployment, DEPLOYMENT.yaml"
            )
        yield parse_deployment(files[path], stage=stage, endpoint=endpoint, name=name)


def _check_plan(files: Files, stage: str, endpoint: str) -> None:
    """The plan's own schema is its reader's; that it is no manifest of the cluster is the tree's."""
    path = rollout_file(stage, endpoint)
    if path in files:
        plan = document(path, files[path])
        expect(plan, "kind", PLAN_KIND)
        expect(plan.need("metadata", "annotations"), LOCAL_CONFIG, "true")


def _check_unique(stage: str, endpoints: dict[str, Endpoint]) -> None:
    owners: dict[str, str] = {}
    for endpoint, value in endpoints.items():
        for name in value.deployments:
            if name in owners:
                raise ManifestError(
                    f"{deployment_file(stage, endpoint, name)}: deployment {name!r} belongs to endpoint"
                    f" {owners[name]!r} already; names are unique within a stage: rename one"
                )
            owners[name] = endpoint


def _resources(files: Files, path: str) -> dict[str, Value]:
    """What a kustomization lists, by the name inside its folder."""
    if path not in files:
        raise ManifestError(f"{path}: missing; kustomize and the agent read there what the stage serves")
    value = document(path, files[path])
    expect(value, "kind", "Kustomization")
    for key, entry in value.fields().items():
        if key not in _KUSTOMIZE_KEYS:
            entry.refuse("would change the manifests for kustomize alone; write it into the manifests themselves")
    listed: dict[str, Value] = {}
    resources = value.get("resources")
    for entry in resources.items() if resources else ():
        name = entry.text().removeprefix("./").removesuffix("/")
        if name in listed:
            entry.refuse(f"lists {name!r} a second time; keep one")
        listed[name] = entry
    return listed
