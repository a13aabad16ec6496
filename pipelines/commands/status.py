"""Where an endpoint's rollout stands, what its gates say, and what the next tick would do. Writes nothing."""

import argparse
import json
from typing import TYPE_CHECKING

from mlflow_deploy_plugin.errors import EXIT_DONE
from pipelines.commands import sources

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipelines.commands.doors import Doors
    from pipelines.commands.ticks import Tick


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``status``."""
    parser.add_argument("--endpoint", required=True, metavar="NAME", help="endpoint to look at")
    parser.add_argument("--target", default="modelserve", metavar="URI", help="repository and stage (default: ours)")
    sources.add_arguments(parser)
    parser.add_argument(
        "--bayes", action="store_true", help="also the probability to be better, and the expected loss: decides nothing"
    )
    parser.add_argument("--json", action="store_true", help="print the whole record as JSON")


def run(options: argparse.Namespace, doors: "Doors") -> int:
    """Print the state and the decision."""
    from pipelines.commands import ticks  # noqa: PLC0415  scipy
    from pipelines.promotion import codec  # noqa: PLC0415

    tick = ticks.look(options, doors)
    if options.json:
        doors.say(json.dumps(json.loads(codec.encode(tick.record)), indent=1, ensure_ascii=False))
    else:
        doors.say("\n".join([*lines(tick), *(posteriors(tick) if options.bayes else ())]))
    return EXIT_DONE


def lines(tick: "Tick") -> list[str]:
    """The state, the gates and the decision, for people."""
    from mlflow_deploy_plugin.manifests.diff import percent  # noqa: PLC0415
    from pipelines.promotion import wording  # noqa: PLC0415

    route, found = tick.standing.endpoint.route, tick.record.findings
    told = [
        f"{route.endpoint} ({route.stage}): {wording.shares(route.weights)}, stable {route.stable}",
        f"phase: {route.phase or 'none'}, {tick.plan.strategy.where(tick.state) if tick.plan else 'no plan'}",
    ]
    if route.mirror:
        told.append(
            f"shadow: {route.mirror.deployment} is sent copies of {percent(route.mirror.share)} of the requests"
        )
    if tick.state.baseline:
        baseline = tick.state.baseline
        told.append(f"baseline: {baseline.deployment}, {percent(baseline.weight)}, a copy of {route.stable}")
    if tick.state.word.approvers:
        told.append(f"approved by: {', '.join(tick.state.word.approvers)}")
    told += [f"hold: {hold.deployment}: {hold.reason}" for hold in route.holds if hold.stands(tick.record.now)]
    told += [
        f"gate {' '.join(filter(None, (gate.arm, gate.gate)))}: {gate.verdict}: {gate.reason}" for gate in found.gates
    ]
    return [*told, f"next: {tick.decision.kind.lower()}: {tick.decision.reason}"]


def posteriors(tick: "Tick") -> list[str]:
    """What a Bayesian would say of every gate that counts users, and that it is not safe to act upon it."""
    from pipelines.analysis.bayes import Posterior, compare_posteriors  # noqa: PLC0415

    def posterior(numbers: "Mapping[str, float]", arm: str) -> Posterior:
        users, events = int(numbers[f"{arm}_users"]), int(numbers[f"{arm}_events"])
        return Posterior(successes=users - events, failures=events)

    told = []
    for gate in tick.record.findings.gates:
        if not {"stable_events", "canary_events", "stable_users", "canary_users"} <= gate.numbers.keys():
            continue
        found = compare_posteriors(posterior(gate.numbers, "stable"), posterior(gate.numbers, "canary"))
        told.append(
            f"posterior {' '.join(filter(None, (gate.arm, gate.gate)))}: better with probability"
            f" {found.probability_better:.3f}, expected loss {100 * found.expected_loss:.3f} pp ({found.warning})"
        )
    return told
