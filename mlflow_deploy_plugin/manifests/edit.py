"""Changes the tree: files in, files out, each edit in place and checked by reading what it wrote. Pure.

Does not commit; :mod:`mlflow_deploy_plugin.repository` does. What an edit cannot do without breaking a rule of the tree
it refuses, and the files given stay as they were.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Final

from mlflow_deploy_plugin.errors import (
    AlreadyExistsError,
    ConfigError,
    ConflictError,
    ManifestError,
    NotFoundError,
)
from mlflow_deploy_plugin.manifests import render, tree
from mlflow_deploy_plugin.manifests.edit_deployment import edited_deployment, normalised
from mlflow_deploy_plugin.manifests.edit_route import (
    with_backends,
    with_mirror,
    with_override,
    without_override,
)
from mlflow_deploy_plugin.manifests.in_place import Edits, insert_item, remove_item, set_values
from mlflow_deploy_plugin.manifests.model import Backend, Deployment, Endpoint, Files, Mirror, Route
from mlflow_deploy_plugin.manifests.parse import listed_deployments, listed_endpoints, parse_endpoint, stages
from mlflow_deploy_plugin.manifests.parse_route import SALT
from mlflow_deploy_plugin.manifests.reading import document
from mlflow_deploy_plugin.manifests.skeleton import empty_stage, skeleton
from mlflow_deploy_plugin.manifests.split import layout, resplit, without
from mlflow_deploy_plugin.spec import annotations as keys
from mlflow_deploy_plugin.spec.names import TOTAL_WEIGHT, require_label

MAX_EVIDENCE_BYTES: Final = 10 * 1024
_RESOURCES: Final = (0, "resources")
_ANNOTATIONS: Final = (0, "metadata", "annotations")
_NO_ANNOTATIONS: Final[Mapping[str, str | None]] = MappingProxyType({})


def add_endpoint(files: Files, deployment: Deployment, *, salt: str, hears_override: bool = True) -> Files:
    """A new endpoint with its first deployment at full weight; the stage too, where it is new.

    Raises:
        AlreadyExistsError: the stage has an endpoint or a deployment of that name.
        ConfigError: a name or the salt cannot be.
        ManifestError: the stage breaks a rule of the tree.
    """
    stage, endpoint = require_label(deployment.stage, what="stage"), require_label(deployment.endpoint, what="endpoint")
    if not SALT.fullmatch(salt):
        raise ConfigError(f"salt {salt!r} has not 1 to 64 of the characters A-Z a-z 0-9 . _ -")
    if endpoint in _listed(files, stage):
        raise AlreadyExistsError(
            f"endpoint {endpoint!r} exists already in stage {stage!r}; join it, or take another name"
        )
    _require_free(files, stage, deployment.name)
    base = dict(files) if stages(files) else {**skeleton(), **files}
    listing = tree.stage_kustomization(stage)
    base.setdefault(listing, empty_stage(stage))
    base[listing] = _with_resource(base[listing], listing, endpoint)
    full = Backend(deployment=deployment.name, weight=TOTAL_WEIGHT)
    route = Route(endpoint=endpoint, stage=stage, backends=(full,), stable=deployment.name, salt=salt)
    route = replace(route, hears_override=hears_override)
    return _checked(
        {
            **base,
            tree.endpoint_kustomization(stage, endpoint): render.endpoint_kustomization(endpoint, [deployment.name]),
            tree.route_file(stage, endpoint): render.route(route),
            tree.rollout_file(stage, endpoint): render.rollout(endpoint),
            tree.deployment_file(stage, endpoint, deployment.name): render.deployment(deployment),
        },
        stage,
        endpoint,
    )


def add_deployment(files: Files, deployment: Deployment, *, weight: int) -> Files:
    """Another deployment in an endpoint that exists; its ``weight`` of 1000 comes from stable.

    Raises:
        NotFoundError: there is no such endpoint.
        AlreadyExistsError: the stage has a deployment of that name.
        ConfigError: stable has less weight than that, or there are 8 arms already.
        ManifestError: the stage breaks a rule of the tree.
    """
    stage, endpoint = deployment.stage, deployment.endpoint
    route = _need_endpoint(files, stage, endpoint).route
    _require_free(files, stage, deployment.name)
    spare = route.weights[route.stable]
    if not 0 <= weight <= spare:
        raise ConfigError(
            f"weight {weight} of {deployment.name!r} is not within 0 to {spare}, all that stable {route.stable!r} has"
        )
    weights = {**route.weights, route.stable: spare - weight, deployment.name: weight}
    path, listing = tree.route_file(stage, endpoint), tree.endpoint_kustomization(stage, endpoint)
    text = with_backends(files[path], resplit(route.backends, weights, route.stable), file=path)
    if route.hears_override:
        text = with_override(text, endpoint, deployment.name, file=path)
    return _checked(
        {
            **files,
            path: text,
            listing: _with_resource(files[listing], listing, f"{deployment.name}.yaml"),
            tree.deployment_file(stage, endpoint, deployment.name): render.deployment(deployment),
        },
        stage,
        endpoint,
    )


def replace_deployment(files: Files, deployment: Deployment) -> Files:
    """A deployment with another model, or run otherwise; what a person wrote beside that stays.

    Raises:
        NotFoundError: the endpoint has no deployment of that name.
        ManifestError: the endpoint breaks a rule of the tree, or the file cannot be edited in place.
    """
    stage, endpoint, name = deployment.stage, deployment.endpoint, deployment.name
    before = _need_endpoint(files, stage, endpoint).deployments.get(name)
    if before is None:
        raise NotFoundError(f"deployment {name!r} is none of endpoint {endpoint!r} in stage {stage!r}")
    path = tree.deployment_file(stage, endpoint, name)
    changed = {**files, path: edited_deployment(files[path], before, deployment, file=path)}
    after = parse_endpoint(changed, stage, endpoint).deployments[name]
    if after != normalised(deployment):
        raise ManifestError(f"{path}: cannot be edited in place; write the changed values there by hand")
    return changed


def remove_deployment(files: Files, stage: str, name: str) -> Files:
    """The tree without a deployment that has no users; the only one takes its endpoint with it.

    Raises:
        NotFoundError: the stage has no deployment of that name.
        ConflictError: it has a weight and others stand beside it.
        ManifestError: the stage breaks a rule of the tree.
    """
    owner = _owner(files, stage, name)
    if owner is None:
        there = ", ".join(_deployments(files, stage)) or "none"
        raise NotFoundError(f"deployment {name!r} not found in stage {stage!r}; known: {there}")
    endpoint = parse_endpoint(files, stage, owner)
    if len(endpoint.deployments) == 1:
        return remove_endpoint(files, stage, owner)
    if weight := endpoint.route.weights.get(name, 0):
        raise ConflictError(
            f"deployment {name!r} has weight {weight} of {TOTAL_WEIGHT} in endpoint {owner!r};"
            " move its users to another one first"
        )
    path, listing = tree.route_file(stage, owner), tree.endpoint_kustomization(stage, owner)
    gone = tree.deployment_file(stage, owner, name)
    changed = {
        **{other: text for other, text in files.items() if other != gone},
        path: _route_without(files[path], endpoint.route, name, file=path),
        listing: _without_resource(files[listing], listing, f"{name}.yaml"),
    }
    return _checked(changed, stage, owner)


def remove_endpoint(files: Files, stage: str, endpoint: str) -> Files:
    """The tree without an endpoint and its deployments; its evidence stays.

    Raises:
        NotFoundError: the stage has no such endpoint.
        ManifestError: the stage's list of endpoints breaks a rule of the tree.
    """
    _require_listed(files, stage, endpoint)
    listing = tree.stage_kustomization(stage)
    folder = tree.endpoint_folder(stage, endpoint)
    kept = {path: text for path, text in files.items() if not path.startswith(folder)}
    return {**kept, listing: _without_resource(files[listing], listing, endpoint)}


def set_split(
    files: Files,
    stage: str,
    endpoint: str,
    weights: Mapping[str, int],
    *,
    annotations: Mapping[str, str | None] = _NO_ANNOTATIONS,
) -> Files:
    """Other weights of 1000, and other annotations of the route (``None`` removes one); nothing else changes.

    A deployment that ``weights`` leaves out goes to 0; one that gets users is in the shadow no more. Users move only
    towards what grows.

    Raises:
        NotFoundError: there is no such endpoint, or it has no such deployment.
        ConfigError: the weights do not sum to 1000, or an annotation cannot be.
        ManifestError: the endpoint breaks a rule of the tree, or would.
    """
    known = _need_endpoint(files, stage, endpoint)
    if unknown := [name for name in weights if name not in known.deployments]:
        raise NotFoundError(
            f"deployment {unknown[0]!r} is none of endpoint {endpoint!r}; known: {', '.join(known.deployments)}"
        )
    path = tree.route_file(stage, endpoint)
    text = with_backends(files[path], _slots(known.route, weights), file=path)
    if (mirror := known.route.mirror) is not None and weights.get(mirror.deployment, 0):
        text = with_mirror(text, None, file=path)
    for name in [name for name in weights if name not in known.route.deployments and known.route.hears_override]:
        text = with_override(text, endpoint, name, file=path)
    notes: Edits = {(*_ANNOTATIONS, key): value for key, value in annotations.items()}
    return _checked({**files, path: set_values(text, notes, file=path)}, stage, endpoint)


def set_override(files: Files, stage: str, endpoint: str, *, is_heard: bool) -> Files:
    """Whether the header ``x-model-version`` picks a deployment: its rules, and the annotation that says so.

    Raises:
        NotFoundError: there is no such endpoint.
        ManifestError: the endpoint breaks a rule of the tree.
    """
    known = _need_endpoint(files, stage, endpoint)
    if known.route.hears_override == is_heard:
        return files
    path = tree.route_file(stage, endpoint)
    text = files[path]
    for name in known.deployments:
        text = with_override(text, endpoint, name, file=path) if is_heard else without_override(text, name, file=path)
    notes: Edits = {(*_ANNOTATIONS, keys.OVERRIDE): None if is_heard else render.OFF}
    return _checked({**files, path: set_values(text, notes, file=path)}, stage, endpoint)


def _slots(route: Route, weights: Mapping[str, int]) -> tuple[Backend, ...]:
    """Where stable has everybody and several arms begin, each gets a fixed slot; else borders move."""
    is_beginning = route.weights[route.stable] == TOTAL_WEIGHT and route.stable in weights
    arms = [name for name, weight in weights.items() if weight and name != route.stable]
    if is_beginning and len(arms) > 1:
        return layout(
            {name: weight for name, weight in weights.items() if weight or name == route.stable}, route.stable
        )
    return resplit(route.backends, weights, route.stable)


def set_mirror(files: Files, stage: str, endpoint: str, mirror: Mirror | None) -> Files:
    """Another shadow, or none; nothing else changes.

    Raises:
        NotFoundError: there is no such endpoint, or it has no such deployment.
        ManifestError: the endpoint breaks a rule of the tree, or would: a shadow has no users.
    """
    known = _need_endpoint(files, stage, endpoint)
    if mirror is not None and mirror.deployment not in known.deployments:
        raise NotFoundError(
            f"deployment {mirror.deployment!r} is none of endpoint {endpoint!r}; known: {', '.join(known.deployments)}"
        )
    path = tree.route_file(stage, endpoint)
    text = files[path] if known.route.mirror == mirror else with_mirror(files[path], mirror, file=path)
    return _checked({**files, path: text}, stage, endpoint)


def add_evidence(files: Files, endpoint: str, operation: str, json_text: str) -> Files:
    """The tree with the reasons of one operation, beside those of earlier ones.

    Raises:
        ConfigError: the text is no JSON, or is larger than 10 KB, or the operation cannot name a file.
        AlreadyExistsError: other evidence of that operation lies there.
    """
    require_label(operation, what="operation")
    path = tree.evidence_file(require_label(endpoint, what="endpoint"), operation)
    if (size := len(json_text.encode())) > MAX_EVIDENCE_BYTES:
        raise ConfigError(f"evidence {path} has {size} bytes, more than {MAX_EVIDENCE_BYTES}; keep counts, not samples")
    try:
        json.loads(json_text)
    except ValueError as error:
        raise ConfigError(f"evidence {path} is not JSON: {error}") from error
    if files.get(path, json_text) != json_text:
        raise AlreadyExistsError(f"{path} holds other evidence already; an operation has one")
    return {**files, path: json_text}


def _listed(files: Files, stage: str) -> tuple[str, ...]:
    return listed_endpoints(files, stage) if tree.stage_kustomization(stage) in files else ()


def _require_listed(files: Files, stage: str, endpoint: str) -> None:
    known = _listed(files, stage)
    if endpoint not in known:
        raise NotFoundError(f"endpoint {endpoint!r} not found in stage {stage!r}; known: {', '.join(known) or 'none'}")


def _need_endpoint(files: Files, stage: str, name: str) -> Endpoint:
    """One endpoint; what is wrong with its neighbours must not keep anybody from rolling it back."""
    _require_listed(files, stage, name)
    return parse_endpoint(files, stage, name)


def _owner(files: Files, stage: str, name: str) -> str | None:
    """The endpoint whose folder holds a deployment's file."""
    held = (endpoint for endpoint in _listed(files, stage) if tree.deployment_file(stage, endpoint, name) in files)
    return next(held, None)


