"""A client over this machine's target, with a repository, an agent, a packager and a model server of memory alone."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

import pytest
from mlflow.deployments import interface

from mlflow_deploy_plugin import client
from mlflow_deploy_plugin.agent.status import EndpointStatus
from mlflow_deploy_plugin.client import ModelserveClient
from mlflow_deploy_plugin.config.home import Home
from mlflow_deploy_plugin.errors import ModelError
from mlflow_deploy_plugin.packaging import Packaged
from mlflow_deploy_plugin.packaging.gpu import Gpus
from mlflow_deploy_plugin.packaging.machine import FakeMachine
from mlflow_deploy_plugin.repository import FakeRepository
from mlflow_deploy_plugin.scoring import FakeScorer
from mlflow_deploy_plugin.spec.bento import BentoSpec
from mlflow_deploy_plugin.targets.base import DeploymentTarget
from mlflow_deploy_plugin.targets.doors import Doors
from mlflow_deploy_plugin.targets.fake import FakeAgent, make_status
from mlflow_deploy_plugin.targets.ledger import Ledger
from mlflow_deploy_plugin.targets.local import LocalTarget
from mlflow_deploy_plugin.targets.packager import FakePackager

CHURN = EndpointStatus(url="http://gateway.test/endpoints/churn", weights={"churn": 1000}, stable="churn", commit="c")


@dataclass
class World:
    """Everything outside, and a client in it."""

    home: Home
    repository: FakeRepository = field(default_factory=FakeRepository)
    agent: FakeAgent = field(default_factory=lambda: FakeAgent(said=make_status(endpoints={"churn": CHURN})))
    scorer: FakeScorer = field(default_factory=FakeScorer)
    gpus: int = 0
    columns: tuple[str, ...] = ()
    """Inputs that every model's signature names."""
    machine: FakeMachine = field(default_factory=FakeMachine)
    said: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.packager = FakePackager(make=self.packaged)

    def packaged(self, uri: str) -> Packaged:
        """models:/NAME/VERSION is known, nothing else is."""
        kind, name, version = [*uri.split("/"), "", ""][:3]
        if kind != "models:" or not version.isdecimal():
            raise ModelError(f"no model at {uri!r}; see `mlflow models`")
        spec = BentoSpec(
            model_uri=uri,
            model_name=name,
            model_version=version,
            model_digest=f"sha256:{int(version):064x}",
            serving_digest="sha256:0",
            environment_digest="sha256:0",
        )
        tag = f"{name}:{int(version):016x}"
        return Packaged(
            tag=tag,
            path=self.home.bento(tag),
            spec=spec,
            python=None,
            warnings=(),
            is_new=True,
            columns=self.columns,
        )

    def open_target(self, uri: str) -> DeploymentTarget:
        return LocalTarget(
            uri=uri,
            ledger=Ledger(stage_name="production", open=lambda: self.repository),
            agent=self.agent,
            count=lambda: Gpus(count=self.gpus, source="the test"),
            here=self.machine,
            say=self.said.append,
        )

    def doors(self) -> Doors:
        return Doors(
            home=self.home,
            packager=self.packager,
            scorer=self.scorer,
            open_target=self.open_target,
            say=self.said.append,
        )

    def client(self) -> ModelserveClient:
        return ModelserveClient("modelserve", doors=self.doors())


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(home=Home(root=tmp_path))


@pytest.fixture
def plugin(world: World, monkeypatch: pytest.MonkeyPatch) -> Callable[[], World]:
    """MLflow's own loader finds a plugin whose clients live in ``world``."""

    class InMemory(ModelserveClient):
        def __init__(self, target_uri: str) -> None:
            super().__init__(target_uri, doors=world.doors())

    module = ModuleType("in_memory")
    module.__dict__.update(run_local=client.run_local, target_help=client.target_help, InMemory=InMemory)
    monkeypatch.setitem(interface.plugin_store.registry, "modelserve", module)
    return lambda: world
