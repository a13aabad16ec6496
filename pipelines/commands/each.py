"""One verb for every endpoint of a stage: what a schedule runs. One endpoint's failure is told and stops no other."""

from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from mlflow_deploy_plugin import manifests
from mlflow_deploy_plugin.errors import (
    EXIT_BAD_VERDICT,
    EXIT_DONE,
    EXIT_PROGRAM,
    EXIT_RETRY_LATER,
    EXIT_USER,
    ModelserveError,
)
from mlflow_deploy_plugin.manifests.tree import stage_folder

if TYPE_CHECKING:
    from pipelines.commands.doors import Doors

WORST_FIRST: Final = (EXIT_PROGRAM, EXIT_USER, EXIT_BAD_VERDICT, EXIT_RETRY_LATER, EXIT_DONE)


def rollouts(target: str, doors: "Doors") -> tuple[str, ...]:
    """Endpoints of the target's stage that list more than one deployment: only they can have something to decide.

    Raises:
        ManifestError: the tree breaks a rule.
    """
    return tuple(name for name, deployments in _listed(target, doors).items() if len(deployments) > 1)


def endpoints(target: str, doors: "Doors") -> tuple[str, ...]:
    """All endpoints of the target's stage.

    Raises:
        ManifestError: the tree breaks a rule.
    """
    return tuple(_listed(target, doors))


def run(names: Sequence[str], options: Namespace, doors: "Doors", verb: Callable[[Namespace, "Doors"], int]) -> int:
    """``verb`` for each of ``names``; the worst exit code."""
    return worst([_one(Namespace(**{**vars(options), "endpoint": name}), doors, verb) for name in names])


def _listed(target: str, doors: "Doors") -> Mapping[str, Sequence[str]]:
    opened = doors.open_target(target)
    files = opened.files_at(opened.head(), stage_folder(opened.stage_name))
    return manifests.deployments_by_endpoint(files, opened.stage_name)


def worst(codes: Sequence[int]) -> int:
    """The exit code that tells most: what failed, before what is bad news, before what can wait."""
    return next((code for code in WORST_FIRST if code in codes), EXIT_DONE)


def _one(options: Namespace, doors: "Doors", verb: Callable[[Namespace, "Doors"], int]) -> int:
    try:
        return verb(options, _naming(options, doors))
    except ModelserveError as error:
        doors.warn(f"endpoint {options.endpoint}: {' '.join(str(error).split())}")
        return error.exit_code


def _naming(options: Namespace, doors: "Doors") -> "Doors":
    """Doors that say of which endpoint they speak; JSON says it itself."""
    if getattr(options, "json", False):
        return doors
    return replace(doors, say=lambda text: doors.say(f"{options.endpoint}: {text}"))
