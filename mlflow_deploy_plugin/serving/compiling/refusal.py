"""Why a model is not compiled: news for the log, no failure."""

from mlflow_deploy_plugin.errors import ModelserveError


class RefusedError(ModelserveError):
    """This model, or this form of it, is not compiled; the generic path serves."""
