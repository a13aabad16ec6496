"""The files around the stages: what a person reads, what a cluster needs, and how Argo CD or Flux is told. Pure.

The agent of one machine reads none of them.
"""

from collections.abc import Mapping
from typing import Final

from mlflow_deploy_plugin.manifests.model import Files
from mlflow_deploy_plugin.manifests.render import GATEWAY, GATEWAY_API, Tree, kustomization
from mlflow_deploy_plugin.manifests.scalars import Plain, block
from mlflow_deploy_plugin.manifests.tree import stage_kustomization
from mlflow_deploy_plugin.spec import headers

STAGES: Final = ("dev", "staging", "production")
URL: Final = "https://git.example.com/team/models.git"

_README: Final = """\
# What is served

This repository is the desired state: the agent of one machine, Argo CD or Flux makes the world equal to its newest
commit. Nothing else changes what is served.

    stages/<stage>/<endpoint>/route.yaml          the split: who gets which deployment. Weights sum to 1000
    stages/<stage>/<endpoint>/<deployment>.yaml   one model version: Deployment and Service
    stages/<stage>/<endpoint>/rollout.yaml        the plan of a promotion; yours, never written by a machine
    evidence/<endpoint>/<operation>.json          why a commit was made
    gateway/                                      Gateway and the policy that keeps a user on a version
    clusters/                                     how Argo CD or Flux is told of the stages

To move users, edit the weights of the rules `split` in a `route.yaml`, REST's and gRPC's alike, and push. To take a
change back, push the weights of an earlier commit. `git log -- stages/production/<endpoint>` is the endpoint's story;
the trailers `Modelserve-…` of a commit say what was done, from what, to what, and why.

What a stage would apply: `kubectl kustomize stages/production`.
"""


def skeleton(*, url: str = URL, root: str = "") -> Files:
    """A tree in which nothing is served yet.

    Args:
        url: where a cluster clones the repository from.
        root: folder of the repository that the tree lies in, for the clusters' paths; empty: the repository itself.
    """
    prefix = f"{root.strip('/')}/" if root.strip("/") else ""
    return {
        "README.md": _README,
        **{stage_kustomization(stage): empty_stage(stage) for stage in STAGES},
        **_gateway(),
        "clusters/argocd.yaml": _argocd(url, prefix),
        "clusters/flux.yaml": _flux(url, prefix),
    }


def empty_stage(stage: str) -> str:
    """The ``kustomization.yaml`` of a stage that serves nothing."""
    return kustomization([], about=f"Stage {stage}: one folder for each endpoint.")


def _gateway() -> Files:
    gateway_class: Tree = {
        "apiVersion": f"{GATEWAY_API}/v1",
        "kind": "GatewayClass",
        "metadata": {"name": GATEWAY},
        "spec": {"controllerName": "gateway.envoyproxy.io/gatewayclass-controller"},
    }
    gateway: Tree = {
        "apiVersion": f"{GATEWAY_API}/v1",
        "kind": "Gateway",
        "metadata": {"name": GATEWAY},
        "spec": {
            "gatewayClassName": GATEWAY,
            "listeners": [
                {"name": "http", "protocol": "HTTP", "port": 80, "allowedRoutes": {"namespaces": {"from": "Same"}}}
            ],
        },
    }
    policy: Tree = {
        "apiVersion": "gateway.envoyproxy.io/v1alpha1",
        "kind": "BackendTrafficPolicy",
        "metadata": {"name": "keep-users-on-a-version"},
        "spec": {
            "targetRefs": [{"group": GATEWAY_API, "kind": "Gateway", "name": GATEWAY}],
            "loadBalancer": {
                "type": "ConsistentHash",
                "consistentHash": {"type": "Headers", "headers": [{"name": headers.USER_ID}]},
            },
        },
    }
    return {
        "gateway/class/kustomization.yaml": kustomization(["gatewayclass.yaml"], about="Once for each cluster."),
        "gateway/class/gatewayclass.yaml": _text(gateway_class, about="Who makes Gateways real: Envoy Gateway."),
        "gateway/kustomization.yaml": kustomization(
            ["gateway.yaml", "backendtrafficpolicy.yaml"], about="Once for each stage, into the stage's namespace."
        ),
        "gateway/gateway.yaml": _text(gateway, about="The address of a stage; its routes attach to it."),
        "gateway/backendtrafficpolicy.yaml": _text(
            policy,
            about="Envoy Gateway 1.9 or later deals users by this header where each backendRef has a filter, as\n"
            "# ours have. It does not know the routes' salt: every endpoint deals the same users first.",
        ),
    }


