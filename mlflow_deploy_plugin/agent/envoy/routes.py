"""Routes: how a request finds its deployment. Pure.

One endpoint is four kinds of route, in this order:

- ``x-model-version: D`` names a deployment of the endpoint: that one alone, with a second attempt on another worker of
  it and never on another deployment; while it has no worker that is ready, 503.
- ``x-model-version`` names anything else: 404, naming the header.

  Both are left out where the endpoint does not hear the header; it is dealt like everybody then.
- a user id: the split by ``xxHash64(salt + ":" + user) mod 1000``, which ``manifests.split.assign`` predicts.
- no user id, or an empty one: the same split by the request id that the gateway makes.

A shadow is sent copies of the split's requests, never of overrides; Envoy answers without waiting for it and throws its
answer away, and a copy is no attempt. Its Bento logs what it predicted under the same request id. A copy ends a little
after the shadow's own limit, and copies beyond a number are not made, so a shadow that hangs holds a bounded part.

gRPC has the same four at one more cluster for each unit, found by the metadata ``x-endpoint`` since no path names the
endpoint, or by the host name; its refusals are statuses of gRPC.

A second attempt is made when the first got no answer (refused, reset, timed out): what a model answers is an answer,
whatever its status, because a retried 500 would be a second prediction. A canary's second attempt goes to stable.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from mlflow_deploy_plugin.agent.access_log import route_tags
from mlflow_deploy_plugin.agent.envoy.bootstrap import MAX_BODY_BYTES, ROUTES, typed
from mlflow_deploy_plugin.agent.envoy.clusters import fallback_pair
from mlflow_deploy_plugin.agent.units import Unit, grpc_cluster, shadow_cluster
from mlflow_deploy_plugin.manifests.model import Endpoint, Route
from mlflow_deploy_plugin.spec.grpc import HEALTH, SERVICES
from mlflow_deploy_plugin.spec.headers import ENDPOINT, MODEL_ASSIGNED, MODEL_VERSION, REQUEST_ID, USER_ID
from mlflow_deploy_plugin.spec.names import TOTAL_WEIGHT

Json = dict[str, Any]

LOCAL_DOMAIN: Final = ".localhost"
GRACE_S: Final = 5.0
"""Seconds above a deployment's own limit, so that its 504 comes before the gateway's."""
_TEN_THOUSAND: Final = 10_000
_TRIES: Final = 100
"""Picks until one is another worker than the one that failed: the dead one looks idle, so it is picked often."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """What one endpoint serves, and the commit that says so."""

    commit: str
    endpoint: Endpoint


def route_configuration(served: Mapping[str, Served]) -> Json:
    """The routes of every endpoint of ``served``."""
    ordered = [served[name] for name in sorted(served)]
    everywhere = [route for one in ordered for route in _routes(one, *_ways(one.endpoint.route))]
    hosts = [
        _virtual_host(name, [name + LOCAL_DOMAIN], _routes(served[name], *_own_ways(served[name].endpoint.route)))
        for name in sorted(served)
    ]
    return typed(
        "config.route.v3.RouteConfiguration",
        name=ROUTES,
        validate_clusters=True,
        virtual_hosts=[
            *hosts,
            _virtual_host("*", ["*"], [*everywhere, *_SERVER_ROUTES, *_grpc_server(ordered), *_UNKNOWN]),
        ],
    )


def clusters_of(served: Iterable[Served]) -> set[str]:
    """Every cluster that the routes of ``served`` name, and the members of the pairs among them."""
    return {name for one in served for name in _clusters(one.endpoint)}


def _clusters(endpoint: Endpoint) -> set[str]:
    ways = _ways(endpoint.route)
    units = {_cluster(endpoint, name, way) for name in endpoint.deployments for way in ways}
    arms = {_cluster_of_arm(endpoint, name, way) for name in endpoint.route.deployments for way in ways}
    mirror = endpoint.route.mirror
    return units | arms | ({_cluster_of_copies(endpoint, mirror.deployment, way) for way in ways} if mirror else set())


@dataclass(frozen=True, slots=True, kw_only=True)
class _Way:
    """How the requests of a protocol find an endpoint, which clusters take them, and how they are refused."""

    match: Json
    headers: tuple[Json, ...] = ()
    cluster_of: Callable[[str], str]
    """The cluster of a unit."""
    refuse: Callable[[str], Json]
    """Says ``not found``."""

    def matching(self, *headers: Json) -> Json:
        """The match of a route that wants ``headers`` too."""
        wanted = [*self.headers, *headers]
        return {**self.match, "headers": wanted} if wanted else self.match


def _ways(route: Route) -> tuple[_Way, ...]:
    """The ways to an endpoint at the gateway's address."""
    named = {"name": ENDPOINT, "string_match": {"exact": route.endpoint}}
    rest = _Way(match=_path_match(route.endpoint), cluster_of=str, refuse=_not_found)
    return (rest, _grpc_way(named)) if route.has_grpc else (rest,)


