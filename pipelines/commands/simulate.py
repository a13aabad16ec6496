"""What the drift gate does on simulated traffic of known truth, as Markdown tables: reverts, delays, false alarms.

The default takes about a minute; docs/drift.md says with which numbers it is made.
"""

import argparse
from typing import TYPE_CHECKING, Final

from mlflow_deploy_plugin.errors import EXIT_DONE, ConfigError

if TYPE_CHECKING:
    from pipelines.commands.doors import Doors

PARTS: Final = ("drift-command", "drift-gate", "drift-alarms")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``simulate``."""
    parser.add_argument("--repetitions", type=int, default=100, metavar="N", help="rollouts a scenario (default 100)")
    parser.add_argument("--looked", type=int, default=1, metavar="N", help="those whose inputs are judged (default 1)")
    parser.add_argument("--runs", type=int, default=0, metavar="N", help="runs of 90 calm days a load (default 0)")
    parser.add_argument("--forests", type=int, default=0, metavar="N", help="those for the classifier (default 0)")
    parser.add_argument("--seed", type=int, default=2026, metavar="N", help="same seed, same tables (default 2026)")
    parser.add_argument("--write", default="", metavar="FILE", help="put each table between its markers in FILE")


def run(options: argparse.Namespace, doors: "Doors") -> int:
    """Print every table.

    Raises:
        ConfigError: a count is out of range, or a file has not the markers.
    """
    from pipelines.commands.laws import read_document, write_document, written  # noqa: PLC0415
    from pipelines.monitoring import drift_laws  # noqa: PLC0415  scipy and pandas

    if options.repetitions < 1 or not 0 <= options.looked <= options.repetitions:
        raise ConfigError("--repetitions must be 1 or more, and --looked at most as many")
    if min(options.runs, options.forests) < 0:
        raise ConfigError("--runs and --forests must be 0 or more")
    before = read_document(options.write)
    if options.write:
        written(before, dict.fromkeys(PARTS, ""), path=options.write)  # refused before the minutes
    found = drift_laws.outcomes(repetitions=options.repetitions, looked=options.looked, seed=options.seed)
    gate = f"{drift_laws.table(found)}\n\n{drift_laws.about()}."
    doors.say(f"## The gate\n\n{gate}\n")
    alarms = _alarms(options)
    doors.say(f"## Always-on alarms\n\n{alarms}\n")
    if options.write:
        parts = dict(zip(PARTS, (_command(options), gate, alarms), strict=True))
        write_document(options.write, written(before, parts, path=options.write))
    return EXIT_DONE


def _alarms(options: argparse.Namespace) -> str:
    from pipelines.monitoring import drift_alarms  # noqa: PLC0415  scipy and pandas

    wanted: dict[drift_alarms.Test, int] = {"columns": options.runs, "classifier": options.forests}
    found = [
        drift_alarms.calm(test, users_per_hour=load, days=drift_alarms.DAYS, runs=runs, seed=options.seed)
        for test, runs in wanted.items()
        for load in drift_alarms.PER_HOUR
        if runs
    ]
    if not found:
        return "not measured: --runs 0"
    return f"{drift_alarms.table(found)}\n\n{drift_alarms.together(found)}\n\n{drift_alarms.needed()}"


def _command(options: argparse.Namespace) -> str:
    told = " ".join(
        f"--{name} {getattr(options, name)}" for name in ("repetitions", "looked", "runs", "forests", "seed")
    )
    return f"    python -m pipelines simulate {told}"