def _text(*manifests: Mapping[str, Plain], about: str) -> str:
    return f"# {about}\n" + "---\n".join(f"{block(manifest)}\n" for manifest in manifests)


def _argocd(url: str, prefix: str) -> str:
    stage, name = "{{.path.basename}}", f"{GATEWAY}-{{{{.path.basename}}}}"
    source: Tree = {"repoURL": url, "targetRevision": "main"}
    stages: Tree = {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "ApplicationSet",
        "metadata": {"name": GATEWAY, "namespace": "argocd"},
        "spec": {
            "goTemplate": True,
            "goTemplateOptions": ["missingkey=error"],
            "generators": [
                {"git": {"repoURL": url, "revision": "main", "directories": [{"path": f"{prefix}stages/*"}]}}
            ],
            "template": {
                "metadata": {"name": name},
                "spec": {
                    "project": "default",
                    "sources": [
                        {**source, "path": f"{prefix}gateway"},
                        {**source, "path": f"{prefix}stages/{stage}"},
                    ],
                    "destination": {"server": "https://kubernetes.default.svc", "namespace": name},
                    "syncPolicy": _sync_policy(),
                },
            },
        },
    }
    gateway_class: Tree = {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Application",
        "metadata": {"name": f"{GATEWAY}-gateway-class", "namespace": "argocd"},
        "spec": {
            "project": "default",
            "source": {**source, "path": f"{prefix}gateway/class"},
            "destination": {"server": "https://kubernetes.default.svc", "namespace": "default"},
            "syncPolicy": _sync_policy(),
        },
    }
    about = "Argo CD: one Application for each stage, each in its own namespace. Set repoURL, then apply this file."
    return _text(gateway_class, stages, about=about)


def _sync_policy() -> Tree:
    return {"automated": {"prune": True, "selfHeal": True}, "syncOptions": ["CreateNamespace=true"]}


def _flux(url: str, prefix: str) -> str:
    repository: Tree = {
        "apiVersion": "source.toolkit.fluxcd.io/v1",
        "kind": "GitRepository",
        "metadata": {"name": GATEWAY, "namespace": "flux-system"},
        "spec": {"url": url, "ref": {"branch": "main"}, "interval": "1m"},
    }
    gateway_class = _flux_kustomization(f"{GATEWAY}-gateway-class", f"./{prefix}gateway/class", namespace="")
    stages = [manifest for stage in STAGES for manifest in _flux_stage(stage, prefix)]
    about = "Flux: one Kustomization for each stage, each in its own namespace. Set url, then apply this file."
    return _text(repository, gateway_class, *stages, about=about)


def _flux_stage(stage: str, prefix: str) -> list[Tree]:
    namespace = f"{GATEWAY}-{stage}"
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}},
        _flux_kustomization(f"{namespace}-gateway", f"./{prefix}gateway", namespace=namespace),
        _flux_kustomization(namespace, f"./{prefix}stages/{stage}", namespace=namespace),
    ]


def _flux_kustomization(name: str, path: str, *, namespace: str) -> Tree:
    spec: Tree = {
        "sourceRef": {"kind": "GitRepository", "name": GATEWAY},
        "path": path,
        "prune": True,
        "wait": True,
        "interval": "10m",
        "retryInterval": "1m",
    }
    if namespace:
        spec["targetNamespace"] = namespace
    return {
        "apiVersion": "kustomize.toolkit.fluxcd.io/v1",
        "kind": "Kustomization",
        "metadata": {"name": name, "namespace": "flux-system"},
        "spec": spec,
    }
