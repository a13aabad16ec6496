"""Models become Bentos: ``package(model_uri, home=..., config=...)`` builds one per identity and says how to run it.

The only room that knows BentoML's builder, MLflow's registry and uv. It does not serve, and writes nothing but
``HOME/bentoml``, ``HOME/environments`` and ``HOME/packaging``.
"""

from mlflow_deploy_plugin.packaging.environment import ensure as ensure_environment
from mlflow_deploy_plugin.packaging.environment import python as interpreter
from mlflow_deploy_plugin.packaging.packing import Doors, Packaged, PackagingOptions, package, placeholder_image
from mlflow_deploy_plugin.packaging.store import find, read_spec

__all__ = [
    "Doors",
    "Packaged",
    "PackagingOptions",
    "ensure_environment",
    "find",
    "interpreter",
    "package",
    "placeholder_image",
    "read_spec",
]
