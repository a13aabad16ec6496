"""Our own code that travels inside a Bento: a copy of the rooms that serve, and nothing else of the plugin."""

import shutil
from pathlib import Path
from typing import Final

PACKAGE: Final = Path(__file__).resolve().parents[1]
"""The installed ``mlflow_deploy_plugin``."""

FILES: Final = ("__init__.py", "py.typed", "errors.py", "version.py")
ROOMS: Final = ("spec", "attribution", "serving")

SERVICE_FILE: Final = "service.py"
SERVICE: Final = '''"""The service of this Bento; what it does lies in mlflow_deploy_plugin.serving beside this file."""

from mlflow_deploy_plugin.serving.service import ModelService

__all__ = ["ModelService"]
'''


def copy(package: Path, into: Path) -> None:
    """Copy the serving rooms of ``package`` to ``into/mlflow_deploy_plugin``, and write the service file beside it."""
    target = into / PACKAGE.name
    target.mkdir(parents=True)
    for name in FILES:
        shutil.copyfile(package / name, target / name)
    for room in ROOMS:
        shutil.copytree(package / room, target / room, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
    (into / SERVICE_FILE).write_text(SERVICE, encoding="utf-8")
