"""Targets: where a deployment is written down, and who brings it to life.

``open_target("modelserve")`` is this machine; ``modelserve:/…`` any git repository. :mod:`.intents` says what the tree
should become and is pure; :mod:`.lifecycle` packages and commits; :mod:`.local` waits for the agent and takes back what
it could not bring to life; :mod:`.remote` commits and pushes. Nothing here decides *when* something is deployed.
"""

from mlflow_deploy_plugin.targets.base import DeploymentTarget, Outcome, Reading, Standing
from mlflow_deploy_plugin.targets.opening import open_target

__all__ = ["DeploymentTarget", "Outcome", "Reading", "Standing", "open_target"]
