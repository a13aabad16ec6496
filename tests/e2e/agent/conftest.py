"""One machine: a home, its repository, an agent in a process of its own, and load from another."""

import http.client
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from mlflow_deploy_plugin import manifests
from mlflow_deploy_plugin.agent import client
from mlflow_deploy_plugin.agent.processes import OsProcesses
from mlflow_deploy_plugin.agent.status import AgentStatus
from mlflow_deploy_plugin.config.home import Home
from mlflow_deploy_plugin.manifests.model import Deployment, Files, ModelIdentity
from mlflow_deploy_plugin.packaging import Packaged, PackagingOptions, package
from mlflow_deploy_plugin.repository import Message, Repository, Trailers

collect_ignore = [
    "fake_agent.py",
    "fake_bento.py",
    "grpc_load.py",
    "light_agent.py",
    "load.py",
]  # programs, and doctest would import them

HERE = Path(__file__).parent
FAKE_AGENT = (sys.executable, str(HERE / "fake_agent.py"))
AGENT = (sys.executable, "-m", "mlflow_deploy_plugin.agent.run")
PATIENCE_S = 60.0

SAVE = """
import sys
import mlflow
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, Schema

class Constant(mlflow.pyfunc.PythonModel):
    def __init__(self, value):
        self.value = value
    def predict(self, context, model_input, params=None):
        return [self.value] * len(model_input)

for value in (1.0, 2.0):
    mlflow.pyfunc.save_model(
        path=f"{sys.argv[1]}/constant{value:g}", python_model=Constant(value), pip_requirements=["mlflow"],
        signature=ModelSignature(inputs=Schema([ColSpec("double", "x")]), outputs=Schema([ColSpec("double")])),
    )
"""


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def version(self) -> str:
        return self.headers.get("x-model-version", "")


def deployment(name: str, *, endpoint: str = "churn", digest: str = "", **changes: Any) -> Deployment:
    base = Deployment(
        name=name,
        endpoint=endpoint,
        stage="production",
        model=ModelIdentity(
            bento=f"{name}:1", uri=f"models:/{name}/1", digest=f"sha256:{digest or name.encode().hex():0>64}", name=name
        ),
        image=f"modelserve.invalid/{name}@sha256:{digest or name.encode().hex():0>64}",
    )
    return replace(base, **changes)


