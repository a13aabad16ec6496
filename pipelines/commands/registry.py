"""Let aliases and tags of the model registry follow what git says: `registry sync`.

The version that is stable becomes `champion`, a canary with users `challenger` (in stages other than production with
the stage behind it), and every version that stands in the tree says by its tags where it serves and since which commit.
A second run says `unchanged`. Changes no repository, and no traffic: that follows git alone.

Exit codes: 0 done, nothing to do or no registry named, 2 for what you can fix, 75 where the registry does not answer;
then nothing is lost, run it again.
"""

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, assert_never

from mlflow_deploy_plugin.errors import EXIT_DONE

if TYPE_CHECKING:
    from mlflow_deploy_plugin.targets.base import DeploymentTarget
    from pipelines.commands.doors import Doors
    from pipelines.registry.following import Change, Wanted


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``registry``."""
    parser.add_argument("action", choices=("sync",), help="sync: make the registry say what git says")
    parser.add_argument("--target", default="modelserve", metavar="URI", help="repository and stage (default: ours)")
    parser.add_argument(
        "--registry", metavar="URI", help="registry (default: MLFLOW_REGISTRY_URI or MLFLOW_TRACKING_URI); empty: none"
    )
    parser.add_argument("--dry-run", action="store_true", help="say what would be changed")
    parser.add_argument("--summary", default="", metavar="FILE", help="add the changes to FILE, Markdown")


def run(options: argparse.Namespace, doors: "Doors") -> int:
    """Read both, change the registry where it says something else."""
    from pipelines.commands import summary  # noqa: PLC0415
    from pipelines.registry import following  # noqa: PLC0415

    uri = _uri(options, doors)
    if not uri:
        doors.say("unchanged: no registry is named; --registry or MLFLOW_TRACKING_URI names one")
        return EXIT_DONE
    wish = _wanted(doors.open_target(options.target))
    registry = doors.open_registry(uri)
    found = registry.read(sorted({model for model, _ in wish.tags}), stage=wish.stage)
    for model, version in following.unknown(wish, found):
        doors.warn(f"model {model!r} has no version {version} in this registry; left out")
    for contest in wish.contested.values():
        doors.warn(f"{contest}; the alias is left as it is")
    changes = list(following.changes(wish, found))
    for change in changes if not options.dry_run else ():
        registry.apply(change)
    lines = [_text(change) for change in changes]
    would = "would change" if options.dry_run else "changed"
    doors.say("\n".join([f"{would}: {line}" for line in lines]) or "unchanged: the registry says what git says")
    summary.append(options.summary, "\n".join([f"## Registry ({wish.stage})", "", *_list(lines)]) + "\n")
    return EXIT_DONE


def _uri(options: argparse.Namespace, doors: "Doors") -> str:
    if options.registry is not None:
        return str(options.registry)
    return doors.environment.get("MLFLOW_REGISTRY_URI") or doors.environment.get("MLFLOW_TRACKING_URI", "")


def _wanted(target: "DeploymentTarget") -> "Wanted":
    from pipelines.registry import following  # noqa: PLC0415

    seen = target.read()

    def touched(endpoint: str) -> str:
        return next((commit.sha for commit in target.history(endpoint, at=seen.commit)), "")

    served = ((endpoint, touched(name)) for name, endpoint in seen.stage.endpoints.items())
    return following.wanted(target.stage_name, served)


def _text(change: "Change") -> str:
    from pipelines.registry.following import DeleteAlias, DeleteTag, SetAlias, SetTag  # noqa: PLC0415

    match change:
        case SetAlias():
            return f"{change.model}@{change.alias} is version {change.version}"
        case DeleteAlias():
            return f"{change.model}@{change.alias} is nobody"
        case SetTag():
            return f"{change.model}/{change.version}: {change.key}={change.value}"
        case DeleteTag():
            return f"{change.model}/{change.version}: no {change.key}"
        case _:
            assert_never(change)


def _list(lines: Sequence[str]) -> list[str]:
    from pipelines.commands.summary import row  # noqa: PLC0415

    return [row("changed"), row("---"), *map(row, lines)] if lines else ["Says what git says."]
