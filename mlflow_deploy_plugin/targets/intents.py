"""What a person can want of a stage, and the tree that says so. Pure: files in, files and a subject out.

Every intent is decided again on the newest tree when a push is rejected, so each checks its own rules against the
files it is given. An intent that finds its wish fulfilled returns the files unchanged.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import assert_never

from mlflow_deploy_plugin import manifests
from mlflow_deploy_plugin.errors import AlreadyExistsError, ConfigError, ConflictError, NotFoundError
from mlflow_deploy_plugin.manifests.model import Deployment, Endpoint, Files, Route, Stage
from mlflow_deploy_plugin.manifests.trailers import Message, Trailers
from mlflow_deploy_plugin.spec import annotations, headers
from mlflow_deploy_plugin.spec.names import TOTAL_WEIGHT
from mlflow_deploy_plugin.spec.settings import Switch
from mlflow_deploy_plugin.targets import wording


@dataclass(frozen=True, slots=True, kw_only=True)
class Create:
    """A new deployment, with its endpoint where that does not exist."""

    deployment: Deployment
    weight: int | None = None
    """Of 1000; ``None``: all of a new endpoint, nothing of one that exists."""
    joins: bool = False
    """Whether the endpoint was named; else it must be new."""
    override: Switch = "on"
    """Whether a new endpoint hears the header ``x-model-version``; one that exists keeps its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """Another model or other resources for a deployment that exists."""

    deployment: Deployment


@dataclass(frozen=True, slots=True, kw_only=True)
class Delete:
    """A deployment away; one that is not there is away already."""

    stage: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Weights of 1000 for an endpoint's deployments; who is not named gets nothing."""

    stage: str
    endpoint: str
    weights: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """Whether an endpoint hears the header ``x-model-version``."""

    stage: str
    endpoint: str
    value: Switch


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteEndpoint:
    """An endpoint away with all its deployments; one that is not there is away already."""

    stage: str
    endpoint: str


Intent = Create | Update | Delete | Split | Override | DeleteEndpoint


Change = tuple[Files, Message]
"""A tree and how its commit reads."""


def operation_id(intent: object, state: str) -> str:
    """Name of the act of deciding ``intent`` on ``state`` (a commit): the same act has the same name.

    >>> operation_id(Delete(stage="production", name="a"), "c1") == operation_id(
    ...     Delete(stage="production", name="a"), "c2")
    False
    """
    return hashlib.sha256(f"{intent!r}\n{state}".encode()).hexdigest()[:16]


def endpoint_of(intent: Intent, stage: Stage) -> str:
    """The one endpoint that ``intent`` may touch; empty where there is nothing to touch."""
    match intent:
        case Create() | Update():
            return intent.deployment.endpoint
        case Delete():
            known = stage.deployment(intent.name)
            return known.endpoint if known else ""
        case Split() | Override() | DeleteEndpoint():
            return intent.endpoint
        case _:
            assert_never(intent)


def read_stage(files: Files, name: str) -> Stage:
    """The stage as the tree says it; empty where no folder of it exists yet.

    Raises:
        ManifestError: the tree breaks a rule.
    """
    if name not in manifests.stages(files):
        return Stage(name=name, endpoints={})
    return manifests.parse_stage(files, name)


def apply(intent: Intent, files: Files, *, operation: str) -> Change:
    """The tree in which ``intent`` is fulfilled.

    Raises:
        AlreadyExistsError, NotFoundError, ConflictError, ConfigError: the tree's state forbids it.
        ManifestError: the tree breaks a rule.
    """
    match intent:
        case Create():
            return _create(intent, files, operation)
        case Update():
            return _update(intent, files, operation)
        case Delete():
            return _delete(intent, files, operation)
        case Split():
            return _split(intent, files, operation)
        case Override():
            return _override(intent, files, operation)
        case DeleteEndpoint():
            return _delete_endpoint(intent, files, operation)
        case _:
            assert_never(intent)


