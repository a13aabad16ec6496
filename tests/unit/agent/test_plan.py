"""The plan, lived through in a world that obeys it: nothing is broken before its successor is made."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlflow_deploy_plugin.agent.envoy.clusters import PAIR, Host, members
from mlflow_deploy_plugin.agent.envoy.routes import Served, clusters_of
from mlflow_deploy_plugin.agent.plan import (
    DrainWorker,
    GatewayView,
    HostView,
    Pending,
    Plan,
    PublishClusters,
    Published,
    PublishHosts,
    PublishRoutes,
    Refusal,
    Situation,
    StartWorker,
    StopWorker,
    Trial,
    Worker,
    plan,
)
from mlflow_deploy_plugin.agent.units import Unit, grpc_port
from mlflow_deploy_plugin.manifests.model import Deployment

Make = Callable[..., Deployment]
MakeServed = Callable[..., Served]
Hosts = dict[str, tuple[Host, ...]]


@dataclass
class World:
    """Obeys each action and lets a second pass at each step; checks that no request could fail."""

    targets: Mapping[str, Served] | None = None
    start_s: int = 2
    broken: frozenset[str] = frozenset()
    """Deployments whose processes end at once."""
    silent: frozenset[str] = frozenset()
    """Deployments that are never ready."""
    busy: frozenset[str] = frozenset()
    """Deployments with a request that does not end."""
    obstacles: Mapping[str, str] = field(default_factory=dict)
    envoy_is_away: bool = False
    ready_limit_s: float = 30.0
    now: float = 0.0
    applied: Mapping[str, Served] = field(default_factory=dict)
    pending: Mapping[str, Pending] = field(default_factory=dict)
    refused: Mapping[str, Refusal] = field(default_factory=dict)
    workers: dict[int, Worker] = field(default_factory=dict)
    born: dict[int, float] = field(default_factory=dict)
    trials: dict[str, Trial] = field(default_factory=dict)
    hosts: Hosts = field(default_factory=dict)
    clusters: frozenset[str] = frozenset()
    in_envoy: frozenset[str] = frozenset()
    routes: Mapping[str, Served] = field(default_factory=dict)
    routes_at: float = 0.0
    stopped: list[str] = field(default_factory=list)
    last: Plan | None = None

    def is_ready(self, pid: int) -> bool:
        worker = self.workers[pid]
        name = worker.unit.partition("@")[0]
        return name not in self.silent and self.now - self.born[pid] >= self.start_s

    def view(self) -> GatewayView | None:
        if self.envoy_is_away:
            return None
        by_port = {p: pid for pid, one in self.workers.items() for p in (one.port, grpc_port(one.port))}
        seen: dict[str, dict[int, HostView]] = {}
        for name in self.in_envoy:
            hosts = self.hosts.get(name, ())
            active = int(name.partition("@")[0] in self.busy)
            seen[name] = {
                host.port: HostView(
                    is_healthy=host.port in by_port and not host.is_draining and self.is_ready(by_port[host.port]),
                    active=active,
                )
                for host in hosts
            }
        return GatewayView(hosts=seen)

    def step(self) -> Plan:
        self.now += 1.0
        self.in_envoy = self.clusters
        self.last = plan(
            Situation(
                now=self.now,
                targets=self.targets,
                applied=self.applied,
                pending=self.pending,
                refused=self.refused,
                workers=tuple(self.workers.values()),
                trials=self.trials,
                gateway=self.view(),
                published=Published(
                    clusters=self.clusters, routes=self.routes, routes_proven_s=self.now - self.routes_at
                ),
                ready_limit_s=self.ready_limit_s,
            )
        )
        self.applied, self.pending, self.refused = self.last.applied, self.last.pending, self.last.refused
        for action in self.last.actions:
            self.do(action)
        self.die()
        self.check()
        return self.last

    def do(self, action: Any) -> None:
        match action:
            case StartWorker():
                self.start(action)
            case PublishHosts():
                self.hosts[action.cluster] = action.hosts
            case PublishClusters():
                self.clusters = frozenset(action.names)
            case PublishRoutes():
                assert clusters_of(action.served.values()) <= self.in_envoy
                if action.served != self.routes:
                    self.routes, self.routes_at = action.served, self.now
            case DrainWorker():
                self.workers[action.pid] = replace(self.workers[action.pid], draining_s=2.0)
            case StopWorker():
                self.stopped.append(self.workers[action.pid].unit)
                del self.workers[action.pid]

    def start(self, action: StartWorker) -> None:
        name = action.unit.deployment.name
        if name in self.obstacles:
            self.trials[action.unit.key] = Trial(obstacle=self.obstacles[name])
            return
        pid = len(self.born) + 1
        self.workers[pid] = Worker(unit=action.unit.key, slot=action.slot, port=20000 + 2 * pid, pid=pid)
        self.born[pid] = self.now

    def die(self) -> None:
        for pid, worker in list(self.workers.items()):
            if worker.unit.partition("@")[0] in self.broken:
                del self.workers[pid]
                deaths = self.trials.get(worker.unit, Trial()).deaths
                self.trials[worker.unit] = Trial(deaths=deaths + 1, reason="exit code 1: boom")

    def check(self) -> None:
        """Every cluster that routes name exists, and stable has a process that is ready or was never promised."""
        assert clusters_of(self.routes.values()) <= self.clusters
        for name in self.clusters:
            assert set(members(name)) <= self.clusters
        view = self.view()
        for one in self.routes.values():
            stable = one.endpoint.deployments[one.endpoint.route.stable]
            if view is not None and stable.name not in self.broken | self.silent:
                assert view.healthy(Unit.of(stable).key) > 0, "routes lead to nobody"

    def settle(self, steps: int = 60) -> None:
        for _ in range(steps):
            self.step()


def running(*endpoints: Served, **options: Any) -> World:
    world = World(targets={one.endpoint.route.endpoint: one for one in endpoints}, **options)
    world.settle()
    assert world.routes == world.targets
    return world


def names(units: Any) -> list[str]:
    return sorted({unit.partition("@")[0] for unit in units})


def test_an_endpoint_is_routed_only_once_all_its_processes_are_ready(
    make_deployment: Make, make_served: MakeServed
) -> None:
    world = World(targets={"churn": make_served(make_deployment("churn", replicas=2, workers=2))}, start_s=5)
    steps = [world.step() for _ in range(4)]
    assert sum(isinstance(action, StartWorker) for action in steps[0].actions) == 4
    assert not world.routes
    assert world.pending["churn"].waits_for == ("deployment 'churn': 0 of 4 processes ready",)
    world.settle()
    assert world.routes == world.targets
    assert not world.pending


def test_a_canary_s_pair_with_stable_exists_before_the_routes_that_need_it(
    make_deployment: Make, make_served: MakeServed
) -> None:
    world = running(make_served(make_deployment("a")))
    world.targets = {"churn": make_served(make_deployment("a"), make_deployment("b"), b=100)}
    world.settle()  # World.do refuses routes whose clusters Envoy does not have
    assert world.routes == world.targets
    assert any(PAIR in name for name in world.clusters)


def test_an_update_keeps_the_old_unit_until_the_new_one_has_its_traffic(
    make_deployment: Make, make_served: MakeServed
) -> None:
    world = running(make_served(make_deployment("a", digest="old")))
    world.targets = {"churn": make_served(make_deployment("a", digest="new"))}
    old = Unit.of(make_deployment("a", digest="old")).key
    while world.routes != world.targets:
        assert old in world.clusters
        assert not world.stopped
        world.step()
    world.settle()
    assert world.stopped == [old]
    assert old not in world.clusters


def test_a_unit_with_a_request_under_way_is_not_taken_away(make_deployment: Make, make_served: MakeServed) -> None:
    world = running(make_served(make_deployment("a"), make_deployment("b"), b=100), busy=frozenset({"b"}))
    world.targets = {"churn": make_served(make_deployment("a"))}
    world.settle(100)
    assert "b" in names(world.clusters)
    world.busy = frozenset()
    world.settle()
    assert names(world.clusters) == ["a"]
    assert names(world.stopped) == ["b"]


def test_a_request_that_never_ends_is_cut_off_after_the_limit(make_deployment: Make, make_served: MakeServed) -> None:
    world = running(make_served(make_deployment("a"), make_deployment("b"), b=100), busy=frozenset({"b"}))
    world.targets = {"churn": make_served(make_deployment("a"))}
    world.settle(200)
    assert names(world.stopped) == ["b"]


def test_a_dying_canary_does_not_keep_its_own_rollback_waiting(make_deployment: Make, make_served: MakeServed) -> None:
    a, b = make_deployment("a"), make_deployment("b")
    world = running(make_served(a, b, b=500))
    world.silent = frozenset({"b"})
    world.targets = {"churn": make_served(a, b, b=0)}
    world.step()
    world.step()
    assert world.routes == world.targets


def test_a_dead_deployment_is_not_given_more_weight(make_deployment: Make, make_served: MakeServed) -> None:
    a, b = make_deployment("a"), make_deployment("b")
    world = running(make_served(a, b, b=100))
    world.silent = frozenset({"b"})
    world.targets = {"churn": make_served(a, b, b=200)}
    world.settle(20)
    assert world.routes["churn"].endpoint.route.weights["b"] == 100
    assert world.pending["churn"].waits_for == ("deployment 'b': 0 of 1 processes ready",)


@pytest.mark.parametrize(
    ("faults", "reason"),
    [
        ({"broken": frozenset({"b"})}, "deployment 'b' does not start: exit code 1: boom"),
        ({"silent": frozenset({"b"})}, "deployment 'b': 0 of 1 processes ready after 30 s"),
        ({"obstacles": {"b": "no Bento"}}, "deployment 'b' cannot start: no Bento"),
    ],
)
def test_what_cannot_be_brought_to_life_is_refused_cleaned_up_and_not_tried_again(
    make_deployment: Make, make_served: MakeServed, faults: Any, reason: str
) -> None:
    good = make_served(make_deployment("a"))
    world = running(good, **faults)
    world.targets = {"churn": make_served(make_deployment("a"), make_deployment("b"), b=100, commit="c2")}
    world.settle(80)
    assert (world.refused["churn"].reason, world.refused["churn"].commit) == (reason, "c2")
    assert world.routes == {"churn": good}
    assert names(worker.unit for worker in world.workers.values()) == ["a"]
    assert names(world.clusters) == ["a"]
    tried = len(world.born)
    world.settle(80)
    assert len(world.born) == tried


def test_a_refusal_is_forgotten_once_the_endpoint_says_something_else(
    make_deployment: Make, make_served: MakeServed
) -> None:
    a = make_deployment("a")
    world = running(make_served(a), broken=frozenset({"b"}))
    world.targets = {"churn": make_served(a, make_deployment("b"), b=100)}
    world.settle()
    world.targets = {"churn": make_served(a)}
    world.settle()
    assert not world.refused
    world.broken = frozenset()
    world.targets = {"churn": make_served(a, make_deployment("b", digest="mended"), b=100)}
    world.settle()
    assert world.routes == world.targets


def test_an_endpoint_that_is_refused_does_not_hold_up_another(make_deployment: Make, make_served: MakeServed) -> None:
    other = make_served(make_deployment("p", endpoint="price"), endpoint="price")
    world = running(make_served(make_deployment("a")), broken=frozenset({"b"}))
    world.targets = {"churn": make_served(make_deployment("a"), make_deployment("b"), b=1), "price": other}
    world.settle()
    assert world.routes["price"] == other
    assert "churn" in world.refused


def test_replicas_come_and_go_within_the_same_cluster(make_deployment: Make, make_served: MakeServed) -> None:
    world = running(make_served(make_deployment("a")))
    clusters, first = world.clusters, set(world.workers)
    world.targets = {"churn": make_served(make_deployment("a", replicas=3))}
    world.settle()
    assert (world.clusters, len(world.workers)) == (clusters, 3)
    world.targets = {"churn": make_served(make_deployment("a"))}
    world.settle()
    assert (world.clusters, set(world.workers)) == (clusters, first)


def test_a_worker_that_ends_is_replaced(make_deployment: Make, make_served: MakeServed) -> None:
    world = running(make_served(make_deployment("a", replicas=2)))
    world.workers.popitem()
    world.settle()
    assert len(world.workers) == 2


def test_nothing_known_changes_nothing(make_deployment: Make, make_served: MakeServed) -> None:
    world = running(make_served(make_deployment("a")))
    workers, routes = dict(world.workers), world.routes
    world.targets = None
    world.settle()
    assert (world.workers, world.routes) == (workers, routes)


def test_without_envoy_nothing_is_taken_away(make_deployment: Make, make_served: MakeServed) -> None:
    world = running(make_served(make_deployment("a"), make_deployment("b"), b=100))
    world.envoy_is_away = True
    world.targets = {"churn": make_served(make_deployment("a"))}
    world.settle()
    assert (names(world.clusters), world.stopped) == (["a", "b"], [])
    world.envoy_is_away = False
    world.settle()
    assert names(world.clusters) == ["a"]


def test_an_endpoint_without_a_commit_for_it_ends_whole(make_deployment: Make, make_served: MakeServed) -> None:
    world = running(make_served(make_deployment("a"), make_deployment("b"), b=100))
    world.targets = {}
    world.settle()
    assert (world.routes, world.clusters, world.workers) == ({}, frozenset(), {})


def states() -> Iterator[Any]:
    """Endpoints of up to three deployments, each of two possible models, one or two processes, any weights."""
    arm = st.tuples(st.sampled_from("xy"), st.integers(1, 2))
    return st.builds(  # type: ignore[return-value]
        lambda arms, weights: (arms, weights),
        st.lists(arm, min_size=1, max_size=3),
        st.lists(st.integers(0, 400), min_size=2, max_size=2),
    )


@settings(max_examples=60, deadline=None)
@given(
    sequence=st.lists(st.one_of(st.none(), states()), min_size=1, max_size=4),
    pauses=st.lists(st.integers(0, 12), min_size=4, max_size=4),
)
def test_whatever_is_asked_in_whatever_moment_no_route_leads_to_nobody_and_the_last_wish_comes_true(
    make_deployment: Make, make_served: MakeServed, sequence: Any, pauses: Any
) -> None:
    world = World(targets={})
    for wish, pause in zip(sequence, pauses, strict=False):
        if wish is None:
            world.targets = {}
        else:
            arms, weights = wish
            deployments = [
                make_deployment("abc"[index], digest=digest, replicas=replicas)
                for index, (digest, replicas) in enumerate(arms)
            ]
            named = dict(zip("bc"[: len(arms) - 1], weights, strict=False))
            world.targets = {"churn": make_served(*deployments, **named)}
        world.settle(pause)
    world.settle(80)
    assert world.routes == world.targets
    wanted = {key for one in world.targets.values() for key in clusters_of([one])}
    assert world.clusters == wanted
