"""Python environments of ``env_manager=uv``: one per set of requirements and Python version, made once, shared.

Made in the workspace and renamed when whole (``uv venv --relocatable``), so that a half-installed one is never run.
Indexes, caches and proxies are uv's own settings: ``UV_INDEX_URL``, ``UV_FIND_LINKS`` and the rest pass through.
"""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

from mlflow_deploy_plugin.config.home import Home
from mlflow_deploy_plugin.errors import PackagingError
from mlflow_deploy_plugin.packaging import digest
from mlflow_deploy_plugin.packaging.build import last_lines
from mlflow_deploy_plugin.packaging.work import exclusive, workspace
from mlflow_deploy_plugin.spec.bento import BentoSpec

UV: Final = "uv"
LOCAL: Final = "local"
TIMEOUT_S: Final = 1800
NAME_DIGITS: Final = 16


def folder(home: Home, spec: BentoSpec) -> Path:
    """Where the environment of ``spec`` lies, made or not."""
    digits = spec.environment_digest.removeprefix(digest.PREFIX)[:NAME_DIGITS]
    return home.environments / f"{spec.python_version}-{digits}"


def python(home: Home, spec: BentoSpec) -> Path | None:
    """The interpreter that runs the Bento of ``spec``; ``None``: the one that runs us.

    Raises:
        PackagingError: the environment is gone; :func:`ensure` makes it again.
    """
    if spec.env_manager == LOCAL:
        return None
    interpreter = folder(home, spec) / "bin" / "python"
    if not interpreter.exists():
        raise PackagingError(f"environment {folder(home, spec)} is gone; deploy {spec.model_uri} again to make it")
    return interpreter


def ensure(home: Home, spec: BentoSpec, source: Path) -> Path | None:
    """The interpreter of ``spec``, its environment made where it is missing; ``source`` is the Bento's ``src``.

    Raises:
        PackagingError: uv cannot make it; the message ends with uv's last lines.
        RetryLaterError: another process is making it and does not finish.
    """
    if spec.env_manager == LOCAL:
        return None
    final = folder(home, spec)
    with exclusive(home, f"environment-{final.name}"):
        if not (final / "bin" / "python").exists():
            with workspace(home) as work:
                made = _make(work.folder, spec, source)
                shutil.rmtree(final, ignore_errors=True)
                final.parent.mkdir(parents=True, exist_ok=True)
                made.rename(final)
    return final / "bin" / "python"


def _make(into: Path, spec: BentoSpec, source: Path) -> Path:
    made = into / "environment"
    lines = into / "requirements.txt"
    lines.write_text("\n".join(spec.requirements) + "\n", encoding="utf-8")
    _uv(["venv", "--relocatable", "--no-project", "--python", spec.python_version, str(made)], source, spec)
    _uv(["pip", "install", "--python", str(made / "bin" / "python"), "--requirements", str(lines)], source, spec)
    return made


def _uv(arguments: list[str], folder: Path, spec: BentoSpec) -> None:
    import uv  # noqa: PLC0415  finds its own binary; nobody else needs it

    outside = {name: text for name, text in os.environ.items() if name not in {"VIRTUAL_ENV", "PYTHONPATH"}}
    try:
        done = subprocess.run(
            [uv.find_uv_bin(), *arguments, "--quiet", "--no-progress"],
            cwd=folder,
            env=outside,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=TIMEOUT_S,
        )
    except (subprocess.TimeoutExpired, FileNotFoundError) as error:
        raise PackagingError(f"uv could not make the environment of {spec.model_uri}: {error}") from error
    if done.returncode != 0:
        raise PackagingError(
            f"uv could not make the environment of {spec.model_uri} (set UV_INDEX_URL or UV_FIND_LINKS where the"
            f" packages lie elsewhere, or use -C env_manager=local): {last_lines(done.stderr)}"
        )
