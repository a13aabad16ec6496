"""What changed between two readings of a stage, in lines that a person reads: the history of commits that say nothing
of themselves. Pure."""  # noqa: D205, D209  one sentence

from collections.abc import Iterator, Mapping

from mlflow_deploy_plugin.manifests.model import Deployment, Endpoint, Route, Stage
from mlflow_deploy_plugin.spec.names import TOTAL_WEIGHT


def describe(before: Stage, after: Stage) -> tuple[str, ...]:
    """One line for every fact that differs; none where nothing does."""
    return tuple(_stage_lines(before, after))


def percent(weight: int) -> str:
    """A weight of 1000 as people say it.

    >>> percent(125), percent(1000)
    ('12.5%', '100%')
    """
    return f"{weight * 100 / TOTAL_WEIGHT:g}%"


def _stage_lines(before: Stage, after: Stage) -> Iterator[str]:
    for name in dict.fromkeys((*before.endpoints, *after.endpoints)):
        old, new = before.endpoints.get(name), after.endpoints.get(name)
        if old is None and new is not None:
            yield f"{name}: endpoint added ({_shares(new.route.weights)})"
            yield from _deployment_lines(name, {}, new.deployments)
        elif new is None and old is not None:
            yield f"{name}: endpoint removed ({', '.join(old.deployments)})"
        elif old is not None and new is not None:
            yield from _endpoint_lines(name, old, new)


def _endpoint_lines(name: str, old: Endpoint, new: Endpoint) -> Iterator[str]:
    yield from _deployment_lines(name, old.deployments, new.deployments)
    was, now = old.route.weights, new.route.weights
    moves = [
        f"{deployment} {percent(was.get(deployment, 0))} → {percent(now.get(deployment, 0))}"
        for deployment in dict.fromkeys((*was, *now))
        if was.get(deployment, 0) != now.get(deployment, 0)
    ]
    if moves:
        yield f"{name}: split {', '.join(moves)}"
    elif old.route.backends != new.route.backends:
        yield f"{name}: order of the split changed"
    yield from _route_lines(name, old.route, new.route)


def _route_lines(name: str, old: Route, new: Route) -> Iterator[str]:
    if old.stable != new.stable:
        yield f"{name}: stable {old.stable} → {new.stable}"
    if old.mirror != new.mirror:
        yield f"{name}: shadow {_mirror(old)} → {_mirror(new)}"
    if old.has_grpc != new.has_grpc:
        yield f"{name}: gRPC {'off → on' if new.has_grpc else 'on → off'}"
    if old.salt != new.salt:
        yield f"{name}: salt changed, users are dealt anew"
    yield from _hold_lines(name, old, new)
    if _rollout(old) != _rollout(new):
        yield f"{name}: rollout {_rollout(old)} → {_rollout(new)}"
    if old.baseline != new.baseline:
        yield f"{name}: baseline {old.baseline or 'none'} → {new.baseline or 'none'}"
    if old.gateway_address != new.gateway_address:
        yield f"{name}: gateway address {old.gateway_address or 'none'} → {new.gateway_address or 'none'}"


def _hold_lines(name: str, old: Route, new: Route) -> Iterator[str]:
    yield from (f"{name}: hold on {hold.deployment}: {hold.reason}" for hold in new.holds if hold not in old.holds)
    held = {hold.model_digest for hold in new.holds}
    gone = (hold for hold in old.holds if hold.model_digest not in held)
    yield from (f"{name}: hold on {hold.deployment} lifted" for hold in gone)


def _mirror(route: Route) -> str:
    return f"{route.mirror.deployment} {percent(route.mirror.share)}" if route.mirror else "none"


def _rollout(route: Route) -> str:
    if not (route.rollout or route.phase or route.step):
        return "none"
    return f"{route.rollout or 'unnamed'} {route.phase or 'running'} at step {route.step}"


def _deployment_lines(endpoint: str, old: Mapping[str, Deployment], new: Mapping[str, Deployment]) -> Iterator[str]:
    for name in dict.fromkeys((*old, *new)):
        if name not in old:
            yield f"{endpoint}: deployment {name} added ({new[name].model.uri})"
        elif name not in new:
            yield f"{endpoint}: deployment {name} removed ({old[name].model.uri})"
        elif changes := list(_changes(old[name], new[name])):
            yield f"{endpoint}: deployment {name}: {', '.join(changes)}"


def _changes(old: Deployment, new: Deployment) -> Iterator[str]:
    if old.model != new.model:
        yield f"model {old.model.uri} → {new.model.uri}"
    elif old.image != new.image:
        yield f"image {old.image} → {new.image}"
    numbers = {
        "replicas": (old.replicas, new.replicas),
        "workers": (old.workers, new.workers),
        "cpu": (old.resources.cpu, new.resources.cpu),
        "memory": (old.resources.memory, new.resources.memory),
        "gpu": (old.resources.gpu, new.resources.gpu),
    }
    yield from (f"{key} {was or 'none'} → {now or 'none'}" for key, (was, now) in numbers.items() if was != now)
    for key in sorted(old.environment.keys() | new.environment.keys()):
        was, now = old.environment.get(key), new.environment.get(key)
        if was != now:
            yield f"{key} {_value(was)} → {_value(now)}"


def _value(text: str | None) -> str:
    return "unset" if text is None else repr(text)


def _shares(weights: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {percent(weight)}" for name, weight in weights.items())