@dataclass
class Machine:
    home: Home
    port: int
    tmp: Path
    command: tuple[str, ...] = FAKE_AGENT
    agents: list[subprocess.Popen[bytes]] = field(default_factory=list)
    _count: int = 0

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        """The agent, and its word."""
        agent = self.launch(*words)
        self.until(lambda: self.status() is not None or agent.poll() is not None)
        assert agent.poll() is None, self.log()
        return agent

    def launch(self, *words: str) -> subprocess.Popen[bytes]:
        with (self.home.agent / "agent.log").open("ab") as log:
            agent = subprocess.Popen(
                [*self.command, "--port", str(self.port), *words],
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, "MODELSERVE_HOME": str(self.home.root)},
            )
        self.agents.append(agent)
        return agent

    def log(self) -> str:
        return (self.home.agent / "agent.log").read_text()

    @property
    def repository(self) -> Repository:
        return Repository.open(self.home.repository, clones=self.home.clones)

    def commit(self, edit: Callable[[Files], Files]) -> str:
        """One commit; its name."""
        self._count += 1
        message = Message(subject=f"Change {self._count}", trailers=Trailers(operation=f"op-{self._count}"))
        result = self.repository.change(lambda files: (edit(files), message), operation=f"op-{self._count}")
        assert result.changed
        return result.sha

    def push_each(self, changes: Iterable[Files]) -> Iterator[str]:
        """Commits of a person, each on the branch when it is yielded."""
        git = ("git", "-C", str(self.home.repository))
        head = self.repository.head()
        assert head is not None
        stream, parent = "", head.sha
        for number, change in enumerate(changes, start=1):
            stream += (
                f"commit refs/heads/side\nmark :{number}\ncommitter p <p@p> {number} +0000\ndata 1\n.\nfrom {parent}\n"
            )
            stream += "".join(
                f"M 644 inline {path}\ndata {len(text.encode())}\n{text}\n" for path, text in change.items()
            )
            parent = f":{number}"
        marks = self.tmp / "marks"
        subprocess.run([*git, "fast-import", "--quiet", f"--export-marks={marks}"], input=stream.encode(), check=True)
        made = dict(line.split() for line in marks.read_text().splitlines())
        for number in range(1, len(made) + 1):
            subprocess.run([*git, "update-ref", "refs/heads/main", made[f":{number}"]], check=True)
            yield made[f":{number}"]

    def apply(self, edit: Callable[[Files], Files]) -> str:
        """One commit that is served on return."""
        sha = self.commit(edit)
        assert self.wait(sha) == client.Applied(), self.log()
        return sha

    def create(self, *deployments: Deployment, salt: str = "") -> str:
        def edit(files: Files) -> Files:
            for one in deployments:
                files = manifests.add_endpoint(files, one, salt=salt or one.endpoint)
            return files

        return self.apply(edit)

    def join(self, one: Deployment, weight: int) -> str:
        return self.apply(lambda files: manifests.add_deployment(files, one, weight=weight))

    def split(self, endpoint: str = "churn", **weights: int) -> str:
        return self.apply(lambda files: manifests.set_split(files, "production", endpoint, weights))

    def wait(self, sha: str, timeout_s: float = PATIENCE_S) -> client.Outcome:
        return client.wait_applied(self.home, sha, timeout_s)

    def status(self) -> AgentStatus | None:
        return client.read_status(self.home)

    @property
    def said(self) -> AgentStatus:
        status = self.status()
        assert status is not None
        return status

    def until(self, is_so: Callable[[], bool], timeout_s: float = PATIENCE_S) -> float:
        """Seconds until ``is_so``."""
        began = time.monotonic()
        while not is_so():
            if time.monotonic() - began > timeout_s:
                pytest.fail(f"not within {timeout_s:g} s; {self.status()}\n{self.log()[-3000:]}")
            time.sleep(0.02)
        return time.monotonic() - began

    def ask(
        self,
        path: str = "/endpoints/churn/invocations",
        body: bytes = b"{}",
        *,
        user: str | None = None,
        **headers: str,
    ) -> Answer:
        named = {name.replace("_", "-"): text for name, text in headers.items()}
        if user is not None:
            named["x-user-id"] = user
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request("POST", path, body, headers=named)
            answer = connection.getresponse()
            return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    def pids(self, deployment_name: str) -> list[int]:
        return [worker.pid for worker in self.said.deployments[deployment_name].workers]

    @contextmanager
    def load(self, path: str = "/endpoints/churn/invocations", connections: int = 8) -> Iterator[dict[str, Any]]:
        """Requests without a pause from another process; afterwards the dictionary says what came back."""
        stop = self.tmp / f"stop-{time.monotonic_ns()}"
        told: dict[str, Any] = {}
        generator = subprocess.Popen(
            [sys.executable, str(HERE / "load.py"), str(self.port), path, str(connections), str(stop)],
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            time.sleep(0.5)
            yield told
            time.sleep(0.3)
        finally:
            stop.touch()
            out, _ = generator.communicate(timeout=60)
        told.update(json.loads(out))

    def close(self) -> None:
        for agent in self.agents:
            if agent.poll() is None:
                agent.send_signal(signal.SIGTERM)
        for agent in self.agents:
            try:
                agent.wait(30)
            except subprocess.TimeoutExpired:
                agent.kill()
                agent.wait()
        for running in OsProcesses().find(str(self.home.root)):
            os.kill(running.pid, signal.SIGKILL)


def free_port() -> int:
    """Below the ports of outgoing connections, one of which could take it before Envoy does."""
    while True:
        port = random.SystemRandom().randrange(10000, 18000)
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)):
                return port


def make_machine(root: Path, tmp: Path) -> Machine:
    home = Home(root=root).ensure()
    message = Message(subject="Begin", trailers=Trailers(operation="begin"))
    Repository.create_bare(home.repository, manifests.skeleton(), message)
    return Machine(home=home, port=free_port(), tmp=tmp)


@pytest.fixture
def machine(own_home: Path, tmp_path: Path) -> Iterator[Machine]:
    made = make_machine(own_home, tmp_path)
    yield made
    made.close()


@pytest.fixture(scope="module")
def machine_of_module(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    made = make_machine(tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("work"))
    yield made
    made.close()


@pytest.fixture(scope="session")
def make_deployment() -> Callable[..., Deployment]:
    return deployment


@pytest.fixture(scope="session")
def make_port() -> Callable[[], int]:
    return free_port


@pytest.fixture(scope="module")
def real_machine(machine_of_module: Machine) -> Machine:
    """An agent that serves real Bentos."""
    machine_of_module.command = AGENT
    machine_of_module.start()
    return machine_of_module


@pytest.fixture(scope="module")
def bentos(real_machine: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Packaged, ...]:
    folder = tmp_path_factory.mktemp("models")
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", SAVE, str(folder)], check=True, cwd=folder, capture_output=True
    )
    paths = [str(folder / name) for name in ("constant1", "constant2")]
    return tuple(package(path, home=real_machine.home, config=PackagingOptions()) for path in paths)


@pytest.fixture(scope="module")
def serving(real_machine: Any, bentos: tuple[Packaged, ...]) -> Callable[..., Deployment]:
    """The endpoint ``churn`` with two workers of the first model; returns a builder of deployments."""

    def build(name: str, which: int, **changes: Any) -> Deployment:
        made = bentos[which]
        model = ModelIdentity(bento=made.tag, uri=made.spec.model_uri, digest=made.spec.model_digest, name="churn")
        image = f"modelserve.invalid/churn@{made.spec.model_digest}"
        return Deployment(name=name, endpoint="churn", stage="production", model=model, image=image, **changes)

    real_machine.create(build("churn", 0, workers=2))
    return build
