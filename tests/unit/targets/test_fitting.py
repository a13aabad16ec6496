"""Old, new and baseline at once: what is counted, and what a refusal says."""

from dataclasses import replace
from typing import Any

import pytest

from mlflow_deploy_plugin.errors import ConfigError
from mlflow_deploy_plugin.manifests.model import Deployment, ModelIdentity, Resources
from mlflow_deploy_plugin.packaging.gpu import Gpus
from mlflow_deploy_plugin.packaging.machine import FakeMachine, Free
from mlflow_deploy_plugin.targets import fitting

GIB = 1024**3
MODEL = ModelIdentity(bento="churn:a", uri="models:/churn/1", digest="sha256:1", name="churn")


def make(name: str = "churn", **fields: Any) -> Deployment:
    defaults: dict[str, Any] = {"endpoint": "churn", "stage": "production", "model": MODEL, "image": "i@sha256:1"}
    return Deployment(name=name, **{**defaults, **fields})


def machine(left: int = 10 * GIB, **fields: Any) -> FakeMachine:
    defaults: dict[str, Any] = {"free": Free(left, "the test"), "models": {"churn:a": 2 * GIB}}
    return FakeMachine(**{**defaults, **fields})


def refusal(*deployments: Deployment, on: FakeMachine) -> str:
    return next(fitting.obstacles(deployments, on), "")


def test_what_starts_is_what_is_new_replaced_or_more() -> None:
    old = {"churn": make(replicas=2), "same": make("same")}
    grown, other = make(replicas=5), make(model=replace(MODEL, bento="churn:b", digest="sha256:2"), replicas=2)
    assert fitting.started(old, {**old, "new": make("new")}) == (make("new"),)
    assert [one.replicas for one in fitting.started(old, {**old, "churn": grown})] == [3]
    assert [one.replicas for one in fitting.started(old, {**old, "churn": other})] == [2]
    assert fitting.started(old, {"churn": make()}) == ()


def test_each_process_has_the_model() -> None:
    deployment = make(replicas=2, workers=3)
    assert refusal(deployment, on=machine(12 * GIB)) == ""
    said = refusal(deployment, on=machine(11 * GIB))
    assert "churn 12,288 MiB by the size of its model" in said
    assert "this machine has 11,264 MiB left (the test)" in said
    assert "fewer -C replicas" in said


def test_a_running_process_says_more_than_the_model_and_a_declared_memory_more_than_both() -> None:
    measured = machine(3 * GIB, workers={"churn:a": 4 * GIB})
    assert "4,096 MiB by what a running process has" in refusal(make(), on=measured)
    assert refusal(make(resources=Resources(memory="1Gi"), workers=4), on=measured) == ""
    assert "5,120 MiB by its declared memory" in refusal(make(resources=Resources(memory="5Gi")), on=measured)


def test_all_that_starts_at_once_must_fit_together() -> None:
    assert refusal(make("canary"), on=machine(3 * GIB)) == ""
    assert "4,096 MiB together" in refusal(make("canary"), make("baseline"), on=machine(3 * GIB))


@pytest.mark.parametrize(
    ("fields", "gpus", "fits"),
    [
        ({}, (3 * GIB,), True),
        ({}, (GIB,), False),
        ({"environment": {"MODELSERVE_PRECISION": "fp16"}}, (3 * GIB,), True),
        ({"environment": {"MODELSERVE_PRECISION": "bf16"}}, (2 * GIB + GIB // 2,), False),
        ({"workers": 2}, (3 * GIB,), False),
        ({"replicas": 2}, (3 * GIB, GIB), False),
        ({"replicas": 2}, (3 * GIB, 3 * GIB), True),
        ({}, (), True),
    ],
)
def test_a_gpu_must_have_room_for_the_model_of_each_worker(fields: Any, gpus: tuple[int, ...], fits: bool) -> None:  # noqa: FBT001
    said = refusal(make(resources=Resources(gpu=1, memory="1Gi"), **fields), on=machine(free_gpus=gpus))
    assert (said == "") == fits
    assert fits or "-C gpu=0" in said


def test_where_nothing_is_known_nothing_is_refused() -> None:
    fitting.require_room([make(resources=Resources(memory="9Ti"))], None)
    fitting.require_room([make(resources=Resources(memory="9Ti"))], FakeMachine())
    with pytest.raises(ConfigError, match="memory: churn"):
        fitting.require_room([make()], machine(GIB))
    with pytest.raises(ConfigError, match=r"needs; or go on$"):
        fitting.require_room([make()], machine(GIB), way_out="; or go on")


def test_gpus_of_other_deployments_are_taken() -> None:
    found = fitting.untaken(Gpus(count=4, source="NVML"), [make(resources=Resources(gpu=1), replicas=3), make("cpu")])
    assert (found.count, found.source) == (1, "NVML counts 4; taken: churn 3")
