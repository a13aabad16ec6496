"""The gate: micro-benchmarks beside their stored ratios."""

import argparse
import json
from collections.abc import Iterable
from pathlib import Path

from mlflow_deploy_plugin.errors import EXIT_BAD_VERDICT, EXIT_DONE, ConfigError
from pipelines.benchmark import gate, tables
from pipelines.commands import documents, summary
from pipelines.commands.doors import Doors


def run(options: argparse.Namespace, doors: Doors) -> int:
    """Judge, or store; the exit code.

    Raises:
        ConfigError: a file is not what it should be.
    """
    measured = gate.ratios(documents.read_json(Path(options.gate)))
    baseline = Path(options.baseline)
    if options.accept:
        documents.write(baseline, json.dumps(measured, indent=1) + "\n")
        doors.say(f"{baseline}: {len(measured)} ratios stored")
        return EXIT_DONE
    judged = gate.judge(measured, _stored(baseline), limit=options.limit)
    text = _table(judged)
    doors.say(text)
    summary.append(options.summary, text)
    bad = [one.name for one in judged if not one.is_good]
    doors.say(_verdict(bad, len(judged), options.limit))
    return EXIT_BAD_VERDICT if bad else EXIT_DONE


def _stored(baseline: Path) -> dict[str, float]:
    stored = documents.read_json(baseline)
    if isinstance(stored, dict) and all(isinstance(ratio, float | int) for ratio in stored.values()):
        return stored
    raise ConfigError(f"{baseline} is no object of names and ratios; write it anew by --accept")


def _verdict(bad: list[str], count: int, limit: float) -> str:
    if not bad:
        return f"{count} benchmarks, none more than {limit:g} times its stored ratio"
    return (
        f"above {limit:g} times the stored ratio, or not measured any more: {', '.join(bad)}; make it faster, or store"
        " what is now by --accept and say why in the commit"
    )


def _table(judged: Iterable[gate.Judged]) -> str:
    lines = [
        [one.name, _number(one.ratio), _number(one.stored), _number(one.change), "" if one.is_good else "too slow"]
        for one in judged
    ]
    return tables.table(["benchmark", "times the loop", "stored", "change", "verdict"], *lines)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"
