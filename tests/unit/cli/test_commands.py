"""Commands over a real repository of a remote target, and over a home in which no agent runs."""

import json
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from mlflow_deploy_plugin import manifests
from mlflow_deploy_plugin.cli import main
from mlflow_deploy_plugin.manifests.model import Deployment, Files, ModelIdentity
from mlflow_deploy_plugin.manifests.trailers import Message, Trailers
from mlflow_deploy_plugin.repository import Repository
from mlflow_deploy_plugin.targets.intents import Create, apply

Ask = Callable[..., tuple[int, str, str]]


@pytest.fixture
def ask(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Ask:
    monkeypatch.setenv("MODELSERVE_HOME", str(tmp_path / "home"))

    def run(*words: str) -> tuple[int, str, str]:
        status = main(words)
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


@pytest.fixture
def target(tmp_path: Path) -> str:
    """A repository that serves ``churn``."""
    digest = "sha256:" + "0" * 64
    deployment = Deployment(
        name="churn",
        endpoint="churn",
        stage="production",
        model=ModelIdentity(bento="churn:0000000000000001", uri="models:/churn/1", digest=digest, name="churn"),
        image=f"modelserve.invalid/churn@{digest}",
    )
    Repository.create_bare(
        tmp_path / "gitops.git",
        manifests.skeleton(),
        Message(subject="Begin", trailers=Trailers(operation="begin")),
    )
    repository = Repository.open(str(tmp_path / "gitops.git"), clones=tmp_path / "clones")

    def create(files: Files) -> tuple[Files, Message]:
        return apply(Create(deployment=deployment), files, operation="4f1")

    repository.change(create, operation="4f1")
    return f"modelserve:{tmp_path / 'gitops.git'}?stage=production"


def test_the_history_of_an_endpoint_is_its_commits(ask: Ask, target: str) -> None:
    status, out, _ = ask("history", "churn", "-t", target)
    assert status == 0
    assert out.rstrip().endswith("churn: created with churn (models:/churn/1)")
    status, out, _ = ask("history", "churn", "-t", target, "--json")
    assert json.loads(out)["subject"] == "churn: created with churn (models:/churn/1)"


def test_an_endpoint_without_history_is_refused_with_those_that_are(ask: Ask, target: str) -> None:
    status, out, err = ask("history", "nobody", "-t", target)
    assert (status, out) == (2, "")
    assert "endpoints there now: churn" in err


def test_endpoints_are_listed(ask: Ask, target: str) -> None:
    assert ask("endpoints", "-t", target) == (0, "churn  churn=100  pending\n", "")
    assert json.loads(ask("endpoints", "-t", target, "--json")[1])[0]["traffic"] == "churn=100"


def test_a_home_without_an_agent_is_stopped(ask: Ask) -> None:
    status, out, _ = ask("status", "--json")
    document = json.loads(out)
    assert status == 0
    assert document["phase"] == "stopped"
    assert document["repository"].startswith("file://")
    assert {"commit", "applied", "endpoints"} <= set(document)
    assert "phase: stopped" in ask("status")[1]


def test_stop_without_an_agent_is_nothing_to_do(ask: Ask) -> None:
    assert ask("stop")[:2] == (0, "unchanged: no agent runs\n")


def test_a_log_that_is_not_there_is_refused(ask: Ask) -> None:
    status, _, err = ask("logs", "churn")
    assert status == 2
    assert err.count("\n") == 1


def test_the_end_of_a_log_is_printed(ask: Ask, tmp_path: Path) -> None:
    logs = tmp_path / "home" / "agent" / "logs"
    logs.mkdir(parents=True)
    (logs / "churn-1.log").write_text("a\nb\nc\n")
    assert ask("logs", "churn", "-n", "2")[:2] == (0, "b\nc\n")


def test_a_remote_target_without_a_gateway_says_how_to_name_one(ask: Ask, target: str, tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("a\n1\n")
    status, _, err = ask("predict", "--endpoint", "churn", "-I", str(tmp_path / "in.csv"), "-t", target)
    assert status == 2
    assert "gateway=http://HOST:PORT" in err


@pytest.mark.parametrize(
    ("file", "words"), [("absent.csv", "cannot read"), ("rows.xlsx", "--content-type")], ids=["absent", "unknown"]
)
def test_an_input_that_cannot_be_sent_is_refused(ask: Ask, target: str, file: str, words: str) -> None:
    status, _, err = ask("predict", "--endpoint", "churn", "-I", file, "-t", target)
    assert status == 2
    assert words in err


def test_a_gateway_where_nothing_listens_is_for_later(ask: Ask, target: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        unused_port = listener.getsockname()[1]
    (tmp_path / "in.csv").write_text("a\n1\n")
    uri = f"{target}&gateway=http://127.0.0.1:{unused_port}"
    status, _, err = ask("predict", "--endpoint", "churn", "-I", str(tmp_path / "in.csv"), "-t", uri)
    assert status == 75
    assert "nothing answers" in err
