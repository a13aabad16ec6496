"""Compare logged predictions with the training sample and with stable, and say what follows.

Validity is looked at first, then each column (effect and false-discovery rate), all columns together (a classifier),
the predictions, and, where labels have arrived, who is wrong more often. One decision follows:

  the world moved     every version sees other inputs than in training: freeze promotion, revert nothing
  version at fault    a canary is worse than stable on the same traffic, with certainty: revert
  routing or pipeline only a canary sees other inputs: freeze promotion
  inconclusive        the evidence is invalid or too thin: hold
  alert only          something moved, and no second version is there as a control: also not the version before, which
                      is started for the purpose and scores the same logged inputs, where its Bento is on this machine
  healthy             none of these

Failed attempts and labels are always counted since the gateway began to serve the rollout, whatever the window, so
that the certainty holds however often this runs. What a replaced model answered is not held against the next.

Exit codes: 1 where a version is at fault (also where --revert has just taken it out), 0 for every other verdict and
where nothing is left to do, 2 for what you can fix, 3 where a program failed, 75 to try again later.
"""

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipelines.commands.doors import Doors


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``drift``."""
    parser.add_argument(
        "--endpoint", default="", metavar="NAME", help="endpoint to look at (default: all of the stage)"
    )
    parser.add_argument("--target", default="modelserve", metavar="URI", help="repository and stage (default: ours)")
    window = parser.add_mutually_exclusive_group()
    window.add_argument("--window", metavar="SPAN", help="inputs of the last SPAN, such as 90m, 12h or 7d (default 7d)")
    window.add_argument("--since", metavar="TIME", help="inputs since TIME, such as 2026-01-31T12:00:00Z")
    window.add_argument("--last", type=_count, metavar="N", help="inputs of the last N predictions")
    parser.add_argument("--reference", metavar="PATH", help="training sample, CSV or Parquet (default: the Bento's)")
    parser.add_argument("--maturity", metavar="SPAN", help="judge predictions older than SPAN, by labels within it")
    parser.add_argument(
        "--before",
        choices=("auto", "always", "never"),
        default="auto",
        help="where all users have one version: ask the one before about the logged inputs (auto: where inputs moved)",
    )
    parser.add_argument(
        "--before-at",
        default="",
        metavar="URL",
        help="where the version before still answers: a gateway (http://HOST:PORT), or with --endpoint a model's own"
        " address that ends in /invocations or /v2/models/NAME/infer (default: its Bento is started here)",
    )
    parser.add_argument("--events", metavar="DIR", help="event store (default: this machine's)")
    parser.add_argument("--out", metavar="DIR", help="folder of the report (default: HOME/reports/ENDPOINT/TIME)")
    parser.add_argument("--no-report", action="store_true", help="decide only; do not wait for Evidently")
    parser.add_argument(
        "--revert",
        action="store_true",
        help="commit what follows: the last good split and a hold, or a freeze of promotion",
    )
    parser.add_argument("--dry-run", action="store_true", help="with --revert: say what would be committed")
    parser.add_argument(
        "--mlflow",
        default="",
        metavar="URI",
        help="add the report to each judged version's run on this tracking server",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument(
        "--summary", default="", metavar="FILE", help="add the verdict and its reasons to FILE, Markdown"
    )


def run(options: argparse.Namespace, doors: "Doors") -> int:
    """Look, decide once, commit or not, report."""
    from pipelines.commands import drift_job, each, version_elsewhere  # noqa: PLC0415  pandas and scipy

    if options.endpoint:
        return drift_job.run(options, doors)
    if options.before_at:
        version_elsewhere.check_gateway(options.before_at)  # however many there are today
    if not (names := each.endpoints(options.target, doors)):
        doors.say("unchanged: the stage has no endpoint")
    return each.run(names, options, doors, _one_of_many)


def _one_of_many(options: argparse.Namespace, doors: "Doors") -> int:
    """One of several endpoints, whose reports lie in a folder each."""
    from pipelines.commands import drift_job  # noqa: PLC0415  pandas and scipy

    if options.out:
        options.out = f"{options.out}/{options.endpoint}"
    return drift_job.run(options, doors)


def _count(text: str) -> int:
    if text.isdecimal() and int(text):
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a number of predictions; write 4000")
