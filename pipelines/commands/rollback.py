"""Take a version out of an endpoint's split, back to the last good one, as a new commit.

Without --deployment: every canary that has users, or else the version in the shadow; where there is neither, stable
itself, whether it took over from another deployment or had its model replaced in place (`mlflow deployments update`):
split and model come back together.
The version is held: automation does not bring it back. Needs no approval, knows no freeze. A second time changes
nothing. Exit codes: 0 done or nothing to do, 2 what you can fix, 3 a program failed, 75 try again later.
"""

import argparse
from typing import TYPE_CHECKING, Final

from mlflow_deploy_plugin.errors import EXIT_DONE, ConfigError, NotFoundError

if TYPE_CHECKING:
    from mlflow_deploy_plugin.manifests.model import Endpoint
    from pipelines.commands.doors import Doors
    from pipelines.commands.endpoints import Standing

NOBODY: Final = "unchanged: nobody to take out"
DEFAULT_REASON: Final = "asked for by a person"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``rollback``."""
    parser.add_argument("--endpoint", required=True, metavar="NAME", help="endpoint to take back")
    parser.add_argument("--target", default="modelserve", metavar="URI", help="repository and stage (default: ours)")
    parser.add_argument("--deployment", metavar="NAME", help="version to take out (default: every canary)")
    parser.add_argument("--reason", default=DEFAULT_REASON, metavar="TEXT", help="why; the commit and the hold say it")
    parser.add_argument("--hold", metavar="SPAN", help="how long automation leaves it out (default: until approved)")
    parser.add_argument("--dry-run", action="store_true", help="say what would be committed")
    parser.add_argument(
        "--summary", default="", metavar="FILE", help="add the splits and users moved to FILE, Markdown"
    )


def run(options: argparse.Namespace, doors: "Doors") -> int:
    """Commit the last good split.

    Raises:
        ConfigError: the deployment is no version but the baseline of one.
        NotFoundError: no such endpoint or deployment, or nothing to go back to.
    """
    from pipelines.commands import endpoints  # noqa: PLC0415  a second
    from pipelines.commands.committing import commit  # noqa: PLC0415
    from pipelines.commands.durations import duration  # noqa: PLC0415
    from pipelines.commands.summary import append, of_wish  # noqa: PLC0415
    from pipelines.promotion import wording  # noqa: PLC0415
    from pipelines.promotion.rollback import Why  # noqa: PLC0415

    now = doors.now()
    until = now + duration(options.hold) if options.hold else None
    target = doors.open_target(options.target)
    standing = endpoints.read(target, options.endpoint)
    faulty = _faulty(standing, options.deployment or None)
    if not faulty:
        doors.say(_nothing(standing.endpoint, options.deployment))
        return EXIT_DONE
    wish = endpoints.rollback(standing, faulty, Why(reason=options.reason, until=until))
    done = f"rolled back {', '.join(faulty)} to {wording.shares(wish.good.weights)}"
    applied = commit(target, wish, now=now, is_dry=options.dry_run, done=done)
    doors.say(applied.text)
    if options.summary:
        told = of_wish(target, standing, wish, now=now, text=applied.text)
        append(options.summary, told.render())
    return EXIT_DONE


def _nothing(endpoint: "Endpoint", named: str | None) -> str:
    digest = endpoint.deployments[named].model.digest if named else ""
    holds = [hold for hold in endpoint.route.holds if digest in {"", hold.model_digest}]
    return f"unchanged: {holds[0].deployment} is out already ({holds[0].reason})" if holds else NOBODY


def _faulty(standing: "Standing", named: str | None) -> tuple[str, ...]:
    """Who is taken out; nobody where that has been done."""
    from pipelines.commands.endpoints import is_rolled_back  # noqa: PLC0415  a second

    weights = standing.endpoint.route.weights
    if named is not None:
        if named not in standing.endpoint.deployments:
            known = ", ".join(standing.endpoint.deployments)
            raise NotFoundError(
                f"deployment {named!r} not found in endpoint {standing.endpoint.route.endpoint!r}; known: {known}"
            )
        if named == standing.endpoint.route.baseline:
            raise ConfigError(
                f"deployment {named!r} is the baseline of a rollout, a copy of stable {standing.stable.name!r}; roll"
                " back the canary, and it goes too"
            )
        return (named,) if weights.get(named, 0) or named == standing.shadow else ()
    if standing.shadow and not standing.canaries:
        return (standing.shadow,)
    if standing.canaries:
        return tuple(canary.name for canary in standing.canaries)
    return () if is_rolled_back(standing) else (standing.stable.name,)
