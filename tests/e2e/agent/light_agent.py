"""``modelserve agent`` whose Bento is a bare source folder, ``LIGHT_BENTO``: our own server, without packaging."""

import os
import sys
from pathlib import Path

from mlflow_deploy_plugin.agent.launch import Launcher, Place, log_of, worker_environment
from mlflow_deploy_plugin.agent.processes import Launch
from mlflow_deploy_plugin.agent.run import main
from mlflow_deploy_plugin.agent.units import Unit
from mlflow_deploy_plugin.config.home import Home


def launcher(home: Home) -> Launcher:
    def launch(unit: Unit, place: Place) -> Launch:
        source = Path(os.environ["LIGHT_BENTO"])
        serve = ("-m", "mlflow_deploy_plugin.serving.launch", "--bento", str(source), "--host", "127.0.0.1")
        return Launch(
            command=(sys.executable, *serve, "--port", str(place.port)),
            cwd=source,
            environment=worker_environment(unit, place, home=home),
            log=log_of(home, unit, place.slot),
            record=place.record,
        )

    return launch


sys.exit(main(launcher=launcher))
