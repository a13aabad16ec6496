"""Compiling a model for its Bento, in a process of its own: the Bento's Python and the copied serving code.

The process loads the model, which nothing else here does. Whatever goes wrong there, even its death, only means that
the generic path serves: packaging does not fail for it.
"""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from mlflow_deploy_plugin.packaging.build import last_lines

MODULE: Final = "mlflow_deploy_plugin.serving.compiling"
TIMEOUT_S: Final = 180
"""Seconds; a forest so large that its conversion takes longer gains little by it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CompileJob:
    """What is to be compiled, and by whom."""

    python: Path | None
    """Interpreter that will serve; ``None``: the running one."""
    code: Path
    """Folder that holds the copied code; the form is written below it."""
    model: Path
    out: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What serves, and why."""

    form: str = ""
    """Empty: the generic path."""
    reason: str = ""
    requirements: tuple[str, ...] = ()
    """Lines that the Bento needs for its form."""


class Compiler(Protocol):
    """Compiles one model."""

    def __call__(self, job: CompileJob, *, keep_open: tuple[int, ...]) -> Outcome:
        """What became of it; never raises for the model's sake. ``keep_open`` are descriptors that a child inherits."""


def compile_model(job: CompileJob, *, keep_open: tuple[int, ...] = ()) -> Outcome:
    """Compile in a child process."""
    verdict = job.out.with_suffix(".verdict.json")
    command = [str(job.python or sys.executable), "-P", "-W", "ignore", "-m", MODULE]
    arguments = ["--model", str(job.model), "--out", str(job.out), "--verdict", str(verdict)]
    try:
        done = subprocess.run(
            [*command, *arguments],
            env=_environment(job),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=TIMEOUT_S,
            pass_fds=keep_open,
        )
    except subprocess.TimeoutExpired:
        return Outcome(reason=f"compiling it takes more than {TIMEOUT_S} s")
    if done.returncode != 0 or not verdict.is_file():
        return Outcome(reason=f"compiling it failed (status {done.returncode}: {last_lines(done.stderr, 1)})")
    written: dict[str, Any] = json.loads(verdict.read_text(encoding="utf-8"))
    verdict.unlink()
    return Outcome(form=written["form"], reason=written["reason"], requirements=tuple(written["requirements"]))


def _environment(job: CompileJob) -> dict[str, str]:
    kept = {name: text for name, text in os.environ.items() if name != "PYTHONHOME"}
    return kept | {
        "PYTHONPATH": str(job.code),
        "PYTHONDONTWRITEBYTECODE": "1",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "CUDA_VISIBLE_DEVICES": "",
    }
