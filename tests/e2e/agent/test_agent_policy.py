"""A tree whose policy lists signers: the agent serves what they signed, and says of any other commit why not."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mlflow_deploy_plugin import manifests
from mlflow_deploy_plugin.agent import client
from mlflow_deploy_plugin.manifests.model import Deployment

pytestmark = pytest.mark.e2e

Make = Callable[..., Deployment]
VARIABLE = "MODELSERVE_SIGNING_KEY"


def test_an_unsigned_commit_is_refused_and_the_signed_state_serves_on(
    machine: Any, make_deployment: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = tmp_path / "robot"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    listed = f"robot@example.org {key.with_suffix('.pub').read_text()}"
    machine.start()
    machine.create(make_deployment("churn-v3"))

    monkeypatch.setenv(VARIABLE, str(key))
    machine.apply(lambda files: {**files, "policy/signers": listed})
    signed = machine.join(make_deployment("churn-v4"), weight=300)

    monkeypatch.delenv(VARIABLE)
    unsigned = _push_by_hand(machine, "production", {"churn-v3": 0, "churn-v4": 1000})
    verdict = machine.wait(unsigned)
    assert isinstance(verdict, client.Refused)
    status = machine.status()
    assert status.refused.commit == unsigned
    assert "is not signed by one of policy/signers: it is not signed" in status.refused.reason
    assert status.applied == signed
    assert status.endpoints["churn"].weights == {"churn-v3": 700, "churn-v4": 300}

    _sign_on_top(machine, key)
    machine.until(lambda: machine.status().refused is None)
    machine.until(lambda: machine.status().endpoints["churn"].weights == {"churn-v3": 0, "churn-v4": 1000})


def _push_by_hand(machine: Any, stage: str, weights: dict[str, int]) -> str:
    """A commit by somebody who has no key."""
    repository = machine.repository
    head = repository.head().sha
    edited = manifests.set_split(repository.files(head), stage, "churn", weights)
    path = f"stages/{stage}/churn/route.yaml"
    return next(machine.push_each([{path: edited[path]}]))


def _sign_on_top(machine: Any, key: Path) -> None:
    git = ["git", "-C", str(machine.home.repository), "-c", "user.name=Ada", "-c", "user.email=a@b"]
    sign = ["-c", "gpg.format=ssh", "-c", f"user.signingkey={key}"]
    command = [*git, *sign, "commit-tree", "-S", "-p", "main", "-m", "I have looked at it", "main^{tree}"]
    sha = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    subprocess.run([*git, "update-ref", "refs/heads/main", sha], check=True)
