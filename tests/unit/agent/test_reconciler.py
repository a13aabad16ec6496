"""The loop with a made-up outside: verdicts, trouble, and what the next agent makes of it."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from mlflow_deploy_plugin.agent.envoy.bootstrap import Gateway
from mlflow_deploy_plugin.agent.envoy.files import EnvoyFiles
from mlflow_deploy_plugin.agent.envoy.process import EnvoyProcess
from mlflow_deploy_plugin.agent.envoy.routes import Served
from mlflow_deploy_plugin.agent.fake import FakeAdmin, FakeProcesses
from mlflow_deploy_plugin.agent.launch import Place
from mlflow_deploy_plugin.agent.memory import recall
from mlflow_deploy_plugin.agent.processes import Launch
from mlflow_deploy_plugin.agent.reconciler import Reconciler
from mlflow_deploy_plugin.agent.reserve import Reserve
from mlflow_deploy_plugin.agent.status import RefusedCommit, Verdict
from mlflow_deploy_plugin.agent.supervisor import Supervisor
from mlflow_deploy_plugin.agent.units import Unit
from mlflow_deploy_plugin.agent.watch import Sighting
from mlflow_deploy_plugin.errors import AgentError
from mlflow_deploy_plugin.manifests.model import Deployment, Stage

Make = Callable[..., Deployment]
MakeServed = Callable[..., Served]


@dataclass
class Bench:
    """One machine; :meth:`agent` is a fresh agent on it."""

    folder: Path
    now: float = 0.0
    absent: frozenset[str] = frozenset()
    processes: FakeProcesses = field(default_factory=FakeProcesses)
    admin: FakeAdmin = field(init=False)
    gateway: Gateway = field(init=False)

    def __post_init__(self) -> None:
        self.gateway = Gateway(
            host="127.0.0.1", port=1, stage="s", folder=self.folder / "envoy", attempts_log=self.folder / "a.log"
        )
        self.admin = FakeAdmin(gateway=self.gateway)

    def launch(self, unit: Unit, place: Place) -> Launch:
        if unit.deployment.name in self.absent:
            raise AgentError("no Bento")
        log = self.folder / "log"
        return Launch(command=("x",), cwd=self.folder, environment={}, log=log, record=place.record)

    def agent(self) -> Reconciler:
        files = EnvoyFiles(gateway=self.gateway)
        files.prepare()
        memory_file = self.folder / "agent" / "applied.json"
        memory_file.parent.mkdir(exist_ok=True)
        supervisor = Supervisor(
            home="h", processes=self.processes, launcher=self.launch, gpus=lambda: (), clock=lambda: self.now
        )
        envoy = EnvoyProcess(
            home="h",
            gateway=self.gateway,
            bootstrap=files.bootstrap,
            processes=self.processes,
            clock=lambda: self.now,
            binary=Path("/envoy"),
        )
        found = self.processes.find("h")
        supervisor.adopt(found)
        envoy.adopt(found)
        return Reconciler(
            supervisor=supervisor,
            envoy=envoy,
            files=files,
            admin=self.admin,
            memory=recall(memory_file, repository="r", stage="s"),
            memory_file=memory_file,
            reserve=Reserve(path=self.folder / "reserve"),
            clock=lambda: self.now,
            ready_limit_s=30.0,
        )

    def live(self, agent: Reconciler, seconds: float = 30.0) -> None:
        for _ in range(int(seconds * 5)):
            self.now += 0.2
            agent.turn()

    def models(self) -> list[int]:
        return [pid for pid, running in self.processes.alive.items() if running.record["kind"] == "worker"]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def sighting(commit: str, *served: Served, **changes: Any) -> Sighting:
    endpoints = {one.endpoint.route.endpoint: one.endpoint for one in served}
    return Sighting(commit=commit, stage=Stage(name="s", endpoints=endpoints), **changes)


def test_a_commit_is_applied_once_envoy_has_proven_it_and_with_it_those_that_came_between(
    bench: Bench, make_deployment: Make, make_served: MakeServed
) -> None:
    agent = bench.agent()
    agent.see(sighting("c2", make_served(make_deployment("a")), between=("c1",)))
    agent.turn()
    assert not agent.verdicts
    bench.live(agent)
    assert agent.verdicts == (Verdict(commit="c1", outcome="applied"), Verdict(commit="c2", outcome="applied"))
    assert agent.files.version("rds").startswith("c2+")
    assert (agent.memory.commit, list(agent.memory.endpoints)) == ("c2", ["churn"])


def test_a_commit_without_news_for_the_stage_is_applied_too(
    bench: Bench, make_deployment: Make, make_served: MakeServed
) -> None:
    agent = bench.agent()
    for commit in ("c1", "c2"):
        agent.see(sighting(commit, make_served(make_deployment("a"))))
        bench.live(agent)
    assert agent.memory.commit == "c2"
    assert agent.applied["churn"].commit == "c1", "the commit that its split is of"


def test_a_commit_that_cannot_be_read_is_refused_and_what_is_on_its_way_arrives(
    bench: Bench, make_deployment: Make, make_served: MakeServed
) -> None:
    agent = bench.agent()
    agent.see(sighting("c1", make_served(make_deployment("a"))))
    agent.see(Sighting(commit="c2", reason="route.yaml: broken"))
    bench.live(agent)
    refused = Verdict(commit="c2", outcome="refused", reason="route.yaml: broken")
    assert set(agent.verdicts) == {refused, Verdict(commit="c1", outcome="applied")}
    assert agent.refusal() == RefusedCommit(commit="c2", reason="route.yaml: broken")
    assert (agent.head, agent.memory.commit) == ("c2", "c1")


def test_a_refused_endpoint_names_itself_and_the_next_commit_clears_it(
    bench: Bench, make_deployment: Make, make_served: MakeServed
) -> None:
    bench.absent = frozenset({"b"})
    agent = bench.agent()
    good = make_served(make_deployment("a"))
    agent.see(sighting("c1", good))
    bench.live(agent)
    agent.see(sighting("c2", make_served(make_deployment("a"), make_deployment("b"), b=1, commit="c2")))
    bench.live(agent)
    assert agent.verdicts[-1].endpoints == ("churn",)
    assert "deployment 'b' cannot start: no Bento" in agent.verdicts[-1].reason
    assert (agent.refusal() or RefusedCommit(commit="", reason="")).commit == "c2"
    assert agent.files.version("rds").startswith("c1+"), "the newest commit that is served whole"
    agent.see(sighting("c3", good))
    bench.live(agent)
    assert (agent.refusal(), agent.memory.commit) == (None, "c3")


def test_a_full_disk_is_told_and_what_was_wished_meanwhile_comes_true_later(
    bench: Bench, make_deployment: Make, make_served: MakeServed
) -> None:
    agent = bench.agent()
    agent.see(sighting("c1", make_served(make_deployment("a"))))
    bench.live(agent)
    shutil.move(bench.folder / "agent", bench.folder / "gone")  # stands for any refusal of the system
    agent.see(sighting("c2", make_served(make_deployment("a"), make_deployment("b"), b=1)))
    bench.live(agent)
    assert "the system refuses" in agent.trouble
    assert agent.memory.commit == "c1"
    shutil.move(bench.folder / "gone", bench.folder / "agent")
    bench.live(agent)
    assert (agent.trouble, agent.memory.commit) == ("", "c2")


def test_the_next_agent_takes_over_without_a_change(
    bench: Bench, make_deployment: Make, make_served: MakeServed
) -> None:
    first = bench.agent()
    one = make_served(make_deployment("a", replicas=2), make_deployment("b"), b=1)
    first.see(sighting("c1", one))
    bench.live(first)
    files = {path: path.read_text() for path in (bench.folder / "envoy").rglob("*.json")}
    processes = dict(bench.processes.alive)
    second = bench.agent()
    bench.live(second)
    second.see(sighting("c1", one))
    bench.live(second)
    assert bench.processes.alive == processes
    assert {path: path.read_text() for path in (bench.folder / "envoy").rglob("*.json")} == files
    assert second.memory.commit == "c1"


def test_a_next_agent_that_sees_no_good_commit_serves_what_was_served(
    bench: Bench, make_deployment: Make, make_served: MakeServed
) -> None:
    first = bench.agent()
    first.see(sighting("c1", make_served(make_deployment("a"))))
    bench.live(first)
    for pid in list(bench.processes.alive):
        bench.processes.end(pid)  # the machine was started anew
    second = bench.agent()
    second.see(Sighting(commit="c2", reason="broken"))
    bench.live(second)
    assert len(bench.models()) == 1
    assert list(second.applied) == ["churn"]


def test_envoy_is_started_again_when_it_dies_and_rests_only_when_it_dies_again(bench: Bench) -> None:
    agent = bench.agent()
    agent.turn()
    starts = []
    for _ in range(4):
        assert agent.envoy.pid is not None
        bench.processes.end(agent.envoy.pid)
        began = bench.now
        before = agent.envoy.starts
        while agent.envoy.starts == before:
            agent.turn()
            bench.now += 0.05
        starts.append(bench.now - began)
    assert starts == pytest.approx([0.05, 0.25, 0.45, 0.85], abs=0.06)


def test_without_envoy_nothing_is_decided_and_nothing_stops(
    bench: Bench, make_deployment: Make, make_served: MakeServed
) -> None:
    agent = bench.agent()
    agent.see(sighting("c1", make_served(make_deployment("a"))))
    bench.live(agent)
    bench.admin.is_away = True
    agent.see(sighting("c2"))
    bench.live(agent, 200)
    assert len(bench.models()) == 1
    bench.admin.is_away = False
    bench.live(agent)
    assert (agent.memory.commit, bench.models()) == ("c2", [])
    assert not list((bench.folder / "envoy" / "eds").iterdir())


def test_a_listener_that_envoy_does_not_take_is_offered_again_and_told(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = bench.agent()
    versions = bench.admin.versions
    monkeypatch.setattr(FakeAdmin, "versions", lambda _: {**versions(), "lds": ""})
    before = bench.gateway.file("lds").stat().st_mtime_ns
    bench.live(agent, 5)
    assert "Envoy does not accept port 1" in agent.trouble
    assert bench.gateway.file("lds").stat().st_mtime_ns > before
