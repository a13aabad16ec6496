"""The client over a real git repository that somebody else applies."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlflow.exceptions import MlflowException

from mlflow_deploy_plugin.client import ModelserveClient
from mlflow_deploy_plugin.targets.doors import Doors
from mlflow_deploy_plugin.targets.opening import open_target


@pytest.fixture
def remote(tmp_path: Path) -> Path:
    path = tmp_path / "gitops.git"
    subprocess.run(["git", "init", "-q", "--bare", "--initial-branch=main", path], check=True)
    return path


@pytest.fixture
def open_client(world: Any, tmp_path: Path) -> Callable[[str], ModelserveClient]:
    environment = {"MODELSERVE_HOME": str(tmp_path / "home")}
    doors = Doors(
        home=world.home,
        packager=world.packager,
        scorer=world.scorer,
        open_target=lambda uri: open_target(uri, environment=environment, say=world.said.append),
        say=world.said.append,
    )
    return lambda uri: ModelserveClient(uri, doors=doors)


@pytest.fixture
def client(open_client: Callable[[str], ModelserveClient], remote: Path) -> ModelserveClient:
    return open_client(f"modelserve:{remote}?stage=staging")


def log(remote: Path) -> list[str]:
    done = subprocess.run(
        ["git", "-C", remote, "log", "--format=%s", "main"], check=True, capture_output=True, text=True
    )
    return done.stdout.splitlines()


def test_a_wish_is_pushed_and_pending(client: ModelserveClient, remote: Path, world: Any) -> None:
    view = client.create_deployment("churn", "models:/churn/1")
    assert (view["state"], view["change"], view["stage"], "url" in view) == ("pending", "pending", "staging", False)
    client.create_deployment("churn-v4", "models:/churn/4", None, {"weight": 10}, "churn")
    client.update_endpoint("churn", {"traffic": "churn=75,churn-v4=25"})
    assert log(remote) == [
        "churn: churn 90% → 75%, churn-v4 10% → 25%",
        "churn: churn-v4 joins at 10% (models:/churn/4)",
        "churn: created with churn (models:/churn/1)",
    ]
    assert world.agent.starts == 0


def test_the_same_wish_twice_is_one_commit(client: ModelserveClient, remote: Path) -> None:
    client.create_deployment("churn", "models:/churn/1")
    client.update_deployment("churn", "models:/churn/2")
    assert client.update_deployment("churn", "models:/churn/2")["change"] == "unchanged"
    assert len(log(remote)) == 2


def test_what_was_deleted_can_be_created_again(client: ModelserveClient, remote: Path) -> None:
    for _ in range(2):
        client.create_deployment("churn", "models:/churn/1")
        client.delete_deployment("churn")
    assert len(log(remote)) == 4
    assert client.list_deployments() == []


def test_gpus_of_another_machine_are_not_counted(client: ModelserveClient) -> None:
    assert client.create_deployment("churn", "models:/churn/1", config={"gpu": "2"})["gpu"] == 2
    with pytest.raises(MlflowException, match="give a number"):
        client.create_deployment("other", "models:/churn/1", config={"gpu": "auto"})


def test_predictions_go_to_the_gateway_that_the_target_names(
    open_client: Callable[[str], ModelserveClient], remote: Path, world: Any
) -> None:
    nowhere = open_client(f"modelserve:{remote}")
    nowhere.create_deployment("churn", "models:/churn/1")
    with pytest.raises(MlflowException, match="gateway=http://HOST:PORT"):
        nowhere.predict("churn", [[1]])
    open_client(f"modelserve:{remote}?gateway=http://cluster.test").predict("churn", [[1]])
    assert world.scorer.sent[-1][1].gateway == "http://cluster.test"


def test_in_production_clients_do_not_pick_a_deployment_unless_somebody_lets_them(
    open_client: Callable[[str], ModelserveClient], remote: Path, world: Any
) -> None:
    client = open_client(f"modelserve:{remote}?gateway=http://cluster.test")
    client.create_deployment("churn", "models:/churn/1")
    assert client.get_endpoint("churn")["override"] == "off"
    client.predict("churn", [[1]])
    assert world.scorer.sent[-1][1].deployment == ""  # it answers everybody, so nothing need pick it
    client.create_deployment("churn-v4", "models:/churn/4", None, {"weight": 10}, "churn")
    for ask in (client.predict, client.explain):
        with pytest.raises(MlflowException, match="update-endpoint --endpoint churn -C override=on"):
            ask("churn-v4", [[1]])
    with pytest.raises(MlflowException, match="belongs to endpoint 'churn', which exists"):
        client.create_deployment("churn-v5", "models:/churn/5", None, {"override": "on"}, "churn")
    client.update_endpoint("churn", {"override": "on"})
    client.predict("churn-v4", [[1]])
    assert world.scorer.sent[-1][1].deployment == "churn-v4"
    assert log(remote)[0] == "churn: header x-model-version picks a deployment"
    assert client.update_endpoint("churn", {"override": "on"})["change"] == "unchanged"
    with pytest.raises(MlflowException, match="a command makes one change"):
        client.update_endpoint("churn", {"override": "on", "traffic": "churn=100"})


@pytest.mark.parametrize(("where", "override"), [("?stage=staging", {}), ("", {"override": "on"})])
def test_elsewhere_or_where_asked_for_they_do(
    open_client: Callable[[str], ModelserveClient], remote: Path, where: str, override: dict[str, str]
) -> None:
    client = open_client(f"modelserve:{remote}{where}")
    client.create_deployment("churn", "models:/churn/1", None, override)
    assert "override" not in client.get_endpoint("churn")


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("modelserve:/nowhere/at/all", "no such folder"),
        ("modelserve:/x?stge=dev", "did you mean 'stage'"),
        ("modelserve://host/x", "//"),
        ("modelserve?stage=dev", "stage"),
    ],
)
def test_a_target_that_is_none_is_refused(open_client: Callable[[str], ModelserveClient], uri: str, words: str) -> None:
    with pytest.raises(MlflowException) as raised:
        open_client(uri).list_deployments()
    assert words in raised.value.message
