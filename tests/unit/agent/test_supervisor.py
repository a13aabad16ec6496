"""Workers that are started, die, rest, come back, and are found by the next agent."""

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from mlflow_deploy_plugin.agent.fake import FakeProcesses
from mlflow_deploy_plugin.agent.gpus import Holding, devices_for, share_of, visible_gpus
from mlflow_deploy_plugin.agent.launch import Place
from mlflow_deploy_plugin.agent.processes import Launch, OsProcesses, Running
from mlflow_deploy_plugin.agent.supervisor import Supervisor
from mlflow_deploy_plugin.agent.units import Unit
from mlflow_deploy_plugin.errors import AgentError
from mlflow_deploy_plugin.manifests.model import Deployment, Resources

Make = Callable[..., Deployment]


@dataclass
class Bench:
    folder: Path
    gpus: tuple[str, ...] = ()
    now: float = 100.0
    obstacle: str = ""
    processes: FakeProcesses = field(default_factory=FakeProcesses)
    beside: dict[str, str] = field(default_factory=dict)
    """What a launch adds to its record."""

    def supervisor(self) -> Supervisor:
        return Supervisor(
            home="/home",
            processes=self.processes,
            launcher=self.launch,
            gpus=lambda: self.gpus,
            clock=lambda: self.now,
        )

    def launch(self, unit: Unit, place: Place) -> Launch:
        if self.obstacle:
            raise AgentError(self.obstacle)
        log = self.folder / f"{unit.deployment.name}-{place.slot}.log"
        return Launch(command=("x",), cwd=self.folder, environment={}, log=log, record={**place.record, **self.beside})


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_a_worker_s_socket_is_known_also_to_the_next_agent(bench: Bench, make_deployment: Make) -> None:
    bench.beside = {"socket": "modelserve-18000"}
    supervisor = bench.supervisor()
    supervisor.start(Unit.of(make_deployment("a")), 0)
    following = bench.supervisor()
    following.adopt(bench.processes.find("/home"))
    assert [worker.socket for one in (supervisor, following) for worker in one.workers()] == ["modelserve-18000"] * 2


def pids(supervisor: Supervisor) -> list[int]:
    return [worker.pid for worker in supervisor.workers()]


def test_a_worker_that_ends_leaves_its_last_words_and_rests_ever_longer(bench: Bench, make_deployment: Make) -> None:
    supervisor, unit = bench.supervisor(), Unit.of(make_deployment("a"))
    rests = []
    for _ in range(9):
        supervisor.start(unit, 0)
        (bench.folder / "a-0.log").write_text("started\nValueError: boom\n")
        bench.processes.end(pids(supervisor)[0])
        supervisor.reap()
        began = bench.now
        while supervisor.resting():
            bench.now += 0.05
        rests.append(bench.now - began)
    assert rests == pytest.approx([0.25, 0.5, 1, 2, 4, 8, 16, 30, 30], abs=0.06)
    trial = supervisor.trials()[unit.key]
    assert (trial.deaths, trial.reason) == (9, "exit code 1: started / ValueError: boom")
    assert supervisor.is_looping(unit.key)
    assert supervisor.restarts(unit.key, 0) == 9


def test_one_that_ran_well_is_replaced_at_once(bench: Bench, make_deployment: Make) -> None:
    supervisor, unit = bench.supervisor(), Unit.of(make_deployment("a"))
    supervisor.start(unit, 0)
    supervisor.mark_ready(unit.key, supervisor.workers()[0].port)
    bench.processes.end(pids(supervisor)[0], "killed by SIGKILL")
    supervisor.reap()
    assert not supervisor.resting()
    assert supervisor.trials()[unit.key].was_ready
    assert not supervisor.is_looping(unit.key)


def test_one_that_was_told_to_exit_is_not_held_against_its_unit(bench: Bench, make_deployment: Make) -> None:
    supervisor, unit = bench.supervisor(), Unit.of(make_deployment("a"))
    supervisor.start(unit, 0)
    supervisor.stop(pids(supervisor)[0])
    supervisor.reap()
    assert (supervisor.workers(), supervisor.restarts(unit.key, 0)) == ((), 0)


