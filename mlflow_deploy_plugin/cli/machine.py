"""Commands about this machine's agent: its state, its logs, its end."""

import argparse
import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from mlflow_deploy_plugin.agent import client
from mlflow_deploy_plugin.config.environment import agent_stage
from mlflow_deploy_plugin.config.home import Home
from mlflow_deploy_plugin.errors import EXIT_DONE, NotFoundError

FOLLOW_S: Final = 0.2


def status(options: argparse.Namespace, environment: Mapping[str, str]) -> int:
    """What the agent serves; says ``stopped`` where none runs."""
    home = Home.from_environment(environment)
    known = client.read_status(home)
    document = known.to_document() if known is not None else _stopped(home, environment)
    if options.json:
        sys.stdout.write(json.dumps(document, indent=2) + "\n")
    else:
        sys.stdout.write("\n".join(_lines(document)) + "\n")
    return EXIT_DONE


def _stopped(home: Home, environment: Mapping[str, str]) -> dict[str, Any]:
    return {
        "phase": "stopped",
        "message": "no agent runs; `modelserve agent` or `mlflow deployments create -t modelserve` starts it",
        "stage": agent_stage(environment),
        "repository": home.repository.as_uri(),
        "commit": None,
        "applied": None,
        "endpoints": {},
        "deployments": {},
    }


def _lines(document: Mapping[str, Any]) -> list[str]:
    """For people: what is live, what is wrong, then each endpoint with its deployments."""
    keys = ("phase", "message", "stage", "gateway", "metrics", "repository", "commit", "applied", "pid")
    lines = [f"{key}: {document[key]}" for key in keys if document.get(key) not in (None, "")]
    if refused := document.get("refused"):
        lines.append(f"refused: {refused['commit']}: {refused['reason']}")
    for name, endpoint in document["endpoints"].items():
        split = ", ".join(f"{who} {weight / 10:g}%" for who, weight in endpoint["weights"].items())
        lines += [f"endpoint {name}: {split}  {endpoint['url']}"]
    for name, deployment in document["deployments"].items():
        reason = f" ({deployment['reason']})" if deployment.get("reason") else ""
        lines += [f"deployment {name}: {deployment['state']}{reason}  {deployment['model_uri']}"]
    return lines


def logs(options: argparse.Namespace, environment: Mapping[str, str]) -> int:
    """The last lines of a log, and with ``-f`` those that come.

    Raises:
        NotFoundError: there is no such log.
    """
    files = _files(Home.from_environment(environment), options.name)
    for file in files:
        sys.stdout.writelines(_tail(file, options.lines))
    sys.stdout.flush()
    if options.follow:
        _follow(files)
    return EXIT_DONE


def _files(home: Home, name: str) -> list[Path]:
    found = sorted(home.logs.glob(f"{name}-[0-9]*.log")) if name else [home.agent / "agent.log"]
    found = [file for file in found if file.is_file()]
    if found:
        return found
    known = sorted({file.stem.rpartition("-")[0] for file in home.logs.glob("*.log")})
    raise NotFoundError(f"no log of {name or 'the agent'} in {home.agent}; deployments with logs: {_listed(known)}")


def _listed(names: list[str]) -> str:
    return ", ".join(names) or "none"


def _tail(file: Path, lines: int) -> list[str]:
    text = file.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
    return text[-lines:]


def _follow(files: list[Path]) -> None:
    """New lines of ``files`` as they come, until Ctrl-C; a file that shrank was begun anew."""
    places = {file: file.stat().st_size for file in files}
    while True:
        for file, place in places.items():
            size = file.stat().st_size
            with file.open(encoding="utf-8", errors="replace") as stream:
                stream.seek(place if size >= place else 0)
                sys.stdout.write(stream.read())
                places[file] = stream.tell()
        sys.stdout.flush()
        time.sleep(FOLLOW_S)


def stop(options: argparse.Namespace, environment: Mapping[str, str]) -> int:  # noqa: ARG001  every command has them
    """The agent away, with the gateway and the models; nothing to do where none runs."""
    home = Home.from_environment(environment)
    was_running = client.read_status(home) is not None
    client.stop(home)
    sys.stdout.write("stopped\n" if was_running else "unchanged: no agent runs\n")
    return EXIT_DONE
