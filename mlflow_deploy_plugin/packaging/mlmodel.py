"""What a model's own ``MLmodel`` file says: enough to package it, without loading it."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from mlflow_deploy_plugin.errors import ModelError

MLMODEL: Final = "MLmodel"
PYFUNC: Final = "python_function"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFile:
    """The facts of one ``MLmodel``."""

    loader: str
    """``loader_module`` of the pyfunc flavour."""
    flavors: tuple[str, ...]
    """Every flavour, the pyfunc last."""
    python_version: str = ""
    mlflow_version: str = ""
    run_id: str = ""
    model_id: str = ""
    has_signature: bool = False
    columns: tuple[str, ...] = ()
    """Names of the signature's inputs; empty where it has none, or names none."""


def read(folder: Path) -> ModelFile:
    """The facts of the model in ``folder``.

    Raises:
        ModelError: it is no MLflow model, or one that cannot be loaded as ``python_function``.
    """
    written = _load(folder / MLMODEL)
    flavors = written.get("flavors") or {}
    if PYFUNC not in flavors:
        raise ModelError(
            f"the model has no {PYFUNC} flavour, only {', '.join(flavors) or 'none'};"
            " log it with its flavour's log_model, such as mlflow.sklearn.log_model"
        )
    return ModelFile(
        loader=str(flavors[PYFUNC].get("loader_module", "")),
        flavors=(*sorted(name for name in flavors if name != PYFUNC), PYFUNC),
        python_version=str(flavors[PYFUNC].get("python_version") or ""),
        mlflow_version=str(written.get("mlflow_version") or ""),
        run_id=str(written.get("run_id") or ""),
        model_id=str(written.get("model_id") or ""),
        has_signature=bool(written.get("signature")),
        columns=_columns(written.get("signature")),
    )


def _columns(signature: Any) -> tuple[str, ...]:  # noqa: ANN401  whatever YAML holds
    try:
        inputs = json.loads(signature["inputs"])
        return tuple(str(one["name"]) for one in inputs if one.get("name"))
    except (
        TypeError,
        KeyError,
        ValueError,
        AttributeError,
    ):  # MLflow says what is wrong with it when it loads the model
        return ()


def _load(path: Path) -> dict[str, Any]:
    if not path.is_file():
        below = [found.parent.name for found in path.parent.glob(f"*/{MLMODEL}")]
        hint = f"did you mean its folder {below[0]!r}?" if below else "name the folder that save_model wrote"
        raise ModelError(f"there is no {MLMODEL} file, so this is no MLflow model; {hint}")
    try:
        written = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
    except (YAMLError, UnicodeDecodeError) as error:
        first = str(error).splitlines()[0]
        raise ModelError(f"the {MLMODEL} file cannot be read ({first}); log the model again") from error
    if not isinstance(written, dict):
        raise ModelError(f"the {MLMODEL} file holds no mapping; log the model again")
    return written
