"""What the statistics promise, measured on simulated streams, as Markdown tables.

200 repetitions take about a minute of one core; docs/ab-testing-methodology.md tells how its tables were made. The seed
that judges is not the one that the choices were looked at with. The tables do not depend on --jobs.
"""

import argparse
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from mlflow_deploy_plugin.errors import EXIT_DONE, ConfigError

if TYPE_CHECKING:
    from pipelines.analysis.law_tables import Measured, Part, Run
    from pipelines.commands.doors import Doors

COMMAND = "command"
"""Name of the marked place that says by which command the tables were made."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``laws``."""
    parser.add_argument("--repetitions", type=int, default=200, metavar="N", help="streams of each cell (default 200)")
    parser.add_argument("--seed", type=int, default=2026, metavar="N", help="same seed, same tables (default 2026)")
    parser.add_argument(
        "--tuning-seed", type=int, default=1, metavar="N", help="of the table that shows a choice (default 1)"
    )
    parser.add_argument("--jobs", type=int, default=0, metavar="N", help="processes that measure (default: one a core)")
    parser.add_argument("--write", default="", metavar="FILE", help="put each table between its markers in FILE")
    parser.add_argument("--summary", default="", metavar="FILE", help="add the tables to FILE as well")


def run(options: argparse.Namespace, doors: "Doors") -> int:
    """Print every table.

    Raises:
        ConfigError: a number is out of range, one seed has both purposes, or a file has not the markers.
    """
    from pipelines.analysis.law_tables import NAMES, tables  # noqa: PLC0415  scipy
    from pipelines.commands import summary  # noqa: PLC0415

    if options.repetitions < 1:
        raise ConfigError(f"--repetitions {options.repetitions} is below 1; 200 give a first impression")
    if options.jobs < 0:
        raise ConfigError(f"--jobs {options.jobs} is below 0; 1 measures in this process, 0 in one a core")
    if options.seed == options.tuning_seed:
        raise ConfigError(
            f"--seed and --tuning-seed are both {options.seed}: what was chosen by a seed is judged by it"
        )
    before = read_document(options.write)
    if options.write:
        written(before, dict.fromkeys((COMMAND, *NAMES), ""), path=options.write)  # refused before the minutes
    run = _measuring(options.jobs or len(os.sched_getaffinity(0)))
    found = tables(repetitions=options.repetitions, seed=options.seed, tuning_seed=options.tuning_seed, run=run)
    for name, table in found.items():
        text = f"## {name}\n\n{table}\n"
        doors.say(text)
        summary.append(options.summary, text)
    if options.write:
        write_document(options.write, written(before, {COMMAND: _command(options), **found}, path=options.write))
    return EXIT_DONE


def _measuring(jobs: int) -> "Run":
    """What measures, in so many processes."""
    from concurrent.futures import ProcessPoolExecutor  # noqa: PLC0415
    from multiprocessing import get_context  # noqa: PLC0415

    from pipelines.analysis.law_tables import in_turn  # noqa: PLC0415  scipy

    def in_processes(parts: Iterable["Part"]) -> Iterable["Measured"]:
        with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
            return list(pool.map(_measured, parts))

    return in_turn if jobs == 1 else in_processes


def _measured(part: "Part") -> "Measured":
    """One part, in a process of its own."""
    return part()


def written(document: str, parts: Mapping[str, str], *, path: str) -> str:
    r"""``document`` with each part between its two markers; what stood there goes.

    Raises:
        ConfigError: a marker is missing.

    >>> print(written("<!-- laws: a -->\nold\n<!-- end: a -->", {"a": "new"}, path="x.md"))
    <!-- laws: a -->
    <BLANKLINE>
    new
    <BLANKLINE>
    <!-- end: a -->
    """
    for name, part in parts.items():
        begin, end = f"<!-- laws: {name} -->", f"<!-- end: {name} -->"
        head, found, rest = document.partition(begin)
        _, closed, tail = rest.partition(end)
        if not found or not closed:
            raise ConfigError(f"{path} has no place for {name!r}: put {begin} and {end} on lines of their own")
        document = f"{head}{begin}\n\n{part}\n\n{end}{tail}"
    return document


def _command(options: argparse.Namespace) -> str:
    told = f"--repetitions {options.repetitions} --seed {options.seed} --tuning-seed {options.tuning_seed}"
    return f"    python -m pipelines laws {told}"


def read_document(path: str) -> str:
    """The document that will be written; read first, so that a wrong path costs no minutes.

    Raises:
        ConfigError: it cannot be read.
    """
    if not path:
        return ""
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"--write {path!r} cannot be read ({error.strerror}); give a document with markers"
        ) from error


def write_document(path: str, text: str) -> None:
    """Put ``text`` into the file ``path``.

    Raises:
        ConfigError: it cannot be written.
    """
    try:
        Path(path).write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"--write {path!r} cannot be written ({error.strerror}); give another path") from error
