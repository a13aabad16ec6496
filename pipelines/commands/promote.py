"""One tick of a rollout: look, decide once, commit or not.

The plan is the endpoint's rollout.yaml (`python -m pipelines schema` lists its fields); without one nothing is
promoted. Run it as often as you like: the statistics hold at every look, and a second run says `unchanged`.

Exit codes: 1 where the version was aborted, 0 for every other decision, 2 for what you can fix, 3 where a program
failed, 75 to try again later.
"""

import argparse
from typing import TYPE_CHECKING

from mlflow_deploy_plugin.errors import EXIT_BAD_VERDICT, EXIT_DONE

if TYPE_CHECKING:
    from pipelines.commands.doors import Doors


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``promote``."""
    parser.add_argument("--endpoint", required=True, metavar="NAME", help="endpoint to move one step")
    parser.add_argument("--target", default="modelserve", metavar="URI", help="repository and stage (default: ours)")
    parser.add_argument("--events", metavar="DIR", help="event store (default: this machine's)")
    parser.add_argument("--dry-run", action="store_true", help="say what would be committed")


def run(options: argparse.Namespace, doors: "Doors") -> int:
    """Commit what the decision asks for."""
    from pipelines.commands import ticks  # noqa: PLC0415  scipy
    from pipelines.promotion.decision import Abort  # noqa: PLC0415

    tick = ticks.look(options, doors)
    doors.say(ticks.apply(tick, is_dry=options.dry_run).text)
    return EXIT_BAD_VERDICT if isinstance(tick.decision, Abort) else EXIT_DONE