def check(intent: Create, stage: Stage) -> None:
    """Refuse what cannot be created, before a model is packaged for it.

    Raises:
        AlreadyExistsError: the name is taken, or an endpoint of it was not asked for.
        ConfigError: the weight cannot be.
    """
    _require_free(intent.deployment.name, stage)
    endpoint = stage.endpoints.get(intent.deployment.endpoint)
    if endpoint is not None and not intent.joins:
        raise AlreadyExistsError(
            f"endpoint {intent.deployment.endpoint!r} exists already in stage {stage.name!r}; join it with"
            f" --endpoint {intent.deployment.endpoint} -C weight=10, or take another name"
        )
    if endpoint is None and intent.weight not in (None, TOTAL_WEIGHT):
        raise ConfigError(
            f"weight={wording.percent(intent.weight):g} cannot be the share of {intent.deployment.name!r}: endpoint"
            f" {intent.deployment.endpoint!r} is new, so its first deployment takes all; leave weight out"
        )


def _require_free(name: str, stage: Stage) -> None:
    if (known := stage.deployment(name)) is not None:
        raise AlreadyExistsError(
            f"deployment {name!r} exists already in stage {stage.name!r} (endpoint {known.endpoint!r},"
            f" {known.model.uri}); replace its model with `mlflow deployments update`, or take another name"
        )


def weights(route: Route) -> Mapping[str, int]:
    """Weights as people read them: stable first."""
    return {route.stable: route.weights[route.stable], **route.weights}


def _create(intent: Create, files: Files, operation: str) -> Change:
    deployment = intent.deployment
    stage = read_stage(files, deployment.stage)
    check(intent, stage)
    blank = _trailers(deployment.stage, deployment.endpoint, operation)
    endpoint = stage.endpoints.get(deployment.endpoint)
    if endpoint is None:
        base = files or manifests.skeleton()
        tree = manifests.add_endpoint(
            base, deployment, salt=_salt(deployment, operation), hears_override=intent.override == "on"
        )
        subject = f"{deployment.endpoint}: created with {deployment.name} ({deployment.model.uri})"
        trailers = replace(blank, action="create", to=f"{deployment.name}=100")
        return tree, Message(subject=subject, trailers=trailers)
    weight = intent.weight or 0
    tree = manifests.add_deployment(files, deployment, weight=weight)
    after = weights(read_stage(tree, deployment.stage).endpoints[deployment.endpoint].route)
    subject = f"{deployment.endpoint}: {deployment.name} joins at {wording.percent(weight):g}% ({deployment.model.uri})"
    trailers = replace(blank, action="join", from_=wording.shares(weights(endpoint.route)), to=wording.shares(after))
    return tree, Message(subject=subject, trailers=trailers)


def _salt(deployment: Deployment, operation: str) -> str:
    """Deals the users of this endpoint unlike those of any other, and of an earlier one of the same name."""
    return hashlib.sha256(f"{deployment.stage}/{deployment.endpoint}/{operation}".encode()).hexdigest()[:12]


def _update(intent: Update, files: Files, operation: str) -> Change:
    deployment = intent.deployment
    before = require_deployment(read_stage(files, deployment.stage), deployment.name)
    trailers = replace(
        _trailers(deployment.stage, deployment.endpoint, operation),
        action="update",
        from_=before.model.uri,
        to=deployment.model.uri,
    )
    message = Message(subject=wording.update_subject(before, deployment), trailers=trailers)
    return manifests.replace_deployment(files, deployment), message


def _delete(intent: Delete, files: Files, operation: str) -> Change:
    stage = read_stage(files, intent.stage)
    deployment = stage.deployment(intent.name)
    if deployment is None:
        return _unchanged(files, intent.stage, operation)
    endpoint = stage.endpoints[deployment.endpoint]
    if len(endpoint.deployments) == 1:
        return _delete_endpoint(DeleteEndpoint(stage=stage.name, endpoint=deployment.endpoint), files, operation)
    _require_idle(endpoint, intent.name)
    subject = f"{deployment.endpoint}: {intent.name} removed ({deployment.model.uri})"
    trailers = replace(
        _trailers(stage.name, deployment.endpoint, operation), action="delete", from_=deployment.model.uri
    )
    tree = manifests.remove_deployment(files, stage.name, intent.name)
    return tree, Message(subject=subject, trailers=trailers)


def _require_idle(endpoint: Endpoint, name: str) -> None:
    weight = endpoint.route.weights.get(name, 0)
    if weight:
        rest = next(other for other in endpoint.deployments if other != name)
        raise ConflictError(
            f"deployment {name!r} takes {wording.percent(weight):g}% of endpoint {endpoint.route.endpoint!r}; first"
            f" move its users with `update-endpoint --endpoint {endpoint.route.endpoint} -C traffic={rest}=100`"
        )


