"""One endpoint on one page: split and decisions from git, failures and latency, accuracy and drift by version.

The page is one HTML file without scripts or addresses: mail it, print it, keep it beside an incident. It is made from
the repository and the event store alone, so it can be made for a past week too.
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mlflow_deploy_plugin.errors import EXIT_DONE, ConfigError

if TYPE_CHECKING:
    from pipelines.commands.doors import Doors

DEFAULT_WINDOW: Final = "7d"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``report``."""
    parser.add_argument("--endpoint", required=True, metavar="NAME", help="endpoint to tell of")
    parser.add_argument("--target", default="modelserve", metavar="URI", help="repository and stage (default: ours)")
    window = parser.add_mutually_exclusive_group()
    window.add_argument("--window", metavar="SPAN", help=f"the last SPAN, such as 12h (default {DEFAULT_WINDOW})")
    window.add_argument("--since", metavar="TIME", help="since TIME, such as 2026-01-31T12:00:00Z")
    parser.add_argument("--events", metavar="DIR", help="event store (default: this machine's)")
    parser.add_argument("--reports", metavar="DIR", help="folder of drift reports (default: HOME/reports/ENDPOINT)")
    parser.add_argument("--out", metavar="FILE", help="the page (default: HOME/reports/ENDPOINT/report.html)")


def run(options: argparse.Namespace, doors: "Doors") -> int:
    """Gather, write, say where.

    Raises:
        NotFoundError: there is no such endpoint.
        EventStoreError: the store cannot be read.
        ConfigError: the page cannot be written.
    """
    from pipelines.commands import report_gather  # noqa: PLC0415  a second
    from pipelines.commands.durations import duration, moment  # noqa: PLC0415
    from pipelines.monitoring.page.html import render  # noqa: PLC0415

    now = doors.now()
    begin = min(moment(options.since), now) if options.since else now - duration(options.window or DEFAULT_WINDOW)
    folder = doors.home.reports / options.endpoint
    path = Path(options.out).expanduser() if options.out else folder / "report.html"
    page = report_gather.gather(
        doors,
        report_gather.Question(
            target=options.target,
            endpoint=options.endpoint,
            begin=begin,
            now=now,
            events=doors.known_events_at(options.events),
            reports=Path(options.reports) if options.reports else folder,
            page=path,
        ),
    )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(render(page), encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"--out {str(path)!r} cannot be written ({error.strerror}); give another path") from error
    doors.say(f"report: {path}")
    for note in page.notes:
        doors.say(f"  - {note}")
    return EXIT_DONE
