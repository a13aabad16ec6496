"""The Bento store of a home: where a Bento lies, what it says of itself, and how a new one gets there.

BentoML reads the same store (``BENTOML_HOME=HOME/bentoml bentoml list``). This room reads and renames folders and
never imports BentoML.
"""

import json
import shutil
from pathlib import Path
from typing import Final

from mlflow_deploy_plugin.config.home import Home
from mlflow_deploy_plugin.errors import PackagingError
from mlflow_deploy_plugin.spec.bento import SPEC_FILE, BentoSpec

BENTO_FILE: Final = "bento.yaml"
SOURCE: Final = "src"
LATEST: Final = "latest"


def find(home: Home, tag: str) -> Path | None:
    """Folder of the Bento of ``tag``, where the store has it whole."""
    folder = home.bento(tag)
    return folder if (folder / BENTO_FILE).is_file() and (folder / SOURCE / SPEC_FILE).is_file() else None


def read_spec(bento: Path) -> BentoSpec:
    """What the Bento in folder ``bento`` says of itself.

    Raises:
        PackagingError: it is no Bento of ours, or of a later version of modelserve.
    """
    path = bento / SOURCE / SPEC_FILE
    try:
        return BentoSpec.from_json(path.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError, TypeError) as error:
        raise PackagingError(f"{path} cannot be read ({error}); delete {bento} and deploy the model again") from error


def publish(home: Home, built: Path, tag: str) -> Path:
    """Move the finished Bento ``built`` to its place by one rename; where it lies then.

    The caller holds the lock of the Bento's name.
    """
    final = home.bento(tag)
    final.parent.mkdir(parents=True, exist_ok=True)
    if final.exists():  # not one of ours: ours arrive whole
        shutil.rmtree(final)
    built.rename(final)
    _point_latest(final)
    return final


def _point_latest(final: Path) -> None:
    """BentoML's own pointer, so that ``bentoml serve NAME`` finds the newest."""
    draft = final.parent / f".{LATEST}"
    draft.write_text(final.name, encoding="utf-8")
    draft.replace(final.parent / LATEST)
