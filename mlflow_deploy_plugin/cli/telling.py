"""Commands that read a repository: endpoints, history."""

import argparse
import json
import sys
from collections.abc import Mapping
from typing import Any

from mlflow_deploy_plugin.errors import EXIT_DONE, NotFoundError
from mlflow_deploy_plugin.repository import Commit
from mlflow_deploy_plugin.targets import open_target
from mlflow_deploy_plugin.targets.views import endpoint_view
from mlflow_deploy_plugin.targets.wording import short


def endpoints(options: argparse.Namespace, environment: Mapping[str, str]) -> int:
    """Every endpoint of the target's stage."""
    target = open_target(options.target, environment=environment, say=_say)
    seen = target.read()
    views = [endpoint_view(e, target.standing(e), commit=seen.commit) for e in seen.stage.endpoints.values()]
    if options.json:
        sys.stdout.write(json.dumps(views, indent=2) + "\n")
    else:
        sys.stdout.writelines(
            f"{v['name']}  {v['traffic']}  {v['state']}  {v.get('url', '')}".rstrip() + "\n" for v in views
        )
    return EXIT_DONE


def _shown(view: Mapping[str, Any]) -> str:
    return "  ".join(str(view[key]) for key in ("name", "traffic", "state", "url") if view.get(key)) + "\n"


def history(options: argparse.Namespace, environment: Mapping[str, str]) -> int:
    """What was done to an endpoint, newest first.

    Raises:
        NotFoundError: no commit ever touched it.
    """
    target = open_target(options.target, environment=environment, say=_say)
    commits = target.history(options.name)
    if not commits:
        known = ", ".join(target.stage().endpoints) or "none"
        raise NotFoundError(f"endpoint {options.name!r} has no history in {target.uri}; endpoints there now: {known}")
    for commit in commits[: options.lines]:
        sys.stdout.write(json.dumps(_entry(commit)) + "\n" if options.json else _line(commit) + "\n")
    return EXIT_DONE


def _entry(commit: Commit) -> dict[str, Any]:
    return {"commit": commit.sha, "time": commit.time.isoformat(), "author": commit.author, "subject": commit.subject}


def _line(commit: Commit) -> str:
    return f"{short(commit.sha)}  {commit.time:%Y-%m-%d %H:%M:%S}  {commit.subject}"


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")
