"""Measure this server beside others: one loaded at a time on one core, wrk on another, answers compared meanwhile.

Prints a table, and leaves results.json, tracked.json (customSmallerIsBetter) and results.png in --out. Everything
binds 127.0.0.1 and ends with the command. It needs wrk, taskset and two cores, which nobody else should use meanwhile:
seconds depend on the machine and its load, so compare the ratios to the empty app: medians over turns of a second, in
which both were loaded one right after the other.

  --peers        measures servers of others too, each in an environment of its own that uv makes once in --cache. Ray
                 Serve and KServe are left out: they listen on every address.
  --soak         one client for minutes, and the empty app in between: stalls, tails, and memory that grows
  --document     writes the tables of --results into a document, between its markers
  --gate         judges a file of pytest-benchmark against stored ratios instead of measuring servers

Exit codes: 0 done, 1 --gate found something slower than --limit or --soak a limit passed, 2 what you can fix (no wrk,
one core, a name that is not known), 3 a program failed. A server that cannot be installed or started is a row with the
reason.
"""

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipelines.commands.doors import Doors


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``benchmark``."""
    parser.add_argument("--works", type=_names, default=(), metavar="NAMES", help="tabular, tensor (default: both)")
    parser.add_argument(
        "--connections", type=_counts, default=(1, 16, 64), metavar="NUMBERS", help="open at once (default 1,16,64)"
    )
    parser.add_argument(
        "--seconds", type=_span, default=9.0, metavar="N", help="of load, in turns of one second (default 9)"
    )
    parser.add_argument("--rounds", type=_count, default=1, metavar="N", help="in which all start anew (default 1)")
    parser.add_argument("--warmup", type=_span, default=2.0, metavar="N", help="seconds before measuring (default 2)")
    parser.add_argument(
        "--subjects",
        type=_names,
        default=None,
        metavar="NAMES",
        help="empty, modelserve, uncompiled, bentoml-serve, gateway, log-predictions, log-full, log-converted"
        " (default: all)",
    )
    parser.add_argument(
        "--peers", type=_names, nargs="?", const=(), default=None, metavar="NAMES", help="others' servers, or all known"
    )
    parser.add_argument(
        "--soak",
        type=_span,
        default=None,
        metavar="N",
        help="instead: ask the last of --subjects (default log-converted) for N seconds on one connection; exit 1 where"
        " p99, the longest answer or memory is beyond its limit",
    )
    parser.add_argument("--cache", default="", metavar="DIR", help="environments of peers (default: the user's cache)")
    parser.add_argument(
        "--out", default="", metavar="DIR", help="folder of the results (default: HOME/benchmarks/TIME)"
    )
    parser.add_argument("--summary", default="", metavar="FILE", help="add the tables to FILE, Markdown")
    parser.add_argument(
        "--results", nargs="+", default=(), metavar="FILE", help="with --document: results.json of earlier runs, joined"
    )
    parser.add_argument("--document", default="", metavar="FILE", help="write the tables into FILE; measures nothing")
    parser.add_argument("--gate", default="", metavar="FILE", help="judge pytest-benchmark's JSON; measures nothing")
    parser.add_argument(
        "--baseline", default="tests/bench/baseline.json", metavar="FILE", help="with --gate: stored ratios"
    )
    parser.add_argument(
        "--limit", type=_limit, default=1.5, metavar="X", help="with --gate: times slower (default 1.5)"
    )
    parser.add_argument("--accept", action="store_true", help="with --gate: store the ratios as the new baseline")


def run(options: argparse.Namespace, doors: "Doors") -> int:
    """Measure, or do what was asked instead."""
    if options.gate:
        from pipelines.commands import benchmark_gate  # noqa: PLC0415

        return benchmark_gate.run(options, doors)
    from pipelines.commands import benchmark_job  # noqa: PLC0415  NumPy, packaging

    if options.document:
        return benchmark_job.rewrite(options, doors)
    return benchmark_job.soak(options, doors) if options.soak else benchmark_job.run(options, doors)


def _names(text: str) -> tuple[str, ...]:
    return tuple(name for name in (part.strip() for part in text.split(",")) if name)


def _count(text: str) -> int:
    if text.isdecimal() and int(text):
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a number of at least 1")


def _counts(text: str) -> tuple[int, ...]:
    return tuple(map(_count, _names(text))) or (_count(text),)


def _span(text: str) -> float:
    """Whole seconds, since wrk takes no others."""
    return float(_count(text))


def _limit(text: str) -> float:
    try:
        limit = float(text)
    except ValueError:
        limit = 0.0
    if limit > 1.0:
        return limit
    raise argparse.ArgumentTypeError(f"{text!r} is not a ratio above 1, such as 1.5")
