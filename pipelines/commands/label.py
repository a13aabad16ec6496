"""Add ground truth from a file to the event store, joined to its predictions by request id.

FILE is CSV, Parquet or JSON lines with the columns request_id (the x-request-id of the prediction's response), label,
and row where a request had several. All labels of a CSV are of one kind: numbers, or true and false, where each is one,
else text, in which only an empty cell means that there is no label yet.

Labels that are there already are passed over, so the same file twice adds nothing. The first label of a row counts; a
later one that contradicts it is kept and counted as a contradiction.
"""

import argparse
import json
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mlflow_deploy_plugin.errors import EXIT_DONE

if TYPE_CHECKING:
    from pipelines.commands.doors import Doors

REACH: Final = timedelta(days=90)
"""How far back labels and predictions are looked up."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``label``."""
    parser.add_argument("file", metavar="FILE", help="CSV, Parquet or JSON lines: request_id, label, perhaps row")
    parser.add_argument("--endpoint", required=True, metavar="NAME", help="endpoint that made the predictions")
    parser.add_argument("--stage", default="production", metavar="NAME", help="stage of the endpoint")
    parser.add_argument("--events", metavar="DIR", help="event store (default: this machine's)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(options: argparse.Namespace, doors: "Doors") -> int:
    """Read, look up, write.

    Raises:
        UserError: the file is not what it should be; nothing was taken.
        EventStoreError: the store cannot be read or written.
    """
    from mlflow_deploy_plugin.spec.names import require_label  # noqa: PLC0415
    from pipelines.commands import exposing  # noqa: PLC0415
    from pipelines.monitoring import label_files  # noqa: PLC0415  pandas
    from pipelines.monitoring.event_labels import CLOCK_SKEW  # noqa: PLC0415
    from pipelines.monitoring.event_summaries import Window  # noqa: PLC0415
    from pipelines.monitoring.exposing import Whose  # noqa: PLC0415

    require_label(options.endpoint, what="endpoint")
    require_label(options.stage, what="stage")
    now = doors.now()
    given = label_files.read(Path(options.file).expanduser(), arrived=now)
    place = doors.known_events_at(options.events)
    reach = Window(
        stage=options.stage,
        endpoint=options.endpoint,
        begin=now - REACH,
        end=now + CLOCK_SKEW,
        population="all",
    )
    with doors.open_events(place) as store:
        news, strangers = store.news(given.table, reach)
        if len(news):
            label_files.write(place, news, stage=options.stage, endpoint=options.endpoint, arrived=now)
            exposing.labels(doors, store, Whose(stage=options.stage, endpoint=options.endpoint), now=now)
    counts = {
        "added": len(news),
        "known": len(given.table) - len(news),
        "without_label": given.without_label,
        "unknown_requests": strangers,
    }
    ignored = list(given.ignored)
    doors.say(json.dumps({**counts, "ignored_columns": ignored}) if options.json else _text(counts, ignored))
    return EXIT_DONE


def _text(counts: dict[str, int], ignored: list[str]) -> str:
    told = [f"added {counts['added']} labels" if counts["added"] else "unchanged: no new label"]
    told += [f"{counts['known']} were there already or came twice"] if counts["known"] else []
    told += [f"{counts['without_label']} rows have no label yet"] if counts["without_label"] else []
    told += [f"{counts['unknown_requests']} belong to no logged prediction"] if counts["unknown_requests"] else []
    told += [f"columns not used: {', '.join(ignored)}"] if ignored else []
    return "; ".join(told)