def _own_ways(route: Route) -> tuple[_Way, ...]:
    """The ways to an endpoint at its own host name; gRPC first, since REST takes every path."""
    rest = _Way(match=_ANY_PATH, cluster_of=str, refuse=_not_found)
    return (_grpc_way(), rest) if route.has_grpc else (rest,)


def _grpc_way(*headers: Json) -> _Way:
    services = "|".join(map(re.escape, (*SERVICES, HEALTH)))
    match = {"safe_regex": {"regex": f"/({services})/[^/]+"}, "grpc": {}}
    return _Way(match=match, headers=headers, cluster_of=grpc_cluster, refuse=_grpc_not_found)


def _cluster(endpoint: Endpoint, deployment: str, way: _Way) -> str:
    return way.cluster_of(Unit.of(endpoint.deployments[deployment]).key)


def _cluster_of_arm(endpoint: Endpoint, deployment: str, way: _Way) -> str:
    arm, stable = (_cluster(endpoint, name, way) for name in (deployment, endpoint.route.stable))
    return arm if arm == stable else fallback_pair(arm, stable)


def _cluster_of_copies(endpoint: Endpoint, deployment: str, way: _Way) -> str:
    unit = Unit.of(endpoint.deployments[deployment])
    return shadow_cluster(way.cluster_of(unit.key), limit_s=unit.timeout_s + GRACE_S)


_ANY_PATH: Final[Json] = {"prefix": "/"}


def _path_match(endpoint: str) -> Json:
    """The addresses of DESIGN §6 on one line; an endpoint's name is a DNS label and needs no escape."""
    prefixes = f"/(endpoints|v2/models|v1/models|predictions|explanations)/{endpoint}(/.*)?"
    verbs = f"/v1/models/{endpoint}:(predict|classify|regress)"
    return {"safe_regex": {"regex": f"{prefixes}|{verbs}"}}


def _virtual_host(name: str, domains: list[str], routes: list[Json]) -> Json:
    return {"name": name, "domains": domains, "routes": routes, "include_request_attempt_count": True}


def _routes(served: Served, *ways: _Way) -> list[Json]:
    return [route for way in ways for route in _routes_of(served, way)]


def _routes_of(served: Served, way: _Way) -> list[Json]:
    endpoint = served.endpoint
    salt = endpoint.route.salt
    overrides = [*(_override(served, way, name) for name in endpoint.deployments), _unknown_override(endpoint, way)]
    return [
        *(overrides if endpoint.route.hears_override else ()),
        {"match": way.matching(_present(USER_ID)), **_split(served, way, _hash(USER_ID, salt))},
        {"match": way.matching(), **_split(served, way, _hash(REQUEST_ID, salt))},
    ]


def _present(header: str) -> Json:
    return {"name": header, "string_match": {"safe_regex": {"regex": ".+"}}}


def _override(served: Served, way: _Way, deployment: str) -> Json:
    exact = {"name": MODEL_VERSION, "string_match": {"exact": deployment}}
    return {"match": way.matching(exact), **_to(served, deployment, way.cluster_of)}


def _to(served: Served, deployment: str, cluster_of: Callable[[str], str]) -> Json:
    """To one deployment, whatever the split says."""
    unit = Unit.of(served.endpoint.deployments[deployment])
    return {
        **route_tags(endpoint=served.endpoint.route.endpoint, commit=served.commit, override=deployment),
        "request_headers_to_remove": [MODEL_ASSIGNED],
        "route": {"cluster": cluster_of(unit.key), **_attempts(unit.timeout_s)},
        **_KEEP_BODY,
    }


def _unknown_override(endpoint: Endpoint, way: _Way) -> Json:
    name = endpoint.route.endpoint
    known = ", ".join(endpoint.deployments)
    return {
        "match": way.matching(_present(MODEL_VERSION)),
        **way.refuse(f"header {MODEL_VERSION} names no deployment of endpoint {name!r}; known: {known}"),
    }


def _split(served: Served, way: _Way, hash_policy: Json) -> Json:
    endpoint = served.endpoint
    timeout_s = max(Unit.of(deployment).timeout_s for deployment in endpoint.deployments.values())
    arms = [
        _arm(_cluster_of_arm(endpoint, slot.deployment, way), slot.deployment, slot.weight)
        for slot in endpoint.route.backends
    ]
    return {
        **route_tags(endpoint=endpoint.route.endpoint, commit=served.commit),
        "route": {
            "weighted_clusters": {"clusters": arms, "use_hash_policy": True},
            "hash_policy": [hash_policy],
            **_mirror(endpoint, way),
            **_attempts(timeout_s),
        },
        **_KEEP_BODY,
    }


