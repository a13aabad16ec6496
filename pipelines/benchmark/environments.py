"""The door to uv: an environment for each peer, made once in a folder that outlives the run."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Final

from mlflow_deploy_plugin.packaging import digest
from mlflow_deploy_plugin.packaging.build import last_lines
from pipelines.benchmark.stage import SubjectError

TIMEOUT_S: Final = 1800
_DIGITS: Final = 12
_AS_PIP: Final = {"PIP_FIND_LINKS": "UV_FIND_LINKS", "PIP_INDEX_URL": "UV_DEFAULT_INDEX"}
"""uv looks where pip was told to, so that peers get the builds that we run on (torch without CUDA, say)."""
_WHOLE: Final = "whole"
"""File that is written when everything is installed: an interrupted environment is made again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """One environment."""

    name: str
    requirements: tuple[str, ...]
    python: str = f"{sys.version_info.major}.{sys.version_info.minor}"
    """Version or path, as uv takes it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Environments:
    """Environments in one folder."""

    folder: Path

    def bin(self, wanted: Wanted) -> Path:
        """The ``bin`` folder of an environment, made where it is missing.

        Raises:
            SubjectError: uv cannot make it; the message ends with its last lines.
        """
        made = self._folder(wanted)
        if not (made / _WHOLE).exists():
            shutil.rmtree(made, ignore_errors=True)
            made.parent.mkdir(parents=True, exist_ok=True)
            _uv("venv", "--no-project", "--python", wanted.python, str(made))
            _uv("pip", "install", "--python", str(made), *wanted.requirements)
            (made / _WHOLE).touch()
        return made / "bin"

    def version(self, wanted: Wanted, package: str) -> str:
        """Version of ``package`` in that environment; empty where it is not there."""
        pattern = f"lib/python*/site-packages/{package.replace('-', '_')}-*.dist-info"
        found = sorted(self._folder(wanted).glob(pattern))
        return found[0].name.removesuffix(".dist-info").rpartition("-")[2] if found else ""

    def _folder(self, wanted: Wanted) -> Path:
        kind = digest.of_lines((wanted.python, *wanted.requirements)).removeprefix(digest.PREFIX)[:_DIGITS]
        return self.folder / f"{wanted.name}-{kind}"


def same_as_here(*packages: str) -> tuple[str, ...]:
    """Requirements of the versions that this process would use, so that all compute with the same libraries."""
    return tuple(map(_pinned, packages))


def _pinned(package: str) -> str:
    try:
        return f"{package}=={metadata.version(package).partition('+')[0]}"  # a local label such as +cpu is no index's
    except metadata.PackageNotFoundError:
        return package


def _uv(*arguments: str) -> None:
    import uv  # noqa: PLC0415  finds its own binary

    told = {ours: os.environ[pips] for pips, ours in _AS_PIP.items() if pips in os.environ}
    kept = {name: text for name, text in os.environ.items() if name not in {"VIRTUAL_ENV", "PYTHONPATH"}}
    try:
        done = subprocess.run(
            [uv.find_uv_bin(), *arguments, "--quiet", "--no-progress"],
            env={**told, **kept},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=TIMEOUT_S,
        )
    except (subprocess.TimeoutExpired, FileNotFoundError) as error:
        raise SubjectError(f"uv could not make its environment: {error}") from error
    if done.returncode != 0:
        raise SubjectError(f"uv could not make its environment: {last_lines(done.stderr)}")
