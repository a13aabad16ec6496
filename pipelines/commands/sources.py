"""Where an observation comes from: the event store, or Prometheus where no event store can be reached."""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mlflow_deploy_plugin.errors import ConfigError

if TYPE_CHECKING:
    from mlflow_deploy_plugin.targets.base import DeploymentTarget
    from pipelines.commands.doors import Doors
    from pipelines.promotion.observation import Observation, Observer
    from pipelines.promotion.state import State

EVENTS: Final = "events"
PROMETHEUS: Final = "prometheus"
COUNTERS: Final = ("model", "envoy")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """``--source`` and what belongs to it."""
    parser.add_argument("--events", metavar="DIR", help="event store (default: this machine's)")
    parser.add_argument(
        "--source",
        default=EVENTS,
        metavar="SOURCE",
        help="events (default), or prometheus=URL: counters see no users, so they hold and roll back, never promote",
    )
    parser.add_argument(
        "--counters", default=COUNTERS[0], choices=COUNTERS, help="of Prometheus: the Bentos' own, or Envoy's"
    )


def observe(
    options: argparse.Namespace,
    doors: "Doors",
    target: "DeploymentTarget",
    state: "State",
    now: datetime,
) -> "Observation":
    """What the chosen source saw since the rollout began; nothing before that.

    Raises:
        ConfigError: there is no such source.
        EventStoreError: the event store cannot be read.
        RetryLaterError: Prometheus is away.
    """
    from pipelines.promotion.observation import nothing  # noqa: PLC0415

    address, since = _address(options.source), state.began or state.since
    if state.candidate is None or since is None:
        return nothing(state.stable, "")
    with _observer(options, doors, target, state, address=address) as observer:
        return observer.observe(stable=state.stable, canary=state.candidate.deployment, since=since, now=now)


def _address(source: str) -> str:
    """Of Prometheus; empty: the event store."""
    kind, _, address = source.partition("=")
    if source != EVENTS and not (kind == PROMETHEUS and address):
        raise ConfigError(f"--source {source!r} is not known; write events, or prometheus=http://HOST:9090")
    return address


@contextmanager
def _observer(
    options: argparse.Namespace, doors: "Doors", target: "DeploymentTarget", state: "State", *, address: str
) -> "Iterator[Observer]":
    from pipelines.commands import endpoints  # noqa: PLC0415
    from pipelines.monitoring.counter_source import CounterObserver  # noqa: PLC0415  scipy
    from pipelines.monitoring.observing import EventObserver  # noqa: PLC0415

    if address:
        changes = tuple(_changes(target, state.endpoint, state.began or state.since))
        yield CounterObserver(prometheus=doors.open_prometheus(address), changes=changes, counters=options.counters)
        return
    splits = endpoints.Splits(target, state.endpoint)
    with doors.open_events(Path(options.events) if options.events else doors.home.events) as log:
        yield EventObserver(log=log, stage=state.stage, endpoint=state.endpoint, split_of=splits)


def _changes(target: "DeploymentTarget", endpoint: str, since: datetime | None) -> Iterator[datetime]:
    """When the weights changed, from the one in force at ``since`` on; newest first."""
    from pipelines.commands import endpoints  # noqa: PLC0415

    if since is None:
        return
    newer: tuple[datetime, object] | None = None
    for commit, found in endpoints.past(target, endpoint):
        if newer is not None and newer[1] != found.route.weights:
            yield newer[0]
        if commit.time <= since:
            yield since
            return
        newer = (commit.time, found.route.weights)
    yield since
