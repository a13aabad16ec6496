"""``modelserve version``."""

import argparse
import sys
from collections.abc import Mapping

from mlflow_deploy_plugin.errors import EXIT_DONE
from mlflow_deploy_plugin.version import VERSION


def version(options: argparse.Namespace, environment: Mapping[str, str]) -> int:  # noqa: ARG001  every command has them
    """The version of this distribution."""
    sys.stdout.write(f"modelserve {VERSION}\n")
    return EXIT_DONE
