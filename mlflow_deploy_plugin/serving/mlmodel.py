"""The MLmodel file of a model folder, parsed. Its signature is read by :mod:`.signature`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mlflow_deploy_plugin.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def read_mlmodel(folder: Path) -> Mapping[str, Any]:
    """The file's mapping.

    Raises:
        ModelError: it is not there or no such file.
    """
    import yaml  # noqa: PLC0415  BentoML and MLflow bring it

    path = folder / "MLmodel"
    try:
        text = path.read_text(encoding="utf-8")
        parsed = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506  a safe loader
    except (OSError, yaml.YAMLError) as error:
        raise ModelError(f"{path} cannot be read ({error}); package the model again") from error
    if not isinstance(parsed, dict):
        raise ModelError(f"{path} is no MLmodel file; package the model again")
    return parsed
