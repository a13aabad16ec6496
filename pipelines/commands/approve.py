"""Let an endpoint's rollout go on: a step that waits for a person, or a freeze since the world moved.

With --lift-hold also the hold on a version that was rolled back. A commit says who approved and why.
"""

import argparse
from typing import TYPE_CHECKING

from mlflow_deploy_plugin.errors import EXIT_DONE

if TYPE_CHECKING:
    from pipelines.commands.doors import Doors


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``approve``."""
    parser.add_argument("--endpoint", required=True, metavar="NAME", help="endpoint to let go on")
    parser.add_argument("--target", default="modelserve", metavar="URI", help="repository and stage (default: ours)")
    parser.add_argument("--reason", default="approved by a person", metavar="TEXT", help="why; the commit says it")
    parser.add_argument("--lift-hold", action="store_true", help="also let a held version be promoted again")
    parser.add_argument("--dry-run", action="store_true", help="say what would be committed")


def run(options: argparse.Namespace, doors: "Doors") -> int:
    """Commit the approval."""
    from pipelines.commands import endpoints  # noqa: PLC0415  a second
    from pipelines.commands.committing import commit  # noqa: PLC0415
    from pipelines.promotion.rollout import Approval  # noqa: PLC0415

    target = doors.open_target(options.target)
    standing = endpoints.read(target, options.endpoint)
    wish = Approval(
        stage=target.stage_name,
        endpoint=options.endpoint,
        decided_on=standing.changed,
        reason=options.reason,
        lifts_hold=options.lift_hold,
    )
    doors.say(commit(target, wish, now=doors.now(), is_dry=options.dry_run, done="approved").text)
    return EXIT_DONE
