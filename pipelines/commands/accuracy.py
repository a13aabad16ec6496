"""How often, or by how much, each version was right: by stretch of time and segment, with calibration.

Labels come late, so only predictions that are older than --maturity count, by labels that came within it; without it
every label counts that has arrived. Rows mature by the newest label's arrival and not by the clock: a feed of labels
that stands still does not look like missing ones.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from mlflow_deploy_plugin.errors import EXIT_DONE
from pipelines.promotion.drift import words

if TYPE_CHECKING:
    from pipelines.commands.doors import Doors
    from pipelines.monitoring.accuracy import Accuracy, Findings, Task


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``accuracy``."""
    parser.add_argument("--endpoint", required=True, metavar="NAME", help="endpoint to look at")
    parser.add_argument("--stage", default="production", metavar="NAME", help="stage of the endpoint")
    window = parser.add_mutually_exclusive_group()
    window.add_argument("--window", default="7d", metavar="SPAN", help="predictions of the last SPAN (default 7d)")
    window.add_argument("--since", metavar="TIME", help="predictions since TIME, such as 2026-01-31T12:00:00Z")
    parser.add_argument("--every", default="1d", metavar="SPAN", help="length of one row of the table (default 1d)")
    parser.add_argument("--segment", metavar="FEATURE", help="look at each value of a logged feature apart")
    parser.add_argument("--maturity", metavar="SPAN", help="count predictions older than SPAN, by labels within it")
    parser.add_argument("--events", metavar="DIR", help="event store (default: this machine's)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(options: argparse.Namespace, doors: "Doors") -> int:
    """Look and tell.

    Raises:
        EventStoreError: the store cannot be read, or the segment is no logged feature.
        ConfigError: a span or a moment is none.
    """
    from pipelines.commands.durations import duration, moment  # noqa: PLC0415
    from pipelines.monitoring.accuracy import look  # noqa: PLC0415
    from pipelines.monitoring.event_labels import LabelCut, ScoreChoice  # noqa: PLC0415
    from pipelines.monitoring.event_summaries import Window  # noqa: PLC0415

    now = doors.now()
    begin = min(moment(options.since), now) if options.since else now - duration(options.window)
    window = Window(
        stage=options.stage, endpoint=options.endpoint, begin=begin, end=now + timedelta(seconds=1), population="all"
    )
    cut = LabelCut(as_of=window.end, maturity=duration(options.maturity) if options.maturity else None)
    choice = ScoreChoice(every=duration(options.every), segment=options.segment)
    with doors.open_events(doors.known_events_at(options.events)) as store:
        found = look(store, window, cut, choice)
    doors.say(_as_json(options, found) if options.json else "\n".join(_as_text(options, found)))
    return EXIT_DONE


def _as_text(options: argparse.Namespace, found: "Findings") -> list[str]:
    from pipelines.analysis.checks import LARGEST  # noqa: PLC0415

    if not found.rows:
        return [f"no prediction of endpoint {options.endpoint!r} is in the window"]
    labels, odd = found.labels, found.labels.odd
    newest = f"newest label {_moment(odd.newest)}" if odd.newest else "no label has arrived"
    unknown = f"{odd.unknown} of no prediction since {_moment(odd.since)}" if odd.unknown and odd.since else "0 unknown"
    counts = f"{odd.duplicates} duplicate, {odd.contradictions} contradicting, {unknown}"
    lines = [f"{options.endpoint} ({options.stage}), scored as {found.task}: {newest}; {counts}"]
    if labels.unreadable:
        lines.append(f"{len(labels.unreadable)} files cannot be read, the first is {labels.unreadable[0]}")
    if left := _unmeasured(found):
        lines.append(
            f"{left} labelled rows have no error: a prediction or label is no number, not finite or beyond {LARGEST:g}"
        )
    if found.task != "numbers" and (unlike := sum(row.unlike for row in found.rows)):
        lines.append(f"{unlike} labelled rows count as wrong, since a number is never the same as text: {_UNLIKE}")
    lines += _table(
        [_head(found.task, has_segment=bool(options.segment)), *(_cells(row, found.task) for row in found.rows)]
    )
    for each in found.calibrations:
        where = f" ({words.value(each.segment)})" if each.segment else ""
        since = f"{each.deployment} since {_began(each.began)}{where}"
        lines.append(f"calibration of {since}: error {each.error:.3f} over {each.labelled} labels")
    return lines


def _unmeasured(found: "Findings") -> int:
    """Labelled rows of numbers whose error cannot be added up."""
    return 0 if found.task == "classes" else sum(row.labelled - row.measured for row in found.rows)


def _head(task: "Task", *, has_segment: bool) -> list[str]:
    figures = {
        "classes": ["accuracy"],
        "probabilities": ["accuracy", "Brier"],
        "numbers": ["mean error", "RMSE", "bias"],
    }[task]
    return ["deployment", "since", "segment" if has_segment else "", "predicted", "labelled", "coverage", *figures]


def _cells(row: "Accuracy", task: "Task") -> list[str]:
    brier = None if row.root_mean_square is None else row.root_mean_square**2
    figures = {
        "classes": [row.accuracy],
        "probabilities": [row.accuracy, brier],
        "numbers": [row.absolute_error, row.root_mean_square, row.bias],
    }[task]
    counts = [str(row.predicted), str(row.labelled), _figure(row.coverage)]
    return [row.deployment, _began(row.began), words.value(row.segment), *counts, *map(_figure, figures)]


_UNLIKE: Final = "send labels as the model's answers are, a class index as a number and a name as text"


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _moment(when: datetime) -> str:
    return f"{when:%Y-%m-%d %H:%M}Z"


def _began(when: datetime) -> str:
    """A stretch of time that is shorter than a minute is not to look like the one before."""
    seconds = f":{when:%S.%f}".rstrip("0").rstrip(".") if when.second or when.microsecond else ""
    return f"{when:%Y-%m-%d %H:%M}{seconds}Z"


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    aligned = ([cell.ljust(width) for cell, width in zip(row, widths, strict=True) if width] for row in rows)
    return ["  ".join(cells).rstrip() for cells in aligned]


def _as_json(options: argparse.Namespace, found: "Findings") -> str:
    labels, odd = found.labels, found.labels.odd
    answer = {
        "endpoint": options.endpoint,
        "stage": options.stage,
        "task": found.task,
        "newest_label": odd.newest.isoformat() if odd.newest else None,
        "duplicates": odd.duplicates,
        "contradictions": odd.contradictions,
        "unknown": odd.unknown,
        "unknown_since": odd.since.isoformat() if odd.since else None,
        "late": sum(arm.late for arm in labels.arms.values()),
        "unreadable": list(labels.unreadable),
        "coverage": {name: arm.user_coverage for name, arm in labels.arms.items()},
        "rows": [
            {**asdict(row), "began": row.began.isoformat(), "coverage": row.coverage, "accuracy": row.accuracy}
            for row in found.rows
        ],
        "calibration": [{**asdict(each), "began": each.began.isoformat()} for each in found.calibrations],
    }
    return json.dumps(answer, indent=1, ensure_ascii=False)
