"""Recompute a recorded decision from its evidence and compare it with the record, byte for byte.

FILE is a decision.json, or an evidence file of the repository. Prints the record as today's code makes it. Exit codes:
0 the same, 1 another decision or other bytes, 2 no such record.
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from mlflow_deploy_plugin.errors import EXIT_BAD_VERDICT, EXIT_DONE, NotFoundError

if TYPE_CHECKING:
    from pipelines.commands.doors import Doors


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``replay``."""
    parser.add_argument("file", metavar="FILE", help="recorded decision")


def run(options: argparse.Namespace, doors: "Doors") -> int:
    """Replay one record.

    Raises:
        NotFoundError: there is no such file.
        ConfigError: it is no record.
    """
    from pipelines.promotion import codec, replaying  # noqa: PLC0415  scipy

    try:
        text = Path(options.file).read_text(encoding="utf-8")
    except (FileNotFoundError, UnicodeDecodeError, IsADirectoryError) as error:
        raise NotFoundError(
            f"{options.file!r} is no decision file; give a decision.json or evidence/ENDPOINT/OPERATION.json"
        ) from error
    again, is_same = replaying.replay(text)
    doors.say(codec.encode(again).rstrip("\n"))
    if not is_same:
        doors.warn(f"{options.file} does not replay: today's code decides otherwise, or the file was changed")
    return EXIT_DONE if is_same else EXIT_BAD_VERDICT
