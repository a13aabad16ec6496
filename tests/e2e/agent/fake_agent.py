"""``modelserve agent`` whose models are ``fake_bento.py``: everything real but the Bentos."""

import sys
from pathlib import Path

from mlflow_deploy_plugin.agent.launch import Launcher, Place, log_of, worker_environment
from mlflow_deploy_plugin.agent.processes import Launch
from mlflow_deploy_plugin.agent.run import main
from mlflow_deploy_plugin.agent.units import Unit
from mlflow_deploy_plugin.config.home import Home
from mlflow_deploy_plugin.errors import AgentError

SERVER = Path(__file__).with_name("fake_bento.py")


def launcher(home: Home) -> Launcher:
    def launch(unit: Unit, place: Place) -> Launch:
        if unit.deployment.model.bento.startswith("absent"):
            raise AgentError(f"Bento {unit.deployment.model.bento} is not in the store")
        return Launch(
            command=(sys.executable, "-S", str(SERVER), "--host", "127.0.0.1", "--port", str(place.port)),
            cwd=SERVER.parent,
            environment=worker_environment(unit, place, home=home),
            log=log_of(home, unit, place.slot),
            record=place.record,
        )

    return launch


sys.exit(main(launcher=launcher))
