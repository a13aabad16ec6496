"""Writes new files of the tree: plain, whole manifests that Kubernetes takes as they are. Pure.

Does not change a file that exists; :mod:`.edit` does. The same values give the same bytes.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from enum import Enum
from typing import Final

from mlflow_deploy_plugin.manifests.model import Backend, Deployment, Hold, Mirror, ModelIdentity, Resources, Route
from mlflow_deploy_plugin.manifests.scalars import Plain, block, flow
from mlflow_deploy_plugin.manifests.tree import ROLLOUT, ROUTE
from mlflow_deploy_plugin.spec import annotations, headers
from mlflow_deploy_plugin.spec.grpc import ADDRESS, SERVICES
from mlflow_deploy_plugin.spec.names import TOTAL_WEIGHT

GATEWAY_API: Final = "gateway.networking.k8s.io"
GATEWAY: Final = "modelserve"
"""Name of the Gateway that routes attach to, in their own namespace."""
CONTAINER: Final = "bento"
PORT: Final = 80
CONTAINER_PORT: Final = 3000
GRPC_PORT: Final = 8001
CONTAINER_GRPC_PORT: Final = 3001
GPU: Final = "nvidia.com/gpu"
WORKERS: Final = "MODELSERVE_WORKERS"
OUTSIDE: Final = frozenset({WORKERS, ADDRESS})
"""Variables of a container that say how it is run, not what it serves; a cluster's, and none of the agent's."""
LOCAL_CONFIG: Final = "config.kubernetes.io/local-config"
PLAN_API: Final = "modelserve.io/v1alpha1"
PLAN_KIND: Final = "Rollout"

SPLIT: Final = "split"
MIRROR: Final = "RequestMirror"
OVERRIDE: Final = "override-"
OFF: Final = "off"

Tree = dict[str, Plain]


class Face(Enum):
    """The two routes of an endpoint, which say one split.

    Apart, since a route has at most 16 rules, and as two HTTPRoutes, since a GRPCRoute may not share a listener with
    them: https://gateway-api.sigs.k8s.io/api-types/grpcroute/#cross-serving.
    """

    REST = PORT
    GRPC = GRPC_PORT

    def route_name(self, endpoint: str) -> str:
        """Name of the HTTPRoute; a dot, which no endpoint's name has, keeps it apart from another endpoint's."""
        return endpoint if self is Face.REST else f"{endpoint}.grpc"


def kustomization(resources: list[str], *, about: str) -> str:
    """A kustomization.yaml that lists ``resources`` and changes nothing."""
    value: Tree = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", "resources": resources}
    rule = "Only lists: the agent reads the files themselves, so nothing may be patched here."
    return f"# {about}\n# {rule}\n{block(value)}\n"


def endpoint_kustomization(endpoint: str, deployments: list[str]) -> str:
    """The list of an endpoint's files."""
    return kustomization([ROUTE, ROLLOUT, *(f"{name}.yaml" for name in deployments)], about=f"Endpoint {endpoint}.")


def route(value: Route) -> str:
    """``route.yaml``: the split of an endpoint and a rule by which a header picks each deployment, REST then gRPC."""
    head = (
        f"# The split of endpoint {value.endpoint} in stage {value.stage}.\n"
        "# A person may change the weights of the rules `split`, alike: they sum to 1000, 1 is 0.1 % of the users.\n"
        "# The order of its backendRefs decides who moves when a weight does: leave it, and the names, as they are.\n"
        "# modelserve edits the weights and the modelserve.io/* annotations in place; comments stay.\n"
    )
    annotations_of_split: Plain = dict(route_annotations(value))
    text = block(_route(value, Face.REST, {"annotations": annotations_of_split}))
    grpc = f"---\n{block(_route(value, Face.GRPC, {}))}\n" if value.has_grpc else ""
    return f"{head}{text}\n{grpc}"


def _route(value: Route, face: Face, metadata: Tree) -> Tree:
    picked = value.deployments if value.hears_override else ()
    split: Tree = {
        "name": SPLIT,
        "matches": matches(value.endpoint, face),
        "backendRefs": [slot(backend, face) for backend in value.backends],
        **({"filters": [mirror(value.mirror, face)]} if value.mirror else {}),
    }
    return {
        "apiVersion": f"{GATEWAY_API}/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": face.route_name(value.endpoint), "labels": labels(value.endpoint), **metadata},
        "spec": {
            "parentRefs": [{"group": GATEWAY_API, "kind": "Gateway", "name": GATEWAY}],
            "rules": [split, *(override_rule(value.endpoint, name, face) for name in picked)],
        },
    }


