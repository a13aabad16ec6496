"""The event store: ``sync`` moves closed files to a URL, ``scale`` measures how memory grows with the rows.

``sync`` is what the agent does by itself where MODELSERVE_EVENTS_URL names a store. Files stay here until the other
store has told their whole size, so a run that is cut off loses nothing and the next one goes on. Readers take the URL
where they take a folder: ``drift --events s3://bucket/events``. Credentials are those of the environment (AWS_* for
s3, with the package s3fs).

``scale`` writes a store of generated traffic, judges it as ``drift`` would in a process of its own, and prints the
greatest memory of that process.
"""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from mlflow_deploy_plugin.errors import EXIT_DONE, ConfigError

if TYPE_CHECKING:
    from pipelines.commands.doors import Doors


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``events``."""
    acts = parser.add_subparsers(dest="act", required=True, metavar="ACT")
    sync = acts.add_parser("sync", help="move closed files to a URL")
    sync.add_argument("url", metavar="URL", help="such as s3://bucket/events")
    sync.add_argument("--events", metavar="DIR", help="event store (default: this machine's)")
    sync.add_argument("--older", default="10m", metavar="SPAN", help="only files older than SPAN (default 10m)")
    sync.add_argument("--json", action="store_true", help="print one JSON object")
    scale = acts.add_parser("scale", help="how memory grows with the rows")
    scale.add_argument("--rows", nargs="+", type=float, default=[1e5, 1e6], metavar="N", help="rows of the stores")
    scale.add_argument("--folder", metavar="DIR", help="where the stores are made (default: a temporary folder)")


def run(options: argparse.Namespace, doors: "Doors") -> int:
    """Do the act."""
    if options.act == "scale":
        from pipelines.commands.event_scale import run as scale  # noqa: PLC0415

        return scale(options, doors)
    return _sync(options, doors)


def _sync(options: argparse.Namespace, doors: "Doors") -> int:
    from mlflow_deploy_plugin.agent.shipping import ShippingPolicy, ship  # noqa: PLC0415
    from pipelines.commands.durations import duration  # noqa: PLC0415

    if "://" not in options.url:
        raise ConfigError(f"{options.url!r} is no URL; give one such as s3://bucket/events")
    place = doors.known_events_at(options.events)
    if "://" in place:
        raise ConfigError(
            f"events are moved from a folder of this machine, and --events names {place!r}; name its folder"
        )
    policy = ShippingPolicy(url=options.url, settle_s=duration(options.older).total_seconds())
    done = ship(Path(place), policy, now=doors.now().timestamp())
    counts = {
        "files": done.files,
        "bytes": done.sent_bytes,
        "waiting": done.waiting,
        "unreadable": list(done.unreadable),
        "is_busy": done.is_busy,
    }
    if options.json:
        doors.say(json.dumps(counts))
        return EXIT_DONE
    if done.is_busy:
        doors.say("unchanged: somebody else is at work on the event store; run it again")
        return EXIT_DONE
    told = [
        f"moved {done.files} files ({done.sent_bytes / 1e6:.1f} MB) to {options.url}" if done.files else "unchanged"
    ]
    told += [f"{done.waiting} wait: too young, or being merged"] if done.waiting else []
    told += [f"{len(done.unreadable)} are torn and stay: {', '.join(done.unreadable[:3])}"] if done.unreadable else []
    doors.say("; ".join(told))
    return EXIT_DONE
