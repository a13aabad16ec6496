"""The ``modelserve`` command: what MLflow's own command line has no word for.

The agent's start, stop and state, the history of an endpoint, predictions from any file that curl would send, and the
endpoint commands that MLflow's command line breaks. Importing this is cheap: help and refusals come at once.
"""

from mlflow_deploy_plugin.cli.main import main

__all__ = ["main"]
