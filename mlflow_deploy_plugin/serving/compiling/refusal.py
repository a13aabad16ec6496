"""Why a model is not compiled: news for the log, no failure."""

from mlflow_deploy_plugin.errors import ModelserveError


class RefusedError(ModelserveError):
    """This model, or this form of it, is not compiled; the generic path serves."""


def first_line(error: Exception) -> str:
    """Its type, and the beginning of what it says."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:120]}" if lines else type(error).__name__