def test_one_that_does_not_exit_is_killed(bench: Bench, make_deployment: Make) -> None:
    bench.processes.ignores_sigterm = True
    supervisor = bench.supervisor()
    supervisor.start(Unit.of(make_deployment("a")), 0)
    (pid,) = pids(supervisor)
    supervisor.stop(pid)
    bench.now += 10
    supervisor.reap()
    assert pids(supervisor) == [pid]
    bench.now += 10
    supervisor.reap()
    supervisor.reap()
    assert bench.processes.signals == [(pid, signal.SIGTERM), (pid, signal.SIGKILL)]
    assert not pids(supervisor)


def test_an_obstacle_is_remembered_until_it_is_gone(bench: Bench, make_deployment: Make) -> None:
    supervisor, unit = bench.supervisor(), Unit.of(make_deployment("a"))
    bench.obstacle = "no Bento"
    supervisor.start(unit, 0)
    assert supervisor.trials()[unit.key].obstacle == "no Bento"
    assert supervisor.resting() == {(unit.key, 0)}
    bench.obstacle = ""
    supervisor.start(unit, 0)
    assert not supervisor.trials()[unit.key].obstacle


def test_the_next_agent_adopts_what_runs_and_nobody_else_s(bench: Bench, make_deployment: Make) -> None:
    first, unit = bench.supervisor(), Unit.of(make_deployment("a", resources=Resources(gpu=1)))
    bench.gpus = ("0",)
    first.start(unit, 1)
    second = bench.supervisor()
    second.adopt(bench.processes.find("/elsewhere"))
    assert not second.workers()
    second.adopt(bench.processes.find("/home"))
    assert second.workers() == first.workers()
    assert second.devices(pids(second)[0]) == ("0",)


def test_history_of_units_that_nobody_wants_is_dropped(bench: Bench, make_deployment: Make) -> None:
    supervisor, unit = bench.supervisor(), Unit.of(make_deployment("a"))
    supervisor.start(unit, 0)
    bench.processes.end(pids(supervisor)[0])
    supervisor.reap()
    supervisor.forget([unit.key])
    assert supervisor.trials()
    supervisor.forget([])
    assert (supervisor.trials(), supervisor.resting()) == ({}, frozenset())


def gpus_of(bench: Bench, supervisor: Supervisor) -> list[tuple[str, ...]]:
    return [tuple(bench.processes.launches[pid].record["devices"]) for pid in pids(supervisor)]


def test_each_worker_gets_its_own_device_and_a_restarted_one_the_same(bench: Bench, make_deployment: Make) -> None:
    bench.gpus = ("0", "1", "2", "3")
    supervisor = bench.supervisor()
    unit = Unit.of(make_deployment("a", replicas=2, workers=2, resources=Resources(gpu=2)))
    for slot in range(4):
        supervisor.start(unit, slot)
    assert gpus_of(bench, supervisor) == [("0",), ("1",), ("2",), ("3",)]
    bench.processes.end(pids(supervisor)[2])
    supervisor.reap()
    supervisor.start(unit, 2)
    assert gpus_of(bench, supervisor)[-1] == ("2",)


def test_too_few_gpus_are_refused_with_who_holds_them(bench: Bench, make_deployment: Make) -> None:
    bench.gpus = ("0",)
    supervisor = bench.supervisor()
    supervisor.start(Unit.of(make_deployment("a", resources=Resources(gpu=1))), 0)
    other = Unit.of(make_deployment("b", resources=Resources(gpu=1)))
    supervisor.start(other, 0)
    assert supervisor.trials()[other.key].obstacle == (
        "it asks for 1 GPU for each replica; this machine has 0, held by a (0); use -C gpu=auto"
    )


def test_a_new_generation_takes_over_the_device_of_the_old_one_where_none_is_free(
    bench: Bench, make_deployment: Make
) -> None:
    bench.gpus = ("0",)
    supervisor = bench.supervisor()
    for digest in ("old", "new"):
        supervisor.start(Unit.of(make_deployment("a", digest=digest, resources=Resources(gpu=1))), 0)
    assert gpus_of(bench, supervisor) == [("0",), ("0",)]


