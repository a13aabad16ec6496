"""The agent serves what the repository says, with real git and a real Envoy."""

from collections.abc import Callable
from typing import Any

import pytest

from mlflow_deploy_plugin import manifests
from mlflow_deploy_plugin.manifests.model import Deployment

pytestmark = pytest.mark.e2e
Make = Callable[..., Deployment]


def test_a_commit_becomes_an_endpoint_with_a_split_that_is_predicted(machine: Any, make_deployment: Make) -> None:
    machine.start()
    machine.create(make_deployment("churn"))
    sha = machine.join(make_deployment("churn-v2"), weight=300)
    assert machine.said.applied == sha
    assert machine.said.endpoints["churn"].weights == {"churn": 700, "churn-v2": 300}
    stage = manifests.parse_stage(machine.repository.files(sha), "production")
    route = stage.endpoints["churn"].route
    for number in range(2000):
        answer = machine.ask(user=f"user-{number}")
        want = manifests.split.assign(f"user-{number}", route)
        assert (answer.headers["x-model-assigned"], answer.version) == (want, want), number
