"""Deployments and endpoints as plain dicts, in the order in which a person wants to read them. Pure.

MLflow's command prints them as ``key: value`` lines, so values are short, and a key without a value is left out.
"""

from typing import Any, Final

from mlflow_deploy_plugin.manifests.model import Deployment, Endpoint
from mlflow_deploy_plugin.spec.headers import MODEL_VERSION
from mlflow_deploy_plugin.targets.base import Standing
from mlflow_deploy_plugin.targets.intents import weights
from mlflow_deploy_plugin.targets.wording import percent, shares

FLAVOR: Final = "python_function"


def deployment_view(deployment: Deployment, endpoint: Endpoint, standing: Standing, *, commit: str) -> dict[str, Any]:
    """What ``get`` says of a deployment; ``name`` and ``flavor`` are MLflow's own keys."""
    url = _url(standing, deployment.endpoint)
    return _filled(
        {
            "name": deployment.name,
            "flavor": FLAVOR,
            "endpoint": deployment.endpoint,
            "stage": deployment.stage,
            "model_uri": deployment.model.uri,
            "weight": percent(endpoint.route.weights.get(deployment.name, 0)),
            "state": standing.state,
            "reason": standing.reason,
            "url": url,
            "pin": f"{MODEL_VERSION}: {deployment.name}" if url else "",
            "commit": commit,
            "applied": standing.applied,
            "bento": deployment.model.bento,
            "model_digest": deployment.model.digest,
            "run_id": deployment.model.run_id,
            "image": deployment.image,
            "replicas": deployment.replicas,
            "workers": deployment.workers,
            "cpu": deployment.resources.cpu,
            "memory": deployment.resources.memory,
            "gpu": deployment.resources.gpu,
            **standing.facts,
        }
    )


def endpoint_view(endpoint: Endpoint, standing: Standing, *, commit: str) -> dict[str, Any]:
    """What ``get-endpoint`` says."""
    route = endpoint.route
    return _filled(
        {
            "name": route.endpoint,
            "stage": route.stage,
            "traffic": shares({**weights(route), **dict.fromkeys(endpoint.deployments - route.weights.keys(), 0)}),
            "stable": route.stable,
            "override": "" if route.hears_override else "off",
            "state": standing.state,
            "reason": standing.reason,
            "url": _url(standing, route.endpoint),
            "commit": commit,
            "applied": standing.applied,
            "rollout": route.rollout,
            "phase": route.phase,
            "hold": "; ".join(f"{hold.deployment}: {hold.reason}" for hold in route.holds),
            "deployments": list(endpoint.deployments),
        }
    )


def _url(standing: Standing, endpoint: str) -> str:
    return f"{standing.gateway}/endpoints/{endpoint}/invocations" if standing.gateway else ""


def _filled(view: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in view.items() if value not in ("", None)}