def route_annotations(value: Route) -> Mapping[str, str]:
    """The state of the split as annotations; those that say nothing are left out, but for stable and salt."""
    state = {
        annotations.ROLLOUT: value.rollout,
        annotations.PHASE: value.phase,
        annotations.STEP: str(value.step) if value.step else "",
        annotations.SINCE: time_text(value.since) if value.since else "",
        annotations.APPROVALS: str(value.approvals) if value.approvals else "",
        annotations.HOLD: holds(value.holds),
        annotations.BASELINE: value.baseline,
        annotations.OVERRIDE: "" if value.hears_override else OFF,
        annotations.GATEWAY_ADDRESS: value.gateway_address,
    }
    always = {annotations.STABLE: value.stable, annotations.SALT: value.salt}
    return always | {key: text for key, text in state.items() if text}


def holds(values: Sequence[Hold]) -> str:
    """The text of the annotation :data:`.annotations.HOLD`: one object, a list of several; empty without any.

    >>> holds([Hold(deployment="a", model_digest="sha256:1", reason="slow")])
    '{"deployment": "a", "digest": "sha256:1", "reason": "slow"}'
    """
    written = [_hold(value) for value in values]
    return flow(written[0] if len(written) == 1 else written) if written else ""


def _hold(value: Hold) -> dict[str, Plain]:
    held: dict[str, Plain] = {"deployment": value.deployment, "digest": value.model_digest, "reason": value.reason}
    return held | ({"until": time_text(value.until)} if value.until else {})


def time_text(time: datetime) -> str:
    """A time as annotations hold it: RFC 3339, UTC.

    >>> time_text(datetime(2026, 1, 31, 12, tzinfo=UTC))
    '2026-01-31T12:00:00Z'
    """
    return time.astimezone(UTC).isoformat().replace("+00:00", "Z")


def matches(endpoint: str, face: Face = Face.REST) -> list[Plain]:
    """How a request finds an endpoint: by its path, or, over gRPC, by the metadata ``x-endpoint``.

    A prefix ends at a segment, so the verbs of ``:predict`` are matched exactly.
    """
    if face is Face.GRPC:
        chosen: Plain = [{"type": "Exact", "name": headers.ENDPOINT, "value": endpoint}]
        return [{"path": {"type": "PathPrefix", "value": f"/{service}"}, "headers": chosen} for service in SERVICES]
    prefixes = ("/endpoints/", "/v2/models/", "/v1/models/", "/predictions/", "/explanations/")
    verbs = ("predict", "classify", "regress")
    return [
        *({"path": {"type": "PathPrefix", "value": f"{prefix}{endpoint}"}} for prefix in prefixes),
        *({"path": {"type": "Exact", "value": f"/v1/models/{endpoint}:{verb}"}} for verb in verbs),
    ]


def slot(backend: Backend, face: Face = Face.REST) -> Tree:
    """A backendRef of the split. The filter is not only for telemetry: Envoy Gateway keeps users on a version only
    where a backendRef has one."""  # noqa: D205, D209  one thought
    assigned: Plain = {"set": [{"name": headers.MODEL_ASSIGNED, "value": backend.deployment}]}
    return {
        **_service(backend.deployment, face),
        "weight": backend.weight,
        "filters": [
            {"type": "RequestHeaderModifier", "requestHeaderModifier": assigned},
            {"type": "ResponseHeaderModifier", "responseHeaderModifier": assigned},
        ],
    }


def mirror(value: Mirror, face: Face = Face.REST) -> Tree:
    """The filter by which a deployment is sent copies of the split's requests."""
    return {
        "type": MIRROR,
        "requestMirror": {
            "backendRef": _service(value.deployment, face),
            "fraction": {"numerator": value.share, "denominator": TOTAL_WEIGHT},
        },
    }


def override_rule(endpoint: str, deployment: str, face: Face = Face.REST) -> Tree:
    """The rule by which a request header picks a deployment."""
    chosen: list[Plain] = [{"type": "Exact", "name": headers.MODEL_VERSION, "value": deployment}]
    return {
        "name": f"{OVERRIDE}{deployment}",
        "matches": [_also(match, chosen) for match in matches(endpoint, face)],
        "backendRefs": [{**_service(deployment, face), "weight": TOTAL_WEIGHT}],
    }


def _also(match: Plain, chosen: list[Plain]) -> Plain:
    """A match with more headers."""
    if not isinstance(match, dict):
        return match
    given = match.get("headers", [])
    return {**match, "headers": [*(given if isinstance(given, list) else []), *chosen]}


def _service(deployment: str, face: Face) -> Tree:
    # Defaults are stated: a controller that fills them in would differ from git for ever.
    return {"group": "", "kind": "Service", "name": deployment, "port": face.value}


def labels(endpoint: str, deployment: str = "") -> Tree:
    """Labels of a manifest; those of one version only on what belongs to it."""
    common: Tree = {
        "app.kubernetes.io/name": endpoint,
        "app.kubernetes.io/part-of": "modelserve",
        "app.kubernetes.io/managed-by": "modelserve",
        annotations.ENDPOINT_LABEL: endpoint,
    }
    if not deployment:
        return common
    return {**common, "app.kubernetes.io/instance": deployment, annotations.DEPLOYMENT_LABEL: deployment}


