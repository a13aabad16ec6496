"""``python -m mlflow_deploy_plugin.cli`` is ``modelserve``."""

import sys

from mlflow_deploy_plugin.cli.main import main

sys.exit(main())
