"""The tree of the GitOps repository: read it strictly, change it in place, predict who gets what. Pure.

Text in, text out: files are a mapping from path to text, and no function here knows where they come from.
"""

from mlflow_deploy_plugin.manifests import diff, split
from mlflow_deploy_plugin.manifests.edit import (
    add_deployment,
    add_endpoint,
    add_evidence,
    moved_route,
    remove_deployment,
    remove_endpoint,
    replace_deployment,
    set_mirror,
    set_override,
    set_split,
    with_stage,
)
from mlflow_deploy_plugin.manifests.parse import (
    deployments_by_endpoint,
    find_endpoint,
    parse_endpoint,
    parse_stage,
    stages,
)
from mlflow_deploy_plugin.manifests.render import holds as holds_text
from mlflow_deploy_plugin.manifests.render import time_text
from mlflow_deploy_plugin.manifests.skeleton import skeleton

__all__ = [
    "add_deployment",
    "add_endpoint",
    "add_evidence",
    "deployments_by_endpoint",
    "diff",
    "find_endpoint",
    "holds_text",
    "moved_route",
    "parse_endpoint",
    "parse_stage",
    "remove_deployment",
    "remove_endpoint",
    "replace_deployment",
    "set_mirror",
    "set_override",
    "set_split",
    "skeleton",
    "split",
    "stages",
    "time_text",
    "with_stage",
]
