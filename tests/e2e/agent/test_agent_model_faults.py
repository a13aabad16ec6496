"""Models that raise, hang, leak and crash, as real processes behind a real Envoy: what else is served, is served."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.dataset as ds
import pytest

from mlflow_deploy_plugin.manifests.model import Deployment, ModelIdentity, Resources
from mlflow_deploy_plugin.packaging import Packaged, PackagingOptions, package

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

JSON = "application/json"
GOOD, RAISES, HANGS, LEAKS, CRASHES = 1, -1, -2, -3, -4
LEAK_MIB = 200
MEMORY = "1200Mi"
"""Of two workers: 600 MiB each, and one has about 200 when it begins."""

SAVE = f"""
import os, sys, time
import mlflow
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, Schema

class Moody(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        wish = int(model_input["x"].iloc[0])
        if wish == {RAISES}:
            raise RuntimeError("a bug of the model")
        if wish == {HANGS}:
            time.sleep(3600)
        if wish == {LEAKS}:
            self.__dict__.setdefault("kept", []).append(b"x" * ({LEAK_MIB} * 1024 * 1024))
        if wish == {CRASHES}:
            os.kill(os.getpid(), 11)
            time.sleep(3600)
        return [float(wish)] * len(model_input)

class Steady(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        return [7.0] * len(model_input)

for name, model in (("moody", Moody()), ("steady", Steady())):
    mlflow.pyfunc.save_model(
        path=f"{{sys.argv[1]}}/{{name}}", python_model=model, pip_requirements=["mlflow"],
        signature=ModelSignature(inputs=Schema([ColSpec("double", "x")]), outputs=Schema([ColSpec("double")])),
    )
"""


@pytest.fixture(scope="module")
def machine(real_machine: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Two workers of a model with moods beside one that has none."""
    folder = tmp_path_factory.mktemp("models")
    command = [sys.executable, "-W", "ignore", "-c", SAVE, str(folder)]
    subprocess.run(command, check=True, cwd=folder, capture_output=True)
    moody, steady = (build(real_machine, folder, name) for name in ("moody", "steady"))
    environment = {"MODELSERVE_TIMEOUT_S": "2"}
    real_machine.create(
        moody("moody", workers=2, resources=Resources(memory=MEMORY), environment=environment), steady("steady")
    )
    return real_machine


def build(machine: Any, folder: Path, name: str) -> Callable[..., Deployment]:
    made: Packaged = package(str(folder / name), home=machine.home, config=PackagingOptions())
    model = ModelIdentity(bento=made.tag, uri=made.spec.model_uri, digest=made.spec.model_digest, name=name)

    def deployment(called: str, **changes: Any) -> Deployment:
        image = f"modelserve.invalid/{name}@{made.spec.model_digest}"
        return Deployment(name=called, endpoint=called, stage="production", model=model, image=image, **changes)

    return deployment


def ask(machine: Any, wish: int, endpoint: str = "moody") -> Any:
    body = b'{"instances": [{"x": %d.0}]}' % wish
    return machine.ask(f"/v1/models/{endpoint}:predict", body, content_type=JSON)


def restarts(machine: Any) -> int:
    return sum(worker.restarts for worker in machine.said.deployments["moody"].workers)


def is_whole(machine: Any) -> bool:
    workers = machine.said.deployments["moody"].workers
    return len(workers) == 2 and all(worker.state == "ready" for worker in workers)


def both_serve(machine: Any) -> None:
    machine.until(lambda: is_whole(machine), timeout_s=120)
    machine.until(lambda: ask(machine, GOOD).status == 200)


def test_a_model_that_raises_costs_its_sender_alone(machine: Any) -> None:
    before = machine.pids("moody")
    with machine.load("/endpoints/steady/invocations") as steady, machine.load("/endpoints/moody/invocations") as moody:
        answers = [ask(machine, RAISES) for _ in range(10)]
    assert {answer.status for answer in answers} == {500}
    assert "a bug of the model" in answers[0].json["error"]
    assert (steady["answers"].keys(), moody["answers"].keys()) == ({"200"}, {"200"}), (steady, moody)
    assert machine.pids("moody") == before


def test_a_model_that_raises_under_mlflows_400_counts_as_failed_in_the_gateways_log(machine: Any) -> None:
    body = b'{"dataframe_split": {"columns": ["x"], "data": [[%d.0]]}}' % RAISES
    answer = machine.ask("/endpoints/moody/invocations", body, content_type=JSON)
    assert (answer.status, answer.headers["x-model-failed"]) == (400, "1")
    wanted = ds.field("request_id") == answer.headers["x-request-id"]

    def flags() -> list[str]:
        files = [str(file) for file in (machine.home.events / "attempts").rglob("[!.]*.parquet")]
        found = ds.dataset(files, partitioning="hive").to_table(filter=wanted) if files else None
        return [] if found is None else found["flags"].to_pylist()

    machine.until(lambda: flags() == ["MF"])


def test_a_model_that_hangs_is_504_and_its_worker_is_replaced(machine: Any) -> None:
    before = restarts(machine)
    with machine.load("/endpoints/steady/invocations") as steady:
        assert ask(machine, HANGS).status in {503, 504}
        machine.until(lambda: restarts(machine) > before, timeout_s=120)
        assert ask(machine, GOOD).status == 200, "the other worker serves on"
    assert steady["answers"].keys() == {"200"}, steady
    both_serve(machine)


def test_a_model_that_leaks_is_replaced_at_its_limit_and_nobody_notices(machine: Any) -> None:
    before = restarts(machine)
    with machine.load("/endpoints/moody/invocations") as moody:
        for _ in range(12):
            assert ask(machine, LEAKS).status == 200
            if restarts(machine) > before:
                break
        machine.until(lambda: restarts(machine) > before, timeout_s=120)
        both_serve(machine)
    assert moody["answers"].keys() == {"200"}, moody
    assert "more memory" in machine.log() or "MiB of memory" in machine.log()


def test_a_model_that_crashes_takes_no_other_deployment_with_it_and_is_back(machine: Any) -> None:
    before = restarts(machine)
    with machine.load("/endpoints/steady/invocations") as steady:
        assert ask(machine, CRASHES).status == 503, "after its second attempt it is cut off"
        machine.until(lambda: restarts(machine) > before, timeout_s=120)
        both_serve(machine)
    assert steady["answers"].keys() == {"200"}, steady
    assert "SIGSEGV" in machine.log()
