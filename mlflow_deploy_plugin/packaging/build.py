"""Building a Bento in a process of its own: BentoML's import, its global settings and its store stay out of ours.

The child (:mod:`.build_child`) runs with ``BENTOML_HOME`` in the workspace and imports the *copied* serving code, so a
Bento that cannot stand alone fails here and not in production.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Protocol

from mlflow_deploy_plugin.errors import PackagingError

CHILD: Final = Path(__file__).with_name("build_child.py")
DROPPED: Final = frozenset({"BENTOML_CONFIG", "BENTOML_CONFIG_OPTIONS"})
TIMEOUT_S: Final = 600
SHOWN_LINES: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildJob:
    """What BentoML is asked to build."""

    context: str
    """Folder that becomes ``src``: service, serving code, description; all but the model."""
    home: str
    """``BENTOML_HOME`` to build into."""
    name: str
    version: str
    service: str
    requirements: tuple[str, ...]
    python_version: str
    description: str
    labels: Mapping[str, str]
    build_include: tuple[str, ...] = ()
    """Paths in ``src`` that the installation of the requirements needs."""


class Builder(Protocol):
    """Builds one Bento."""

    def __call__(self, job: BuildJob, *, keep_open: tuple[int, ...]) -> Path:
        """Folder of the finished Bento, without its model; ``keep_open`` are descriptors that the child inherits."""


def build(job: BuildJob, *, keep_open: tuple[int, ...] = ()) -> Path:
    """Build by BentoML in a child process.

    Raises:
        PackagingError: the child failed; the message ends with its last lines.
    """
    order = Path(job.home).with_suffix(".json")
    order.write_text(json.dumps(asdict(job)), encoding="utf-8")
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-W", "ignore", str(CHILD), str(order)],
            env=_environment(job),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=TIMEOUT_S,
            pass_fds=keep_open,
        )
    except subprocess.TimeoutExpired as error:
        raise PackagingError(f"BentoML did not finish {job.name} within {TIMEOUT_S} s; try again") from error
    if done.returncode != 0:
        raise PackagingError(f"BentoML could not build {job.name}:{job.version}: {last_lines(done.stderr)}")
    return Path(job.home, "bentos", job.name, job.version)


def last_lines(text: str, count: int = SHOWN_LINES) -> str:
    """The end of what a program printed, in one line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return " | ".join(lines[-count:]) or "it printed nothing"


def _environment(job: BuildJob) -> dict[str, str]:
    kept = {name: text for name, text in os.environ.items() if name not in DROPPED}
    path = os.pathsep.join(filter(None, (job.context, kept.get("PYTHONPATH", ""))))
    return kept | {
        "BENTOML_HOME": job.home,
        "BENTOML_DO_NOT_TRACK": "True",
        "PYTHONPATH": path,
        "PYTHONDONTWRITEBYTECODE": "1",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