def _deployments(files: Files, stage: str) -> list[str]:
    return [name for endpoint in _listed(files, stage) for name in listed_deployments(files, stage, endpoint)]


def _require_free(files: Files, stage: str, name: str) -> None:
    tree.require_deployment_name(name)
    if (owner := _owner(files, stage, name)) is not None:
        raise AlreadyExistsError(
            f"deployment {name!r} exists already in stage {stage!r} (endpoint {owner!r});"
            " replace its model, or take another name"
        )


def _route_without(text: str, route: Route, name: str, *, file: str) -> str:
    text = without_override(with_backends(text, without(route.backends, name), file=file), name, file=file)
    if route.mirror is not None and route.mirror.deployment == name:
        text = with_mirror(text, None, file=file)
    if route.baseline == name:
        text = set_values(text, {(*_ANNOTATIONS, keys.BASELINE): None}, file=file)
    if route.stable != name:
        return text
    heir = max((other for other in route.deployments if other != name), key=lambda other: route.weights[other])
    return set_values(text, {(*_ANNOTATIONS, keys.STABLE): heir}, file=file)


def _with_resource(text: str, path: str, name: str) -> str:
    listed = document(path, text).get("resources")
    return insert_item(text, _RESOURCES, len(listed.items()) if listed else 0, name, file=path)


def _without_resource(text: str, path: str, name: str) -> str:
    listed = document(path, text).need("resources").items()
    names = [entry.text().removeprefix("./").removesuffix("/") for entry in listed]
    return remove_item(text, _RESOURCES, names.index(name), file=path)


def _checked(files: Files, stage: str, endpoint: str) -> Files:
    """``files``, once the endpoint that was edited reads back."""
    parse_endpoint(files, stage, endpoint)
    return files


def with_stage(files: Files, stage: str) -> Files:
    """The tree with an empty ``stage``, where it has none of that name.

    >>> stages(with_stage({}, "qa"))
    ('qa',)
    """
    require_label(stage, what="stage")
    return files if stage in stages(files) else {**files, tree.stage_kustomization(stage): empty_stage(stage)}


def moved_route(route: Route, weights: Mapping[str, int]) -> Route:
    """The route as :func:`set_split` would make it: what a ``plan`` shows without writing."""
    return replace(route, backends=resplit(route.backends, weights, route.stable))