def _split(intent: Split, files: Files, operation: str) -> Change:
    stage = read_stage(files, intent.stage)
    endpoint = require_endpoint(stage, intent.endpoint)
    for name in intent.weights:
        _require_member(endpoint, stage, name)
    before = weights(endpoint.route)
    after = {name: intent.weights.get(name, 0) for name in dict.fromkeys((*before, *intent.weights))}
    stable = endpoint.route.stable
    heir = stable if after.get(stable) else max(after, key=lambda name: after[name])
    marks = {annotations.STABLE: heir} if heir != stable else {}
    trailers = replace(
        _trailers(intent.stage, intent.endpoint, operation),
        action="split",
        from_=wording.shares(before),
        to=wording.shares(after),
    )
    message = Message(subject=wording.split_subject(intent.endpoint, before, after), trailers=trailers)
    if before == after:
        return files, message
    return manifests.set_split(files, intent.stage, intent.endpoint, after, annotations=marks), message


def _override(intent: Override, files: Files, operation: str) -> Change:
    route = require_endpoint(read_stage(files, intent.stage), intent.endpoint).route
    was = "on" if route.hears_override else "off"
    trailers = replace(
        _trailers(intent.stage, intent.endpoint, operation),
        action="override",
        from_=f"override={was}",
        to=f"override={intent.value}",
    )
    what = "picks a deployment" if intent.value == "on" else "picks nobody"
    message = Message(subject=f"{intent.endpoint}: header {headers.MODEL_VERSION} {what}", trailers=trailers)
    tree = manifests.set_override(files, intent.stage, intent.endpoint, is_heard=intent.value == "on")
    return tree, message


def _require_member(endpoint: Endpoint, stage: Stage, name: str) -> None:
    if name in endpoint.deployments:
        return
    elsewhere = stage.deployment(name)
    where = f" (it belongs to endpoint {elsewhere.endpoint!r})" if elsewhere else ""
    raise NotFoundError(
        f"deployment {name!r} is none of endpoint {endpoint.route.endpoint!r}{where}; known:"
        f" {', '.join(endpoint.deployments)}; add it with `mlflow deployments create --endpoint"
        f" {endpoint.route.endpoint}`"
    )


def _delete_endpoint(intent: DeleteEndpoint, files: Files, operation: str) -> Change:
    stage = read_stage(files, intent.stage)
    endpoint = stage.endpoints.get(intent.endpoint)
    if endpoint is None:
        return _unchanged(files, intent.stage, operation)
    trailers = replace(
        _trailers(intent.stage, intent.endpoint, operation),
        action="delete-endpoint",
        from_=wording.shares(weights(endpoint.route)),
    )
    subject = f"{intent.endpoint}: removed with {', '.join(endpoint.deployments)}"
    return manifests.remove_endpoint(files, intent.stage, intent.endpoint), Message(subject=subject, trailers=trailers)


def _unchanged(files: Files, stage: str, operation: str) -> Change:
    return files, Message(subject="nothing to do", trailers=_trailers(stage, "", operation))


def _trailers(stage: str, endpoint: str, operation: str) -> Trailers:
    return Trailers(operation=operation, endpoint=endpoint, stage=stage, action="none")


def require_deployment(stage: Stage, name: str, endpoint: str | None = None) -> Deployment:
    """The deployment of that name, in that endpoint where one is given.

    Raises:
        NotFoundError: there is none; the message names those that are.
    """
    known = stage.deployment(name)
    if known is not None and endpoint in (None, known.endpoint):
        return known
    where = f"endpoint {endpoint!r} of " if endpoint else ""
    names = [n for e in stage.endpoints.values() for n in e.deployments if endpoint in (None, e.route.endpoint)]
    raise NotFoundError(
        f"deployment {name!r} not found in {where}stage {stage.name!r}; known: {', '.join(names) or 'none'}"
    )


def require_endpoint(stage: Stage, name: str) -> Endpoint:
    """The endpoint of that name.

    Raises:
        NotFoundError: there is none; the message names those that are.
    """
    if (endpoint := stage.endpoints.get(name)) is not None:
        return endpoint
    raise NotFoundError(
        f"endpoint {name!r} not found in stage {stage.name!r}; known: {', '.join(stage.endpoints) or 'none'}"
    )
