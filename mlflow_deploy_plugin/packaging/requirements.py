"""What a model needs installed: its own pinned lines, what serving needs besides, and how this Python differs.

Reads and compares; installs nothing and imports none of the packages.
"""

import re
from collections.abc import Callable, Iterable
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any, Final

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from ruamel.yaml import YAML

from mlflow_deploy_plugin.errors import ModelError

REQUIREMENTS: Final = "requirements.txt"
CONDA: Final = "conda.yaml"
PYTHON_ENV: Final = "python_env.yaml"

SERVING: Final = (
    "bentoml>=1.4.39",
    "grpcio>=1.62",
    "numpy>=1.26",
    "orjson>=3.10",
    "pandas>=2.2",
    "prometheus-client>=0.20",
    "protobuf>=4.25",
    "pyarrow>=15",
    "starlette>=0.37",
    "uvicorn[standard]>=0.30",
)
"""What :mod:`mlflow_deploy_plugin.serving` imports; a model's own pin of the same package goes before it."""

Installed = Callable[[str], str | None]
"""Version of a package in the Python that will run the Bento; ``None``: not there."""


def of_model(folder: Path) -> tuple[str, ...]:
    """The lines of the model's requirements, with nested files and constraints resolved; empty where it has none.

    Raises:
        ModelError: a nested file is missing or lies outside the model.
    """
    path = folder / REQUIREMENTS
    lines = _lines(folder, path) if path.is_file() else _conda_lines(folder)
    own = [line for line in lines if not line.startswith("-c ")]
    pins = {_name(pin): pin for line in lines if line.startswith("-c ") for pin in _nested(folder, line)}
    return tuple(dict.fromkeys(_pinned(line, pins) for line in own))


def with_serving(lines: Iterable[str], *, mlflow_version: str) -> tuple[str, ...]:
    """``lines`` and what serving needs beside them: options first, then sorted by name.

    >>> with_serving(["numpy==2.0", "--pre"], mlflow_version="3.17.2")[:2]
    ('--pre', 'bentoml>=1.4.39')
    """
    own = list(lines)
    named = {_name(line) for line in own}
    wanted = [*SERVING, f"mlflow=={mlflow_version}" if mlflow_version else "mlflow"]
    added = [line for line in wanted if _name(line) not in named]
    packages = [line for line in (*own, *added) if not line.startswith("-")]
    return (*(line for line in own if line.startswith("-")), *sorted(packages, key=str.lower))


def joined(lines: Iterable[str], more: Iterable[str]) -> tuple[str, ...]:
    """``lines``, in their order, and those of ``more`` whose package none of them names.

    >>> joined(["--pre", "numpy==2.0", "pandas"], ["onnxruntime==1.32.0", "numpy"])
    ('--pre', 'numpy==2.0', 'onnxruntime==1.32.0', 'pandas')
    """
    own = list(lines)
    named = {_name(line) for line in own}
    packages = [line for line in (*own, *(line for line in more if _name(line) not in named)) if line[0] != "-"]
    return (*(line for line in own if line.startswith("-")), *sorted(packages, key=str.lower))


def python_version(folder: Path, *, otherwise: str) -> str:
    """``MAJOR.MINOR`` of the Python that logged the model.

    >>> python_version(Path("/nowhere"), otherwise="3.11.7")
    '3.11'
    """
    path = folder / PYTHON_ENV
    written = YAML(typ="safe").load(path.read_text(encoding="utf-8")) if path.is_file() else None
    text = str(written.get("python") or otherwise) if isinstance(written, dict) else otherwise
    return ".".join(text.split(".")[:2])


def local_files(folder: Path, lines: Iterable[str]) -> tuple[str, ...]:
    """The lines that name a file of the model, such as a wheel that was logged with it."""
    return tuple(line for line in lines if _is_file(folder, line))


def beside(lines: Iterable[str], *, folder: Path, prefix: str) -> tuple[str, ...]:
    """``lines`` with the model's own files named from the folder that holds the model."""
    return tuple(f"./{prefix}/{line.removeprefix('./')}" if _is_file(folder, line) else line for line in lines)