def test_two_replicas_of_a_new_generation_do_not_take_over_the_same_device(make_deployment: Make) -> None:
    deployment = make_deployment("a", replicas=2, resources=Resources(gpu=1))
    old = [Holding(deployment="a", unit="a@old", replica=replica, devices=(str(replica),)) for replica in (0, 1)]
    first = devices_for(deployment, "a@new", 0, visible=("0", "1"), holdings=old)
    assert first == ("0",)
    taken = [*old, Holding(deployment="a", unit="a@new", replica=0, devices=first)]
    assert devices_for(deployment, "a@new", 1, visible=("0", "1"), holdings=taken) == ("1",)


@pytest.mark.parametrize(
    ("workers", "devices", "shares"),
    [(1, "01", ["01"]), (2, "012", ["02", "1"]), (3, "0", ["0", "0", "0"]), (2, "01", ["0", "1"])],
)
def test_workers_divide_their_replica_s_devices_or_share_them(
    make_deployment: Make, workers: int, devices: str, shares: list[str]
) -> None:
    one = make_deployment("a", workers=workers)
    assert ["".join(share_of(one, slot, tuple(devices))) for slot in range(workers)] == shares


@pytest.mark.parametrize(
    ("environment", "found", "visible"),
    [({}, 2, ("0", "1")), ({"CUDA_VISIBLE_DEVICES": "GPU-a,GPU-b"}, 2, ("GPU-a", "GPU-b")), ({}, 0, ())],
)
def test_visible_gpus_are_named_as_cuda_names_them(environment: Any, found: int, visible: Any) -> None:
    assert visible_gpus(environment, count=lambda _: found) == visible


GIB = 1024**3


def test_a_worker_that_has_more_memory_than_it_may_is_replaced_one_of_a_unit_at_a_time(
    bench: Bench, make_deployment: Make
) -> None:
    deployment = make_deployment("a", workers=2, resources=Resources(memory="2Gi"))
    supervisor, unit = bench.supervisor(), Unit.of(deployment)
    supervisor.start(unit, 0)
    supervisor.start(unit, 1)
    first, second = pids(supervisor)
    bench.processes.memory = {first: GIB, second: GIB // 2}
    supervisor.reap()
    assert bench.processes.signals == [], "a replica's memory is divided by its workers, and nobody has more than that"
    bench.processes.memory = {first: GIB + 1, second: GIB + 1}
    bench.now += 1
    supervisor.reap()
    supervisor.reap()
    assert bench.processes.signals == [(first, signal.SIGTERM)]
    supervisor.start(unit, 0)
    assert supervisor.restarts(unit.key, 0) == 1
    assert "may have 1024 (-C memory" in supervisor.trials()[unit.key].reason
    bench.now += 1
    supervisor.reap()
    assert bench.processes.signals[1:] == [], "the successor of the first is not ready"
    supervisor.mark_ready(unit.key, next(one.port for one in supervisor.workers() if one.slot == 0))
    bench.now += 1
    supervisor.reap()
    assert bench.processes.signals[1:] == [(second, signal.SIGTERM)]


def test_one_that_does_not_end_for_its_memory_is_killed(bench: Bench, make_deployment: Make) -> None:
    supervisor, unit = bench.supervisor(), Unit.of(make_deployment("a", resources=Resources(memory="1Gi")))
    bench.processes.ignores_sigterm = True
    supervisor.start(unit, 0)
    (pid,) = pids(supervisor)
    bench.processes.memory = {pid: 2 * GIB}
    for _ in range(20):
        supervisor.reap()
        bench.now += 1
    assert bench.processes.signals == [(pid, signal.SIGTERM), (pid, signal.SIGKILL)]


def test_a_memory_that_is_no_quantity_is_an_obstacle_with_the_way_out(bench: Bench, make_deployment: Make) -> None:
    supervisor, unit = bench.supervisor(), Unit.of(make_deployment("a", resources=Resources(memory="2 gigs")))
    supervisor.start(unit, 0)
    assert pids(supervisor) == []
    assert "use -C memory=2Gi" in supervisor.trials()[unit.key].obstacle


def test_the_memory_of_a_real_process_is_its_own() -> None:
    running = Running(pid=os.getpid(), born=0)
    before = OsProcesses().memory_of(running)
    held = bytearray(b"x" * (64 * 1024 * 1024))
    assert OsProcesses().memory_of(running) - before > len(held) // 2
    assert OsProcesses().memory_of(Running(pid=2**22 + 1, born=0)) == 0
