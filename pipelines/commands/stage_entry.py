"""``promote --from A --to B``: gathers what the two stages say, asks for one commit, says what happened."""

import argparse
from datetime import datetime, timedelta
from typing import Final

from mlflow_deploy_plugin import manifests
from mlflow_deploy_plugin.config.target import with_stage
from mlflow_deploy_plugin.errors import EXIT_DONE, ConfigError, ConflictError
from mlflow_deploy_plugin.manifests.model import Deployment, Files, standing_hold
from mlflow_deploy_plugin.manifests.tree import rollout_file
from pipelines.analysis import rates
from pipelines.commands import room
from pipelines.commands.committing import commit
from pipelines.commands.doors import Doors
from pipelines.monitoring.event_summaries import Window
from pipelines.promotion import stages
from pipelines.promotion.schema import read_plan
from pipelines.promotion.stages import StageWish

LOOK_BACK: Final = timedelta(days=7)
ALPHA: Final = 0.01
GUARDRAIL: Final = 0.05
"""Share of users with a failed attempt that a version which goes on must not certainly exceed."""


def run(options: argparse.Namespace, doors: Doors) -> int:
    """One version from one stage to the next.

    Raises:
        ConfigError: the arguments do not fit together, or the version does not fit on this machine.
        ConflictError: the source is not settled or not healthy, or serves another digest than was asked for.
        NotFoundError: the source has no such endpoint.
    """
    if not (options.from_stage and options.to_stage and options.endpoint):
        raise ConfigError("--from, --to and --endpoint belong together; give all three")
    target = doors.open_target(with_stage(options.target, options.to_stage))
    if target.stage_name != options.to_stage:
        raise ConfigError(
            f"target {options.target!r} serves stage {target.stage_name!r}; --to {options.to_stage} needs the target"
            " of a repository, such as modelserve:/path/to/repo"
        )
    files = target.files()
    now = doors.now()
    proven = stages.settled(files, options.from_stage, options.endpoint, now=now)
    _require_digest(proven, options.digest)
    if not options.override:
        _require_healthy(options, doors, proven)
        _require_open(files, options, doors)
    wish = StageWish(
        source=options.from_stage,
        stage=options.to_stage,
        endpoint=options.endpoint,
        digest=proven.model.digest,
        name=options.name,
        by=doors.identity(),
        override=options.override,
        decided_on=target.head(),
    )
    if there := _there(files, wish, now):
        doors.say(f"unchanged: {proven.model.uri} is in {wish.stage} already, as {there}")
        return EXIT_DONE
    if not options.override:
        room.require(target, wish, lambda: files, now=now)
    done = f"{proven.model.uri} from {wish.source} to {wish.stage}"
    doors.say(commit(target, wish, now=now, is_dry=options.dry_run, done=done).text)
    return EXIT_DONE


def _there(files: Files, wish: StageWish, now: datetime) -> str:
    endpoint = manifests.parse_stage(files, wish.stage).endpoints.get(wish.endpoint)
    found = stages.find(endpoint, wish.digest) if endpoint else None
    if endpoint is None or found is None:
        return ""
    weight = endpoint.route.weights.get(found.name, 0)
    is_held = standing_hold(endpoint.route.holds, wish.digest, now) is not None
    return f"{found.name} ({weight / 10:g} % of the users{', on hold' if is_held else ''})"


def _require_digest(proven: Deployment, digest: str) -> None:
    if digest and digest != proven.model.digest:
        raise ConflictError(
            f"{proven.name} in {proven.stage} serves {proven.model.digest}, not {digest}; look at what you mean to"
            " promote"
        )


def _require_healthy(options: argparse.Namespace, doors: Doors, proven: Deployment) -> None:
    """Nothing is said against a stage that nobody has used; its gates have had their say in its own rollout."""
    now = doors.now()
    window = Window(
        stage=options.from_stage, endpoint=options.endpoint, begin=now - LOOK_BACK, end=now + timedelta(seconds=1)
    )
    with doors.open_events(doors.events_at(options.events)) as log:
        arm = log.exposure(window).arms.get(proven.name)
    if arm is None or not arm.users:
        doors.warn(f"no user of {proven.name} was seen in {options.from_stage} within {LOOK_BACK.days} days")
        return
    low = float(rates.bounds(arm.users_with_error, arm.users, alpha=ALPHA)[0])
    if low > GUARDRAIL:
        raise ConflictError(
            f"{proven.name} is not healthy in {options.from_stage}: {arm.users_with_error} of {arm.users} users met a"
            f" failed attempt within {LOOK_BACK.days} days, certainly more than {GUARDRAIL:.0%}"
        )


def _require_open(files: Files, options: argparse.Namespace, doors: Doors) -> None:
    path = rollout_file(options.to_stage, options.endpoint)
    plan = read_plan(files[path], path=path) if path in files else None
    if plan and (window := next(plan.terms.frozen(doors.now()), None)):
        raise ConflictError(f"freeze window of {options.to_stage}: {window.reason or 'nothing is promoted now'}")