def differences(lines: Iterable[str], *, installed: Installed, python: str, logged_python: str) -> tuple[str, ...]:
    """Warnings on where the running Python is not what the model was logged with.

    >>> found = differences(["numpy==1.0"], installed=lambda _: "2.0", python="3.11", logged_python="3.11")
    >>> print(found[0].partition(";")[0])
    the model was logged with numpy==1.0 (here: 2.0)
    """
    other, missing = [], []
    for requirement in _requirements(lines):
        found = installed(requirement.name)
        if found is None:
            missing.append(f"{requirement.name}{requirement.specifier}")
        elif not requirement.specifier.contains(found, prereleases=True):
            other.append(f"{requirement.name}{requirement.specifier} (here: {found})")
    if logged_python and logged_python != python:
        other.insert(0, f"Python {logged_python} (here: {python})")
    warnings = []
    if other:
        warnings.append(
            f"the model was logged with {', '.join(other)}; predictions may differ,"
            " -C env_manager=uv installs what it names"
        )
    if missing:
        warnings.append(
            f"not installed here: {', '.join(missing)}; loading the model will probably fail,"
            " install them or use -C env_manager=uv"
        )
    return tuple(warnings)


def installed_here(name: str) -> str | None:
    """Version of a package in this Python."""
    try:
        return installed_version(name)
    except PackageNotFoundError:
        return None


def _lines(folder: Path, path: Path) -> list[str]:
    """Logical lines of a requirements file: continued ones joined, comments gone, nested files read in place."""
    text = re.sub(r"\\\s*\n", " ", _inside(folder, path).read_text(encoding="utf-8"))
    lines: list[str] = []
    for raw in text.splitlines():
        line = " ".join(re.sub(r"(^|\s)#.*$", "", raw).split())
        if nested := re.fullmatch(r"(?:-r|--requirement)[\s=]\s*(.+)", line):
            lines += _lines(folder, path.parent / nested[1])
        elif constraint := re.fullmatch(r"(?:-c|--constraint)[\s=]\s*(.+)", line):
            remote = "://" in constraint[1]  # left to the installer, like any other option
            lines.append(f"--constraint {constraint[1]}" if remote else f"-c {path.parent / constraint[1]}")
        elif line:
            lines.append(line)
    return lines


def _nested(folder: Path, line: str) -> list[str]:
    return [pin for pin in _lines(folder, Path(line.removeprefix("-c "))) if not pin.startswith("-")]


def _inside(folder: Path, path: Path) -> Path:
    if not path.resolve().is_relative_to(folder.resolve()) or not path.is_file():
        raise ModelError(f"the model's requirements name {path.name!r}, which the model lacks; log it again with it")
    return path


def _conda_lines(folder: Path) -> list[str]:
    """Older models state their pip packages in ``conda.yaml`` alone."""
    path = folder / CONDA
    written: Any = YAML(typ="safe").load(path.read_text(encoding="utf-8")) if path.is_file() else None
    entries = written.get("dependencies", []) if isinstance(written, dict) else []
    return [str(line) for entry in entries if isinstance(entry, dict) for line in entry.get("pip", [])]


def _pinned(line: str, pins: dict[str, str]) -> str:
    """``line`` with the version that a constraint sets for its package, where it sets none itself."""
    name = _name(line)
    if name not in pins:
        return line
    [own, *_] = [*_requirements([line]), None]
    [pin, *_] = [*_requirements([pins[name]]), None]
    if own is None or pin is None or own.url:
        return line
    own.specifier &= pin.specifier
    return str(own)


def _requirements(lines: Iterable[str]) -> list[Requirement]:
    """The lines that a version can be compared with: no options, paths, or packages of another platform."""
    found = []
    for line in lines:
        try:
            requirement = Requirement(line.partition(" --")[0])
        except InvalidRequirement:
            continue
        if requirement.marker is None or requirement.marker.evaluate():
            found.append(requirement)
    return found


def _name(line: str) -> str:
    match = re.match(r"[A-Za-z0-9][\w.-]*", line)
    return canonicalize_name(match[0]) if match else line


def _is_file(folder: Path, line: str) -> bool:
    return not line.startswith("-") and (folder / line).is_file()
