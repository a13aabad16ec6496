"""Taking one endpoint back to an earlier tree, and nothing else with it. Pure.

A commit that the agent could not bring to life is answered by a new commit, never by rewriting history; what others
changed in other endpoints meanwhile stays.
"""

from mlflow_deploy_plugin import manifests
from mlflow_deploy_plugin.errors import ConflictError
from mlflow_deploy_plugin.manifests.model import Files
from mlflow_deploy_plugin.manifests.tree import endpoint_folder, stage_kustomization


def part(files: Files, stage: str, endpoint: str) -> Files:
    """The files of one endpoint."""
    inside = endpoint_folder(stage, endpoint)
    return {path: text for path, text in files.items() if path.startswith(inside)}


def restore(files: Files, *, failed: Files, good: Files, stage: str, endpoint: str) -> Files:
    """``files`` with ``endpoint`` as it was in ``good``.

    Raises:
        ConflictError: somebody has changed the endpoint since ``failed``; theirs stays.
    """
    if part(files, stage, endpoint) != part(failed, stage, endpoint):
        raise ConflictError(f"endpoint {endpoint!r} was changed by somebody else meanwhile, and is left as it is")
    earlier = part(good, stage, endpoint)
    if not earlier:
        return manifests.remove_endpoint(files, stage, endpoint)
    others = {path: text for path, text in files.items() if not path.startswith(endpoint_folder(stage, endpoint))}
    if not part(files, stage, endpoint):  # it was removed: the stage's list of resources must name it again
        listing = stage_kustomization(stage)
        others[listing] = good[listing]
    return {**others, **earlier}
