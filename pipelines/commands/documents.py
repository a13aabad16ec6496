"""Files that a person names on the command line: read and written with an error that says which."""

import json
from pathlib import Path
from typing import Any

from mlflow_deploy_plugin.errors import ConfigError


def read(path: Path) -> str:
    """Its text.

    Raises:
        ConfigError: it cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error


def read_json(path: Path) -> Any:  # noqa: ANN401  any JSON value
    """Its value.

    Raises:
        ConfigError: it cannot be read, or is no JSON.
    """
    try:
        return json.loads(read(path))
    except ValueError as error:
        raise ConfigError(f"{path} is not JSON: {error}") from error


def write(path: Path, text: str) -> None:
    """Replace its text.

    Raises:
        ConfigError: it cannot be written.
    """
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path} cannot be written ({error.strerror}); give another path") from error
