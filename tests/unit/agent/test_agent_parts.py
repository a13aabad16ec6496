"""The small parts: processes, lock, memory, status, watch, the client's reading of a verdict."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mlflow_deploy_plugin import manifests
from mlflow_deploy_plugin.agent import client
from mlflow_deploy_plugin.agent.atomic import replace_text
from mlflow_deploy_plugin.agent.envoy.process import PortTakenError, require_free
from mlflow_deploy_plugin.agent.envoy.routes import Served
from mlflow_deploy_plugin.agent.launch import BentoLauncher, Place, worker_environment
from mlflow_deploy_plugin.agent.lock import AlreadyRunningError, exclusive, holder
from mlflow_deploy_plugin.agent.memory import Memory, recall, remember
from mlflow_deploy_plugin.agent.plan import GatewayView, HostView, Pending, Refusal, Trial, Worker
from mlflow_deploy_plugin.agent.processes import Launch, OsProcesses, Running, born
from mlflow_deploy_plugin.agent.reserve import RESERVE_BYTES, Reserve
from mlflow_deploy_plugin.agent.run import parse
from mlflow_deploy_plugin.agent.status import AgentStatus, RefusedCommit, Verdict
from mlflow_deploy_plugin.agent.telling import Scene, deployments, endpoints, waiting
from mlflow_deploy_plugin.agent.units import Unit
from mlflow_deploy_plugin.agent.watch import Sighting, Sightings, Watch
from mlflow_deploy_plugin.config.home import Home
from mlflow_deploy_plugin.errors import AgentError, ConfigError, RetryLaterError
from mlflow_deploy_plugin.manifests.model import Deployment, Resources
from mlflow_deploy_plugin.repository import FakeRepository, Message, Trailers

Make = Callable[..., Deployment]
MakeServed = Callable[..., Served]


def status(**changes: Any) -> AgentStatus:
    base = {"version": "1", "pid": 1, "started": "t", "stage": "s", "repository": "file:///r", "gateway": "http://g"}
    return AgentStatus(**{**base, **changes})


# processes


def sleeper(tmp_path: Path, code: str = "import time; time.sleep(60)") -> Launch:
    return Launch(
        command=(sys.executable, "-S", "-c", code),
        cwd=tmp_path,
        environment={},
        log=tmp_path / "logs" / "x.log",
        record={"home": str(tmp_path), "slot": 3},
    )


def wait_for(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_process_is_found_again_by_the_record_that_it_carries(tmp_path: Path) -> None:
    first = OsProcesses()
    running = first.start(sleeper(tmp_path))
    try:
        wait_for(lambda: OsProcesses().find(str(tmp_path)) == (running,))
        assert OsProcesses().find(str(tmp_path / "other")) == ()
        (found,) = OsProcesses().find(str(tmp_path))
        assert found.record == {"home": str(tmp_path), "slot": 3}
        assert os.getsid(found.pid) == found.pid
    finally:
        first.signal(running, signal.SIGKILL)
    wait_for(lambda: first.exit_of(running) == "killed by SIGKILL")
    assert OsProcesses().exit_of(running) == "exited"


def test_children_of_a_process_of_ours_are_not_taken_for_it(tmp_path: Path) -> None:
    child = "import subprocess, sys; subprocess.run([sys.executable, '-S', '-c', 'import time; time.sleep(60)'])"
    processes = OsProcesses()
    running = processes.start(sleeper(tmp_path, child))
    try:
        wait_for(lambda: bool(Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text().strip()))
        assert [one.pid for one in processes.find(str(tmp_path))] == [running.pid]
    finally:
        os.killpg(running.pid, signal.SIGKILL)
        wait_for(lambda: processes.exit_of(running) is not None)


def test_a_pid_that_is_another_s_by_now_is_never_signalled() -> None:
    processes = OsProcesses()
    reused = Running(pid=os.getpid(), born=1)
    assert processes.exit_of(reused) == "exited"
    processes.signal(reused, signal.SIGKILL)  # would end this test


def test_output_goes_to_the_log_and_the_exit_code_into_words(tmp_path: Path) -> None:
    processes = OsProcesses()
    running = processes.start(sleeper(tmp_path, "import sys; print('hello'); sys.exit(7)"))
    wait_for(lambda: processes.exit_of(running) == "exit code 7")
    assert (tmp_path / "logs" / "x.log").read_text() == "hello\n"


# lock


def test_the_lock_is_one_agent_s_and_names_it(tmp_path: Path) -> None:
    path = tmp_path / "agent" / "lock"
    path.parent.mkdir()
    assert holder(path) is None
    with exclusive(path):
        assert holder(path) == os.getpid()
        with pytest.raises(AlreadyRunningError, match=f"pid {os.getpid()}"), exclusive(path):
            pytest.fail("two agents")
    assert holder(path) is None


def test_a_lock_whose_holder_was_killed_is_free(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    code = (
        "import sys; from pathlib import Path; from mlflow_deploy_plugin.agent.lock import exclusive\n"
        f"with exclusive(Path({str(path)!r})): print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        assert holder(path) == other.pid
        other.kill()
    assert holder(path) is None
    with exclusive(path):
        pass


def test_a_process_is_known_by_the_time_of_its_start() -> None:
    assert born(os.getpid()) == born(os.getpid()) != born(1)
    assert born(2**22 + 1) is None


# disk


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "x"
    replace_text(path, "one")
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("one", 0o600)
    path.unlink()
    path.mkdir()
    with pytest.raises(OSError, match="x"):
        replace_text(path, "two")
    assert list(tmp_path.iterdir()) == [path]


def test_the_reserve_is_kept_given_up_and_kept_again(tmp_path: Path) -> None:
    reserve = Reserve(path=tmp_path / "reserve")
    reserve.refill()
    assert reserve.path.stat().st_size == RESERVE_BYTES
    reserve.release()
    reserve.release()
    assert not reserve.path.exists()


def test_what_was_served_is_recalled_for_the_same_repository_and_stage(
    tmp_path: Path, make_deployment: Make, make_served: MakeServed
) -> None:
    path = tmp_path / "applied.json"
    one = make_served(make_deployment("a", environment={"X": "1"}), make_deployment("b"), b=10)
    memory = Memory(repository="r", stage="s", commit="c", endpoints={"churn": one})
    assert recall(path, repository="r", stage="s") == Memory(repository="r", stage="s")
    remember(path, memory)
    assert recall(path, repository="r", stage="s") == memory
    assert recall(path, repository="r", stage="other") == Memory(repository="r", stage="other")
    for spoilt in ('{"repository": "r"}', "{", "[]", path.read_text().replace("990", "900")):
        path.write_text(spoilt)
        assert recall(path, repository="r", stage="s") == Memory(repository="r", stage="s")


def test_a_status_reads_as_it_was_written_and_by_an_older_client() -> None:
    said = status(
        refused=RefusedCommit(commit="c", reason="why"),
        verdicts=(Verdict(commit="c", outcome="refused", endpoints=("churn",)),),
    )
    assert AgentStatus.from_json(said.to_json()) == said
    assert AgentStatus.from_json(said.to_json().replace('"stage"', '"later": 1, "stage"', 1)) == said
    for spoilt in ("{}", "[]", "{", '"x"'):
        with pytest.raises(ValueError, match=r"not a status|Expecting"):
            AgentStatus.from_json(spoilt)


# words


def scene(applied: Any, **changes: Any) -> Scene:
    values: dict[str, Any] = {
        "address": "http://g",
        "applied": applied,
        "pending": {},
        "refused": {},
        "workers": (),
        "trials": {},
        "gateway": GatewayView(),
        "was_ready": lambda _: False,
        "is_looping": lambda _: False,
        "restarts": lambda _unit, _slot: 0,
        "devices": lambda _: (),
    }
    return Scene(**{**values, **changes})


def test_a_deployment_is_ready_starting_failed_or_leaving(make_deployment: Make, make_served: MakeServed) -> None:
    one = make_deployment("a")
    key = Unit.of(one).key
    applied = {"churn": make_served(one)}
    worker = Worker(unit=key, slot=0, port=5, pid=9)
    ready = GatewayView(hosts={key: {5: HostView(is_healthy=True)}})

    def state(**changes: Any) -> tuple[str, str]:
        told = deployments(scene(applied, **changes))["a"]
        return told.state, told.reason

    assert state() == ("starting", "0 of 1 processes ready")
    assert state(workers=(worker,), gateway=ready) == ("ready", "")
    assert state(trials={key: Trial(obstacle="no GPU")}) == ("failed", "no GPU")
    assert state(trials={key: Trial(reason="boom")}, is_looping=lambda _: True) == ("failed", "boom")
    leaving = deployments(scene({}, workers=(worker,)))["a"]
    assert (leaving.state, [one.pid for one in leaving.workers]) == ("draining", [9])


def test_a_refused_deployment_says_why_and_a_pending_one_waits(make_deployment: Make, make_served: MakeServed) -> None:
    target = make_served(make_deployment("a"), make_deployment("b"), b=10)
    refusal = Refusal(commit="c", reason="boom", endpoint=target.endpoint)
    told = deployments(scene({"churn": make_served(make_deployment("a"))}, refused={"churn": refusal}))
    assert (told["b"].state, told["b"].reason) == ("failed", "boom")
    assert told["a"].state == "starting"
    pending = {
        "churn": Pending(endpoint=target.endpoint, since=0, waits_for=("b",)),
        "x": Pending(endpoint=target.endpoint, since=0),
    }
    assert waiting(pending) == {"churn": "b", "x": "its routes"}
    assert deployments(scene({}, pending=pending))["b"].state == "starting"


def test_an_endpoint_tells_its_address_and_its_split(make_deployment: Make, make_served: MakeServed) -> None:
    told = endpoints(scene({"churn": make_served(make_deployment("a"), make_deployment("b"), b=10)}))["churn"]
    assert (told.url, told.weights, told.stable) == ("http://g/endpoints/churn", {"b": 10, "a": 990}, "a")


# the client


def test_a_verdict_is_read_for_the_commit_and_for_one_endpoint_of_it() -> None:
    refused = Verdict(commit="c", outcome="refused", reason="why", endpoints=("churn",))
    said = status(verdicts=(Verdict(commit="b", outcome="applied"), refused))
    assert client._word(said, "b", "") == client.Applied()
    assert client._word(said, "c", "") == client.Refused("why")
    assert client._word(said, "c", "churn") == client.Refused("why")
    assert client._word(said, "c", "price") == client.Applied()
    assert client._word(said, "d", "") is None
    assert client._word(None, "d", "") is None
    assert client._word(status(applied="d"), "d", "") == client.Applied()


def test_an_endpoint_is_live_before_the_rest_of_its_commit_is() -> None:
    said = status(seen=("c",), pending={"slow": "b"}, is_settled=True)
    assert client._word(said, "c", "quick") == client.Applied()
    assert client._word(said, "c", "slow") is None
    bad = status(seen=("c",), pending={"slow": "b"}, failing={"bad": "boom"}, is_settled=True)
    assert client._word(bad, "c", "bad") == client.Refused("boom")
    assert client._word(said, "c", "") is None


def test_without_an_agent_there_is_no_status_and_nothing_to_stop(own_home: Path) -> None:
    home = Home(root=own_home).ensure()
    assert client.read_status(home) is None
    replace_text(home.status, status(pid=os.getpid()).to_json())
    assert client.read_status(home) is None, "a status that an agent left behind"
    assert client.stop(home) is False
    assert client.wait_applied(home, "c", 0.05) == client.TimedOut()


# the watch


def tree(name: str, make: Make) -> Any:
    return manifests.add_endpoint(manifests.skeleton(), make(name, digest=f"sha256:{'a' * 64}"), salt="s")


def watch(repository: FakeRepository, **changes: Any) -> Watch:
    values: dict[str, Any] = {
        "open": lambda: repository,
        "token": lambda: repository.head().sha if repository.head() else None,
        "stage": "production",
        "interval_s": 5.0,
    }
    return Watch(**{**values, **changes})


def look(one: Watch) -> list[Sighting]:
    seen: list[Sighting] = []
    one.look(seen.append)
    return seen


def placeholder(make: Make) -> Make:
    def build(name: str, **changes: Any) -> Deployment:
        image = f"modelserve.invalid/{name}@sha256:{'a' * 64}"
        return make(name, image=image, **changes)

    return build


def test_each_new_head_is_told_once_with_what_came_between(make_deployment: Make) -> None:
    make = placeholder(make_deployment)
    repository = FakeRepository(manifests.skeleton())
    one = watch(repository)
    first = look(one)
    assert [sighting.stage is not None for sighting in first] == [True]
    assert look(one) == []
    between = repository.push(tree("a", make), "a")
    newest = repository.push(tree("b", make), "b")
    (second,) = look(one)
    assert (second.commit, second.between) == (newest, (between,))
    assert second.stage is not None
    assert list(second.stage.endpoints) == ["churn"]


def test_a_sighting_says_what_was_decided_last_by_trailers_or_by_effect(make_deployment: Make) -> None:
    make = placeholder(make_deployment)
    said = Message(
        subject="made", trailers=Trailers(operation="1", endpoint="churn", stage="production", action="create")
    )
    repository = FakeRepository(tree("a", make))
    made = repository.push(tree("b", make), said.render())
    one = watch(repository)
    (first,) = look(one)
    assert {name: (found.action, found.commit) for name, found in first.decisions.items()} == {
        "churn": ("create", made)
    }
    edited = repository.push(tree("c", make), "a person's words")
    (second,) = look(one)
    assert {name: (found.action, found.commit) for name, found in second.decisions.items()} == {
        "churn": ("edit", edited)
    }
    repository.push({**tree("c", make), "README.md": "words"}, "another's")
    (third,) = look(one)
    assert third.decisions == {}


def test_a_broken_commit_is_told_with_its_reason_and_the_next_builds_on_the_good_one(make_deployment: Make) -> None:
    make = placeholder(make_deployment)
    repository = FakeRepository(tree("a", make))
    one = watch(repository)
    look(one)
    repository.push({**tree("a", make), "stages/production/churn/route.yaml": "["}, "broken")
    (broken,) = look(one)
    assert broken.stage is None
    assert broken.reason.startswith("stages/production/churn/route.yaml")
    repository.push(tree("a", make), "mended")
    (mended,) = look(one)
    assert mended.stage is not None


def test_a_rewritten_history_is_told_and_not_followed(make_deployment: Make) -> None:
    make = placeholder(make_deployment)
    repository = FakeRepository(manifests.skeleton())
    served = repository.push(tree("a", make), "a")
    one = watch(repository, base=served)
    look(one)
    repository.rewrite(1)
    repository.push(tree("b", make), "b")
    (sighting,) = look(one)
    assert "history was rewritten" in sighting.reason
    assert sighting.stage is None
    (accepted,) = look(watch(repository))
    assert accepted.stage is not None


def test_a_repository_that_is_away_is_a_problem_until_it_is_back() -> None:
    repository = FakeRepository(manifests.skeleton())
    away = [True]

    def open_it() -> FakeRepository:
        if away[0]:
            raise RetryLaterError("no network")
        return repository

    one = watch(repository, open=open_it, token=None)
    assert (look(one), one.problem) == ([], "no network")
    away[0] = False
    assert len(look(one)) == 1
    assert one.problem == ""
    assert one.look(lambda _: None) == 5.0


def test_the_watch_ends_when_it_is_told() -> None:
    stop, seen = threading.Event(), []
    repository = FakeRepository(manifests.skeleton())
    thread = threading.Thread(target=watch(repository).run, args=(stop, seen.append))
    thread.start()
    wait_for(lambda: bool(seen))
    stop.set()
    thread.join(5)
    assert not thread.is_alive()


HEARING = """
import signal, time
from mlflow_deploy_plugin.agent.watch import Sightings
signal.signal(signal.SIGALRM, lambda *_: time.sleep(0.3))
signal.setitimer(signal.ITIMER_REAL, 0.1)
print(Sightings().hear(0.2))
"""


def test_a_signal_as_the_wait_runs_out_does_not_make_it_endless() -> None:
    heard = subprocess.run([sys.executable, "-c", HEARING], capture_output=True, text=True, timeout=30, check=True)
    assert heard.stdout == "None\n"


def test_what_was_told_is_heard_in_order() -> None:
    sightings = Sightings()
    told = [Sighting(commit="a"), Sighting(commit="b")]
    for sighting in told:
        sightings.tell(sighting)
    assert [sightings.hear(5), sightings.hear(5), sightings.hear(0.01)] == [*told, None]


# launching


def place() -> Place:
    return Place(slot=0, port=5, devices=("2",), record={})


def test_a_worker_sees_the_manifest_s_variables_under_the_agent_s_own(
    own_home: Path, make_deployment: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", "/ours")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2")
    unit = Unit.of(make_deployment("a", environment={"MODELSERVE_LOG": "off", "MODELSERVE_DEPLOYMENT": "evil"}))
    seen = worker_environment(unit, place(), home=Home(root=own_home))
    assert (seen["MODELSERVE_LOG"], seen["MODELSERVE_DEPLOYMENT"], seen["MODELSERVE_ENDPOINT"]) == ("off", "a", "churn")
    assert seen["MODELSERVE_EVENTS_DIR"] == str(own_home / "events")
    assert seen["CUDA_VISIBLE_DEVICES"] == "2"
    assert "PYTHONPATH" not in seen


@pytest.mark.parametrize(
    ("cpu", "workers", "threads"),
    [("", 1, "1"), ("500m", 1, "1"), ("4", 1, "4"), ("4", 2, "2"), ("1", 4, "1"), ("2.5", 1, "2"), ("odd", 1, "1")],
)
def test_the_math_threads_of_a_worker_follow_its_cpu(
    make_deployment: Make, *, cpu: str, workers: int, threads: str
) -> None:
    unit = Unit.of(make_deployment("a", resources=Resources(cpu=cpu), workers=workers))
    seen = worker_environment(unit, place(), home=Home(root=Path("home")))
    assert seen["OPENBLAS_NUM_THREADS"] == os.environ.get("OPENBLAS_NUM_THREADS", threads)


def test_a_manifest_that_names_its_threads_has_them(own_home: Path, make_deployment: Make) -> None:
    unit = Unit.of(make_deployment("a", environment={"OMP_NUM_THREADS": "7"}))
    assert worker_environment(unit, place(), home=Home(root=own_home))["OMP_NUM_THREADS"] == "7"


def test_a_bento_that_is_not_in_the_store_is_an_obstacle_that_says_the_way_out(
    own_home: Path, make_deployment: Make
) -> None:
    launch = BentoLauncher(home=Home(root=own_home))
    with pytest.raises(AgentError, match=r"Bento a:1 is not in the store .* 'bentoml import'"):
        launch(Unit.of(make_deployment("a")), place())


# the command line


def test_the_command_line_stands_above_the_environment() -> None:
    environment = {"MODELSERVE_PORT": "9000", "MODELSERVE_STAGE": "staging"}
    assert (parse([], environment).port, parse([], environment).stage) == (9000, "staging")
    given = parse(["--port", "1234", "--stage", "dev", "--repository", "/r", "--accept-rewrite"], environment)
    assert (given.port, given.stage, given.repository, given.accepts_rewrite) == (1234, "dev", "/r", True)


@pytest.mark.parametrize(
    ("words", "refusal"),
    [
        (["--port", "0"], "--port 0 is not a port"),
        (["--port", "70000"], "--port 70000 is not a port"),
        (["--stage", "My Stage"], "use 'my-stage'"),
        (["--repository", "--x"], None),
    ],
)
def test_wrong_words_are_refused(words: list[str], refusal: str | None) -> None:
    with pytest.raises((ConfigError, SystemExit)) as caught:
        parse(words, {})
    if refusal:
        assert refusal in str(caught.value)


def test_a_free_port_is_free_and_a_taken_one_is_not() -> None:
    import socket  # noqa: PLC0415

    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(PortTakenError, match=f"port {port} on 127.0.0.1 is taken; choose another by --port"):
            require_free("127.0.0.1", port)
    require_free("127.0.0.1", port)
    with pytest.raises(PortTakenError, match="cannot be used"):
        require_free("192.0.2.1", port)
