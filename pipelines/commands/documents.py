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


def between(text: str, name: str, content: str) -> str:
    r"""``text`` with ``content`` between the two markers of ``name``.

    Raises:
        ConfigError: it has not both of them, each once and in order.

    >>> between("a\n<!-- t:begin -->\nold\n<!-- t:end -->\nb", "t", "new")
    'a\n<!-- t:begin -->\nnew\n<!-- t:end -->\nb'
    """
    begin, end = _markers(name)
    head, found, rest = text.partition(begin)
    _, closed, tail = rest.partition(end)
    if not found or not closed or begin in rest or end in tail:
        raise ConfigError(f"the document needs one line {begin!r} and, below it, one line {end!r}")
    return f"{head}{begin}\n{content}\n{end}{tail}"


def is_marked(text: str, name: str) -> bool:
    """Whether ``text`` has a marker of ``name``."""
    return any(marker in text for marker in _markers(name))


def _markers(name: str) -> tuple[str, str]:
    return f"<!-- {name}:begin -->", f"<!-- {name}:end -->"


def write(path: Path, text: str) -> None:
    """Replace its text.

    Raises:
        ConfigError: it cannot be written.
    """
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path} cannot be written ({error.strerror}); give another path") from error
