"""One tick of a rollout: look, decide once, commit or not.

The plan is the endpoint's rollout.yaml (`python -m pipelines schema` lists its fields); without one nothing is
promoted. Run it as often as you like: the statistics hold at every look, and a second run says `unchanged`. Without
--endpoint: every endpoint of the stage that has a second deployment, one after the other.

With --from and --to a version goes from one stage to the next instead: the same Bento by its digest, and the first step
of that stage's plan, in one commit. Refused while the source is not settled, is certainly failing its users, or serves
another digest than --digest says.

Exit codes: 1 where the version was aborted, 0 for every other decision, 2 for what you can fix, 3 where a program
failed, 75 to try again later.
"""

import argparse
from dataclasses import replace
from typing import TYPE_CHECKING

from mlflow_deploy_plugin.errors import EXIT_BAD_VERDICT, EXIT_DONE
from pipelines.commands import sources

if TYPE_CHECKING:
    from pipelines.commands.doors import Doors
    from pipelines.commands.ticks import Tick


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``promote``."""
    parser.add_argument("--endpoint", default="", metavar="NAME", help="endpoint to move one step (default: all)")
    parser.add_argument("--target", default="modelserve", metavar="URI", help="repository and stage (default: ours)")
    sources.add_arguments(parser)
    parser.add_argument(
        "--from", dest="from_stage", default="", metavar="STAGE", help="stage that has proven a version"
    )
    parser.add_argument("--to", dest="to_stage", default="", metavar="STAGE", help="stage that gets it")
    parser.add_argument(
        "--name", default="", metavar="NAME", help="of its deployment there (default: the same, if free)"
    )
    parser.add_argument("--digest", default="", metavar="SHA256", help="model digest that you mean; another is refused")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--dry-run", action="store_true", help="say what would be committed")
    how.add_argument(
        "--only-aborts",
        action="store_true",
        help="commit what takes a version back, which nobody need approve; say what else would be committed",
    )
    parser.add_argument(
        "--override",
        default="",
        metavar="REASON",
        help="go on although a hold or a freeze says no; the commit says why",
    )
    parser.add_argument("--output", default="", metavar="FILE", help="add waits=NAME to FILE for what was only said")
    parser.add_argument(
        "--summary", default="", metavar="FILE", help="add splits, gates and users moved to FILE, Markdown"
    )
    parser.add_argument("--records", default="", metavar="DIR", help="keep each decision in DIR, for `replay`")


def run(options: argparse.Namespace, doors: "Doors") -> int:
    """Commit what the decision asks for."""
    from pipelines.commands import each  # noqa: PLC0415

    if options.from_stage or options.to_stage:
        from pipelines.commands import stage_entry  # noqa: PLC0415  a second

        return stage_entry.run(options, doors)
    if options.endpoint:
        return _tick(options, doors)
    if not (names := each.rollouts(options.target, doors)):
        doors.say("unchanged: no endpoint has a second deployment")
    return each.run(names, options, doors, _tick)


def _tick(options: argparse.Namespace, doors: "Doors") -> int:
    from pipelines.commands import summary, ticks  # noqa: PLC0415  scipy
    from pipelines.promotion.decision import Abort  # noqa: PLC0415

    tick = ticks.look(options, doors)
    _keep(tick, options.records)
    applied = ticks.apply(tick, is_dry=options.dry_run or (options.only_aborts and not tick.takes_back))
    doors.say(applied.text)
    if applied.waits:
        summary.append(options.output, f"waits={options.endpoint}")
    if options.summary:
        summary.append(options.summary, _section(tick, applied.text))
    return EXIT_BAD_VERDICT if isinstance(tick.decision, Abort) else EXIT_DONE


def _keep(tick: "Tick", folder: str) -> None:
    """The record of the decision as a file; an unwritable folder is told before anything is committed."""
    from pathlib import Path  # noqa: PLC0415

    from mlflow_deploy_plugin.errors import ConfigError  # noqa: PLC0415
    from pipelines.promotion import codec  # noqa: PLC0415

    if not folder:
        return
    path = Path(folder).expanduser() / f"{tick.state.stage}-{tick.state.endpoint}.json"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(codec.encode(tick.record), encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"records {folder!r} cannot be written ({error.strerror}); give another folder") from error


def _section(tick: "Tick", text: str) -> str:
    from pipelines.commands.summary import of_wish  # noqa: PLC0415

    told = of_wish(tick.target, tick.standing, tick.wish(), now=tick.now, text=text)
    return replace(told, gates=tick.record.findings.gates).render()
