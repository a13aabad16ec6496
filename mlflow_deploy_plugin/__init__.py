"""modelserve: an MLflow deployment target whose only desired state is git.

Importing this package costs nothing; ``mlflow_deploy_plugin.client`` is what MLflow loads.
"""

from mlflow_deploy_plugin.version import VERSION as __version__

__all__ = ["__version__"]
