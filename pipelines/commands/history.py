"""An endpoint's audit log, newest first, rebuilt from git alone.

A commit of ours says by its trailers what it did and why; one by a person or another program is told by its diff.
"""

import argparse
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from mlflow_deploy_plugin.errors import EXIT_DONE

if TYPE_CHECKING:
    from mlflow_deploy_plugin.manifests.model import Endpoint
    from mlflow_deploy_plugin.repository.model import Commit
    from mlflow_deploy_plugin.targets.base import DeploymentTarget
    from pipelines.commands.doors import Doors


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``history``."""
    parser.add_argument("--endpoint", required=True, metavar="NAME", help="endpoint to tell of")
    parser.add_argument("--target", default="modelserve", metavar="URI", help="repository and stage (default: ours)")
    parser.add_argument("--json", action="store_true", help="print one JSON object a line")


def run(options: argparse.Namespace, doors: "Doors") -> int:
    """Print the log.

    Raises:
        NotFoundError: nothing ever touched such an endpoint.
    """
    from mlflow_deploy_plugin.errors import NotFoundError  # noqa: PLC0415

    target = doors.open_target(options.target)
    entries = list(_entries(target, options.endpoint))
    if not entries:
        raise NotFoundError(
            f"no commit of stage {target.stage_name!r} touched endpoint {options.endpoint!r}; check its name"
        )
    for entry in entries:
        doors.say(json.dumps(entry, ensure_ascii=False) if options.json else _text(entry))
    return EXIT_DONE


def _entries(target: "DeploymentTarget", name: str) -> Iterator[dict[str, Any]]:
    from pipelines.commands import endpoints  # noqa: PLC0415  a second

    commits = target.history(name)
    states = [endpoints.at(target, name, commit.sha) for commit in commits]
    for index, commit in enumerate(commits):
        before = states[index + 1] if index + 1 < len(commits) else None
        yield _entry(commit, before, states[index], target.stage_name)


def _entry(commit: "Commit", before: "Endpoint | None", after: "Endpoint | None", stage: str) -> dict[str, Any]:
    said = commit.trailers
    known = {"commit": commit.sha, "time": commit.time.isoformat(), "author": commit.author, "subject": commit.subject}
    if said is None:
        return known | {"action": "edit", "changes": _changes(before, after, stage)}
    told = {"action": said.action, "from": said.from_, "to": said.to, "reason": said.reason, "evidence": said.evidence}
    return known | {"operation": said.operation} | {key: value for key, value in told.items() if value}


def _changes(before: "Endpoint | None", after: "Endpoint | None", stage: str) -> list[str]:
    from mlflow_deploy_plugin.manifests.diff import describe  # noqa: PLC0415
    from mlflow_deploy_plugin.manifests.model import Stage  # noqa: PLC0415

    def alone(endpoint: "Endpoint | None") -> Stage:
        return Stage(name=stage, endpoints={endpoint.route.endpoint: endpoint} if endpoint else {})

    if after is None:
        return ["the endpoint cannot be read at this commit"] if before else []
    return list(describe(alone(before), alone(after)))


def _text(entry: dict[str, Any]) -> str:
    lines = [f"{entry['time']}  {entry['commit'][:9]}  {entry['subject']}  ({entry['author']})"]
    lines += [f"    {change}" for change in entry.get("changes", [])]
    lines += [f"    {key}: {entry[key]}" for key in ("reason", "evidence") if key in entry]
    return "\n".join(lines)
