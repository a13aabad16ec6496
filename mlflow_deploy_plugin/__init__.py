"""modelserve: an MLflow deployment target whose only desired state is git.

Importing this package costs nothing; ``mlflow_deploy_plugin.client`` is what MLflow loads. ``log_reference`` logs the
training sample that drift is measured against; it is imported when it is asked for.
"""

from typing import TYPE_CHECKING

from mlflow_deploy_plugin.version import VERSION as __version__  # noqa: N811  the name that Python's tools read

if TYPE_CHECKING:
    from mlflow_deploy_plugin.packaging.reference import log_reference

__all__ = ["__version__", "log_reference"]


def __getattr__(name: str) -> object:
    if name == "log_reference":  # PEP 562: a Bento imports this package too, and has no packaging room
        from mlflow_deploy_plugin.packaging.reference import log_reference  # noqa: PLC0415

        return log_reference
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
