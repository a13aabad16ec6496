"""What the statistics promise, measured on simulated streams, as Markdown tables.

200 repetitions take about half a minute; the docs are made with 2,000.
"""

import argparse
from typing import TYPE_CHECKING

from mlflow_deploy_plugin.errors import EXIT_DONE, ConfigError

if TYPE_CHECKING:
    from pipelines.commands.doors import Doors


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``laws``."""
    parser.add_argument("--repetitions", type=int, default=200, metavar="N", help="streams of each cell (default 200)")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="same seed, same tables (default 1)")
    parser.add_argument("--summary", default="", metavar="FILE", help="add the tables to FILE as well")


def run(options: argparse.Namespace, doors: "Doors") -> int:
    """Print every table.

    Raises:
        ConfigError: no repetitions.
    """
    from pipelines.analysis.laws import tables  # noqa: PLC0415  scipy
    from pipelines.commands import summary  # noqa: PLC0415

    if options.repetitions < 1:
        raise ConfigError(f"--repetitions {options.repetitions} is below 1; 200 give a first impression")
    for name, table in tables(repetitions=options.repetitions, seed=options.seed).items():
        text = f"## {name}\n\n{table}\n"
        doors.say(text)
        summary.append(options.summary, text)
    return EXIT_DONE
