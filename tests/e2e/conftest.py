"""Clients that others wrote and that want versions of their own: in environments beside ours."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import uv

Foreign = Callable[..., str]


@pytest.fixture(scope="session")
def foreign_python(tmp_path_factory: pytest.TempPathFactory) -> Foreign:
    """The Python of an environment with ``packages``, made once in a session; skips where they cannot be had.

    ``bare`` are installed without what they require.
    """
    made: dict[tuple[str, ...], str] = {}

    def make(*packages: str, bare: tuple[str, ...] = ()) -> str:
        if (packages + bare) not in made:
            made[packages + bare] = environment(tmp_path_factory.mktemp("clients"), packages, bare)
        return made[packages + bare]

    return make


def environment(folder: Path, packages: tuple[str, ...], bare: tuple[str, ...]) -> str:
    command, python = uv.find_uv_bin(), str(folder / "bin" / "python")
    steps = [["venv", "--quiet", "--clear", "--python", sys.executable, str(folder)]]
    steps += [["pip", "install", "--quiet", "--python", python, *packages]]
    steps += [["pip", "install", "--quiet", "--no-deps", "--python", python, *bare]] if bare else []
    for step in steps:
        done = subprocess.run([command, *step], capture_output=True, text=True, check=False, timeout=280)
        if done.returncode:
            pytest.skip(f"uv cannot install {', '.join(packages + bare)}: {done.stderr.strip()[-300:]}")
    return python
