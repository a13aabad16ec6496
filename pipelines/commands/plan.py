"""What the next tick would commit: the split before and after, every gate, and how many users would move.

Of a rollout that has not begun also how many users its gates or its success metric need, and how long those take.

Users are sampled (100,000 ids, dealt as the gateway deals them). Writes nothing.
"""

import argparse
from typing import TYPE_CHECKING, Final

from mlflow_deploy_plugin.errors import EXIT_DONE
from pipelines.commands import sources

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlflow_deploy_plugin.manifests.model import Files, Route
    from pipelines.commands.doors import Doors

SAMPLED: Final = 100_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``plan``."""
    parser.add_argument("--endpoint", required=True, metavar="NAME", help="endpoint to look at")
    parser.add_argument("--target", default="modelserve", metavar="URI", help="repository and stage (default: ours)")
    parser.add_argument(
        "--users-per-day", type=float, metavar="N", help="for the expected duration (default: as seen in the last week)"
    )
    sources.add_arguments(parser)


def run(options: argparse.Namespace, doors: "Doors") -> int:
    """Print what would happen.

    Raises:
        ConfigError: what it starts does not fit on this machine.
    """
    from mlflow_deploy_plugin import manifests  # noqa: PLC0415
    from pipelines.commands import forecasts, room, status, ticks  # noqa: PLC0415  scipy

    tick = ticks.look(options, doors)
    doors.say("\n".join([*status.lines(tick), *forecasts.lines(tick, options, doors)]))
    wish = tick.wish()
    if wish is None:
        doors.say("no commit")
        return EXIT_DONE
    before = tick.target.files_at(tick.standing.commit)
    after, message = wish.apply(before, now=tick.now)
    doors.say(f"commit: {message.subject}")
    doors.say("\n".join(_diff(before, after)))
    old, new = tick.standing.endpoint, manifests.parse_endpoint(after, tick.target.stage_name, options.endpoint)
    doors.say(moved(old.route, new.route))
    for line in room.lines(tick.target, old, new):
        doors.say(line)
    if not tick.takes_back:
        room.require_between(tick.target, old, new)
    return EXIT_DONE


def _diff(before: "Files", after: "Files") -> list[str]:
    from difflib import unified_diff  # noqa: PLC0415

    known = dict.fromkeys((*before, *after))
    changed = [path for path in known if before.get(path) != after.get(path) and not path.startswith("evidence/")]
    return [
        line
        for path in changed
        for line in unified_diff(
            before.get(path, "").splitlines(), after.get(path, "").splitlines(), path, path, n=0, lineterm=""
        )
    ]


def moved(before: "Route", after: "Route") -> str:
    """How many of the sampled users change their deployment, and from which to which."""
    from collections import Counter  # noqa: PLC0415

    from mlflow_deploy_plugin.manifests.split import owners, places  # noqa: PLC0415

    users = [f"user-{number}" for number in range(SAMPLED)]
    old = owners(before)[places(users, before.salt)]
    new = owners(after)[places(users, after.salt)]
    is_moved = old != new
    counts = Counter(zip(old[is_moved].tolist(), new[is_moved].tolist(), strict=True))
    return f"of {SAMPLED:,} sampled users {counts.total():,} move{_told(counts)}"


def _told(counts: "Mapping[tuple[str, str], int]") -> str:
    parts = [f"{number:,} from {old} to {new}" for (old, new), number in counts.items()]
    return f" ({', '.join(parts)})" if parts else ""
