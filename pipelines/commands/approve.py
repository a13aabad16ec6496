"""Let an endpoint's rollout go on: a step that waits for a person, or a freeze since the world moved.

With --lift-hold also the hold on a version that was rolled back, by its name where there are several. A commit says
who approved and why. Where the plan asks for several people, each approves once; where it says so, whoever brought the
version in does not count. An approval is for exactly the present state of the endpoint: any later change voids it.
"""

import argparse
from typing import TYPE_CHECKING

from mlflow_deploy_plugin.errors import EXIT_DONE, ConflictError, NotFoundError

if TYPE_CHECKING:
    from mlflow_deploy_plugin.manifests.model import Route
    from pipelines.commands.doors import Doors
    from pipelines.promotion.plan import Plan


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``approve``."""
    parser.add_argument("--endpoint", required=True, metavar="NAME", help="endpoint to let go on")
    parser.add_argument("--target", default="modelserve", metavar="URI", help="repository and stage (default: ours)")
    parser.add_argument("--reason", default="approved by a person", metavar="TEXT", help="why; the commit says it")
    parser.add_argument("--by", default="", metavar="WHO", help="who approves (default: the author of your commits)")
    parser.add_argument(
        "--lift-hold",
        nargs="?",
        const="",
        metavar="NAME",
        help="also let a held version be promoted again (NAME: which, where several are held)",
    )
    parser.add_argument("--dry-run", action="store_true", help="say what would be committed")


def run(options: argparse.Namespace, doors: "Doors") -> int:
    """Commit the approval.

    Raises:
        ConflictError: the plan lets nobody approve a version of their own, or several are held and none is named.
        NotFoundError: the named version is not held.
    """
    from pipelines.commands import endpoints, people  # noqa: PLC0415  a second
    from pipelines.commands.committing import commit  # noqa: PLC0415
    from pipelines.promotion.marks import APPROVED  # noqa: PLC0415
    from pipelines.promotion.rollout import Approval  # noqa: PLC0415

    target = doors.open_target(options.target)
    standing = endpoints.read(target, options.endpoint)
    me, word = people.who(options.by) or doors.identity(), endpoints.word(standing)
    _require_other(endpoints.plan_of(target, standing), me, word.author)
    if me in word.approvers and standing.endpoint.route.phase == APPROVED and options.lift_hold is None:
        doors.say(f"unchanged: {me} has approved this before")
        return EXIT_DONE
    wish = Approval(
        stage=target.stage_name,
        endpoint=options.endpoint,
        decided_on=standing.changed,
        reason=options.reason,
        by=me,
        count=len({*word.approvers, me}),
        lifts=_lifted(standing.endpoint.route, options.lift_hold),
    )
    doors.say(commit(target, wish, now=doors.now(), is_dry=options.dry_run, done="approved").text)
    return EXIT_DONE


def _lifted(route: "Route", named: str | None) -> tuple[str, ...]:
    """Digests of the models whose hold goes."""
    if named is None:
        return ()
    held = ", ".join(hold.deployment for hold in route.holds) or "none"
    if not named and len(route.holds) > 1:
        raise ConflictError(f"endpoint {route.endpoint!r} holds {held}; say which by --lift-hold NAME")
    found = tuple(hold.model_digest for hold in route.holds if named in {"", hold.deployment})
    if named and not found:
        raise NotFoundError(f"endpoint {route.endpoint!r} holds no version {named!r}; held: {held}")
    return found


def _require_other(plan: "Plan | None", me: str, author: str) -> None:
    if plan is not None and plan.terms.approvals.is_author_excluded and me == author:
        raise ConflictError(
            f"{me} brought this version in, and the plan lets nobody approve their own (approvals.not_author); ask"
            " somebody else"
        )