def deployment(value: Deployment) -> str:
    """``<deployment>.yaml``: a Deployment and its Service, one model version."""
    head = (
        f"# Deployment {value.name} of endpoint {value.endpoint} in stage {value.stage}: one model version.\n"
        "# A person may change replicas, resources and env; a model is replaced by `mlflow deployments update`.\n"
        "# A promotion never edits this file.\n"
    )
    return f"{head}{block(_workload(value))}\n---\n{block(_service_manifest(value))}\n"


def model_annotations(model: ModelIdentity) -> Mapping[str, str]:
    """Where a model came from; what is not known is left out."""
    known = {
        annotations.BENTO: model.bento,
        annotations.MODEL_URI: model.uri,
        annotations.MODEL_NAME: model.name,
        annotations.MODEL_VERSION: model.version,
        annotations.MODEL_DIGEST: model.digest,
        annotations.RUN_ID: model.run_id,
        annotations.FLAVOR: model.flavor,
    }
    return {key: text for key, text in known.items() if text}


def environment(value: Deployment) -> Mapping[str, str]:
    """Every variable of the container, by name; who it is comes from the manifest's own name."""
    identity = {
        "MODELSERVE_ENDPOINT": value.endpoint,
        "MODELSERVE_DEPLOYMENT": value.name,
        "MODELSERVE_STAGE": value.stage,
        WORKERS: str(value.workers),
        ADDRESS: f"0.0.0.0:{CONTAINER_GRPC_PORT}",
    }
    return dict(sorted({**value.environment, **identity}.items()))


def resources(value: Resources) -> Tree:
    """Requests and limits. The CPU is asked for and not capped: a cap throttles a batch in the middle."""
    asked = {"cpu": value.cpu, "memory": value.memory}
    capped = {"memory": value.memory, GPU: str(value.gpu) if value.gpu else ""}
    pair = {"requests": asked, "limits": capped}
    stated: dict[str, Plain] = {
        side: {key: text for key, text in amounts.items() if text} for side, amounts in pair.items()
    }
    return {side: amounts for side, amounts in stated.items() if amounts}


def _workload(value: Deployment) -> Tree:
    own = labels(value.endpoint, value.name)
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": value.name, "labels": own, "annotations": dict(model_annotations(value.model))},
        "spec": {
            "replicas": value.replicas,
            "selector": {"matchLabels": {annotations.DEPLOYMENT_LABEL: value.name}},
            "template": {"metadata": {"labels": own}, "spec": {"containers": [_container(value)]}},
        },
    }


def _container(value: Deployment) -> Tree:
    return {
        "name": CONTAINER,
        "image": value.image,
        "ports": [
            {"name": "http", "containerPort": CONTAINER_PORT},
            {"name": "grpc", "containerPort": CONTAINER_GRPC_PORT},
        ],
        "env": [{"name": name, "value": text} for name, text in environment(value).items()],
        "resources": resources(value.resources),
        "readinessProbe": {"httpGet": {"path": "/readyz", "port": "http"}, "periodSeconds": 2},
        "livenessProbe": {"httpGet": {"path": "/livez", "port": "http"}, "periodSeconds": 10, "failureThreshold": 6},
    }


def _service_manifest(value: Deployment) -> Tree:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": value.name, "labels": labels(value.endpoint, value.name)},
        "spec": {
            "selector": {annotations.DEPLOYMENT_LABEL: value.name},
            "ports": [
                {"name": "http", "port": PORT, "targetPort": "http"},
                # Names HTTP/2 without TLS, which a gateway would not try by itself.
                {"name": "grpc", "port": GRPC_PORT, "targetPort": "grpc", "appProtocol": "kubernetes.io/h2c"},
            ],
        },
    }


def rollout(endpoint: str) -> str:
    """``rollout.yaml``: people's file, with a plan to begin from as comments."""
    value: Tree = {
        "apiVersion": PLAN_API,
        "kind": PLAN_KIND,
        "metadata": {"name": endpoint, "annotations": {LOCAL_CONFIG: "true"}},
        "spec": {},
    }
    return (
        f"# How a new version of endpoint {endpoint} is promoted. This file is yours: modelserve reads it and never\n"
        "# writes it again, and the local-config annotation keeps it out of the cluster.\n"
        f"{block(value)}\n"
        "# A plan to begin from (then remove `{}` above):\n"
        "#   strategy: canary\n"
        "#   steps:\n"
        "#     - weight: 5 # per cent\n"
        "#       pause: 30m\n"
        "#     - weight: 25\n"
        "#       pause: 1h\n"
        "#     - weight: 100\n"
        "#   expiry:\n"
        "#     after: 7d\n"
        "#     action: abort\n"
    )
