"""Where an observation comes from: the event store, or Prometheus where no event store can be reached."""

import argparse
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from mlflow_deploy_plugin.errors import ConfigError

if TYPE_CHECKING:
    from mlflow_deploy_plugin.targets.base import DeploymentTarget
    from pipelines.analysis.arms import Missing
    from pipelines.analysis.gates import MeanGate
    from pipelines.analysis.readings import Readings
    from pipelines.commands.doors import Doors
    from pipelines.commands.endpoints import Standing
    from pipelines.monitoring.samples import EventLog
    from pipelines.promotion.observation import Observation, Observed, Observer
    from pipelines.promotion.plan import Plan
    from pipelines.promotion.state import Comparison, State

EVENTS: Final = "events"
PROMETHEUS: Final = "prometheus"
COUNTERS: Final = ("model", "envoy", "agent")


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
        "--prometheus", default="", metavar="URL", help="asked about GPUs, where the plan has a gate on them"
    )
    parser.add_argument(
        "--counters",
        default=COUNTERS[0],
        choices=COUNTERS,
        help="of Prometheus: the Bentos' own, Envoy's, or the agent's",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """The observers of one tick."""

    options: argparse.Namespace
    doors: "Doors"
    target: "DeploymentTarget"
    standing: "Standing"
    """What was decided on: the endpoint at the newest commit that this tick has seen."""
    state: "State"
    plan: "Plan"

    def observe(self, wanted: "Iterable[Comparison]", now: datetime) -> "Observed":
        """What was seen of each comparison.

        Raises:
            ConfigError: there is no such source.
            EventStoreError: the event store cannot be read.
            RetryLaterError: Prometheus is away.
        """
        return tuple(self._seen(each, now) for each in wanted)

    def _seen(self, each: "Comparison", now: datetime) -> "Observation":
        with self._observer(each) as observer:
            seen = observer.observe(stable=each.stable, canary=each.canary, since=each.since, now=now)
        return replace(seen, gpu=self._gpus(each, now))

    def _gpus(self, each: "Comparison", now: datetime) -> "Mapping[str, Readings | Missing]":
        """What the canary's GPUs say, where the plan asks and somebody can be asked."""
        from pipelines.analysis.gates import GpuGate  # noqa: PLC0415
        from pipelines.monitoring.gpu_source import gpu_readings  # noqa: PLC0415  scipy

        gates = [named.gate for named in self.plan.terms.gates if isinstance(named.gate, GpuGate)]
        address = getattr(self.options, "prometheus", None) or _address(self.options.source)
        is_control = self.state.baseline is not None and each.canary == self.state.baseline.deployment
        if not gates or not address or is_control:  # nobody judges the GPUs of a control
            return {}
        return gpu_readings(self.doors.open_prometheus(address), each.canary, gates, since=each.since, now=now)

    @contextmanager
    def _observer(self, each: "Comparison") -> "Iterator[Observer]":
        from pipelines.commands import endpoints  # noqa: PLC0415
        from pipelines.monitoring.counter_source import CounterObserver  # noqa: PLC0415  scipy
        from pipelines.monitoring.observing import EventObserver  # noqa: PLC0415

        address = _address(self.options.source)
        if address and not each.is_shadow:
            changes = tuple(_changes(self.standing, each.since))
            prometheus = self.doors.open_prometheus(address)
            yield CounterObserver(prometheus=prometheus, changes=changes, counters=self.options.counters)
            return
        with self.doors.open_events(self.doors.events_at(self.options.events)) as log:
            if each.is_shadow:
                yield self._shadow(each, log)
            else:
                splits = endpoints.Splits(self.target, self.standing)
                yield EventObserver(
                    log=log,
                    stage=self.state.stage,
                    endpoint=self.state.endpoint,
                    split_of=splits,
                    asked={gate.metric for gate in _means(self.plan)},
                    before=_before(self.plan),
                )

    def _shadow(self, each: "Comparison", log: "EventLog") -> "Observer":
        """Copies are no attempts, so counters do not tell them apart: the prediction log alone does."""
        from pipelines.monitoring.shadowing import ShadowObserver  # noqa: PLC0415
        from pipelines.promotion.strategies.shadow import Shadow  # noqa: PLC0415

        shadow, strategy = self.state.find(each.canary), self.plan.strategy
        return ShadowObserver(
            log=log,
            stage=self.state.stage,
            endpoint=self.state.endpoint,
            share=shadow.mirrored if shadow else 0,
            tolerance=strategy.tolerance if isinstance(strategy, Shadow) else 0.0,
        )


def _means(plan: "Plan") -> "list[MeanGate]":
    """What the plan asks of means of its users."""
    from pipelines.analysis.gates import MeanGate  # noqa: PLC0415
    from pipelines.promotion.strategies.experiment import Ab  # noqa: PLC0415

    gates = [named.gate for named in plan.terms.gates]
    asked = [*gates, plan.strategy.success.gate] if isinstance(plan.strategy, Ab) else gates
    return [gate for gate in asked if isinstance(gate, MeanGate)]


def _before(plan: "Plan") -> timedelta | None:
    """The longest past that the plan asks of its users."""
    spans = [gate.before_s for gate in _means(plan) if gate.before_s is not None]
    return timedelta(seconds=max(spans)) if spans else None


def _address(source: str) -> str:
    """Of Prometheus; empty: the event store."""
    kind, _, address = source.partition("=")
    if source != EVENTS and not (kind == PROMETHEUS and address):
        raise ConfigError(f"--source {source!r} is not known; write events, or prometheus=http://HOST:9090")
    return address


def _changes(standing: "Standing", since: datetime | None) -> Iterator[datetime]:
    """When the weights changed, from the one in force at ``since`` on; newest first."""
    if since is None:
        return
    newer: tuple[datetime, object] | None = None
    for commit, found in standing.past:
        if newer is not None and newer[1] != found.route.weights:
            yield newer[0]
        if commit.time <= since:
            yield since
            return
        newer = (commit.time, found.route.weights)
    yield since