def _arm(cluster: str, deployment: str, weight: int) -> Json:
    assigned = {
        "header": {"key": MODEL_ASSIGNED, "value": deployment},
        "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
    }
    return {
        "name": cluster,
        "weight": weight,
        "request_headers_to_add": [assigned],
        "response_headers_to_add": [assigned],
    }


def _mirror(endpoint: Endpoint, way: _Way) -> Json:
    mirror = endpoint.route.mirror
    if mirror is None:
        return {}
    share = {"numerator": mirror.share * (_TEN_THOUSAND // TOTAL_WEIGHT), "denominator": "TEN_THOUSAND"}
    cluster = _cluster_of_copies(endpoint, mirror.deployment, way)
    return {"request_mirror_policies": [{"cluster": cluster, "runtime_fraction": {"default_value": share}}]}


def _hash(header: str, salt: str) -> Json:
    rewrite = {"pattern": {"regex": "^(.*)$"}, "substitution": f"{_literal(salt)}:\\1"}
    return {"header": {"header_name": header, "regex_rewrite": rewrite}}


def _literal(text: str) -> str:
    r"""``text`` for RE2's substitution, where a backslash begins a reference.

    >>> _literal("a\\1")
    'a\\\\1'
    """
    return re.sub(r"\\", r"\\\\", text)


def _attempts(timeout_s: float) -> Json:
    """One attempt, and one elsewhere. No limit for the whole answer: a stream may last as long as it moves."""
    attempt_s = timeout_s + GRACE_S
    return {
        "timeout": "0s",
        "idle_timeout": f"{2 * attempt_s:.3f}s",
        "retry_policy": {
            "retry_on": "connect-failure,refused-stream,reset",
            "num_retries": 1,
            "per_try_timeout": f"{attempt_s:.3f}s",
            "retry_back_off": {"base_interval": "0.005s", "max_interval": "0.05s"},
            "host_selection_retry_max_attempts": _TRIES,
            "retry_host_predicate": [
                {
                    "name": "envoy.retry_host_predicates.previous_hosts",
                    "typed_config": typed("extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"),
                }
            ],
        },
    }


_KEEP_BODY: Final[Json] = {"request_body_buffer_limit": MAX_BODY_BYTES}


def _answer(status: int, body: str, *, header: tuple[str, str]) -> Json:
    """An answer of the gateway's own, with one header."""
    key, value = header
    return {
        "direct_response": {"status": status, "body": {"inline_string": body}},
        "response_headers_to_add": [
            {"header": {"key": key, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
        ],
    }


def _json(status: int, document: Json) -> Json:
    return _answer(status, json.dumps(document) + "\n", header=("content-type", "application/json"))


def _not_found(message: str) -> Json:
    return _json(404, {"error": message})


def _grpc_not_found(message: str) -> Json:
    """The same to a client of gRPC. Envoy itself makes UNIMPLEMENTED of a 404 and would have it call no more."""
    return _answer(404, message, header=("grpc-status", "5"))


def _server(path: str, body: Json) -> Json:
    return {"match": {"path": path}, **_json(200, body)}


# Clients of the Open Inference Protocol ask the server, not the model, whether it lives.
_SERVER_ROUTES: Final = [
    _server("/v2", {"name": "modelserve", "version": "2", "extensions": []}),
    _server("/v2/health/live", {"live": True}),
    _server("/v2/health/ready", {"ready": True}),
]

_GRPC_SERVER: Final = rf"/({re.escape(HEALTH)}/Check|inference\.GRPCInferenceService/Server(Live|Ready|Metadata))"


_NAMES_NONE: Final[Json] = {"name": ENDPOINT, "present_match": False}


def _grpc_server(served: Sequence[Served]) -> list[Json]:
    """The same over gRPC. Envoy cannot make a message, so stable of the first endpoint that speaks gRPC answers.

    The log counts it as an override of that deployment: nobody's share of the split.
    """
    for one in served:
        endpoint = one.endpoint
        if endpoint.route.has_grpc:
            return [
                {
                    "match": {"safe_regex": {"regex": _GRPC_SERVER}, "grpc": {}, "headers": [_NAMES_NONE]},
                    **_to(one, endpoint.route.stable, grpc_cluster),
                }
            ]
    return []


_WHERE: Final = "'modelserve status' lists those that exist"
_UNKNOWN: Final = [
    {
        "match": {**_ANY_PATH, "grpc": {}},
        **_grpc_not_found(f"the metadata {ENDPOINT} names no endpoint that is served over gRPC; {_WHERE}"),
    },
    {"match": _ANY_PATH, **_not_found(f"no endpoint has this address; {_WHERE}")},
]
