"""The same promises with real Bentos: packaged from MLflow models, served by their own code."""

import json
import os
import signal
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from mlflow_deploy_plugin import manifests
from mlflow_deploy_plugin.manifests.model import Deployment, Mirror
from mlflow_deploy_plugin.packaging import Packaged
from pipelines.analysis.arms import UserCounts

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

BODY = b'{"dataframe_split": {"columns": ["x"], "data": [[1.0]]}}'


@pytest.fixture(scope="module")
def machine(real_machine: Any) -> Any:
    return real_machine


def test_a_worker_that_is_killed_costs_no_request(machine: Any, serving: Callable[..., Deployment]) -> None:
    assert serving
    before = machine.pids("churn")
    with machine.load() as told:
        os.kill(before[0], signal.SIGKILL)
        machine.until(lambda: before[0] not in machine.pids("churn") and ready(machine, "churn") == 2)
    assert told["answers"].keys() == {"200"}, told
    assert machine.said.deployments["churn"].workers[0].restarts == 1


def test_a_canary_joins_and_leaves_and_the_model_is_replaced_without_a_failed_request(
    machine: Any, serving: Callable[..., Deployment]
) -> None:
    with machine.load() as told:
        machine.join(serving("churn-v2", 1), weight=100)
        for weight in (300, 500, 0):
            machine.apply(lambda files, weight=weight: split(files, weight))
        machine.apply(lambda files: manifests.remove_deployment(files, "production", "churn-v2"))
        machine.apply(lambda files: manifests.replace_deployment(files, serving("churn", 1, workers=2)))
        machine.until(lambda: list(machine.said.deployments) == ["churn"] and len(machine.pids("churn")) == 2)
    assert told["answers"].keys() == {"200"}, told
    assert told["versions"].keys() == {"churn", "churn-v2"}
    assert machine.ask(body=BODY, content_type="application/json").json == {"predictions": [2.0]}


def test_each_prediction_is_in_the_event_store_with_its_request_id(machine: Any, serving: Any) -> None:
    import pyarrow.dataset as ds  # noqa: PLC0415

    assert serving
    answer = machine.ask(body=BODY, user="ada", content_type="application/json")
    wanted = ds.field("request_id") == answer.headers["x-request-id"]

    def found(table: str) -> bool:
        files = [str(file) for file in (machine.home.events / table).rglob("[!.]*.parquet")]
        return bool(files) and ds.dataset(files, partitioning="hive").to_table(filter=wanted).num_rows == 1

    machine.until(lambda: found("predictions") and found("attempts"))


def test_a_trace_goes_through_the_gateway_into_the_answer_and_the_event_store(machine: Any, serving: Any) -> None:
    import pyarrow.dataset as ds  # noqa: PLC0415

    assert serving
    trace = "0af7651916cd43dd8448eb211c80319c"
    sent = {"traceparent": f"00-{trace}-b7ad6b7169203331-01", "tracestate": "vendor=x"}
    answer = machine.ask(body=BODY, content_type="application/json", **sent)
    _, trace_id, span_id, _ = answer.headers["traceparent"].split("-")
    assert (trace_id, answer.headers["tracestate"]) == (trace, "vendor=x")

    def spans() -> list[str]:
        files = [str(file) for file in (machine.home.events / "predictions").rglob("[!.]*.parquet")]
        found = ds.dataset(files).to_table(filter=ds.field("trace_id") == trace) if files else None
        return [] if found is None else found["span_id"].to_pylist()

    machine.until(lambda: spans() == [span_id])


def test_a_shadow_predicts_for_every_copy_and_costs_no_request(
    machine: Any, serving: Callable[..., Deployment]
) -> None:
    from pipelines.monitoring.events import EventStore  # noqa: PLC0415  the other tests do not pay for it
    from pipelines.monitoring.shadowing import ShadowObserver  # noqa: PLC0415

    live, other = (machine.said.deployments["churn"].bento == serving("x", which).model.bento for which in (0, 1))
    assert live != other
    machine.join(serving("churn-shadow", int(live)), weight=0)
    began = datetime.now(UTC)
    whole = Mirror(deployment="churn-shadow", share=1000)
    machine.apply(lambda files: manifests.set_mirror(files, "production", "churn", whole))

    def pairs(log: EventStore) -> int:
        observer = ShadowObserver(log=log, stage="production", endpoint="churn", share=1000)
        seen = observer.observe(stable="churn", canary="churn-shadow", since=began, now=datetime.now(UTC))
        if not isinstance(seen.disagreeing, UserCounts):
            return 0
        assert seen.disagreeing.users == seen.disagreeing.users_with_event  # one model says 1, the other 2
        return seen.disagreeing.users

    with EventStore(str(machine.home.events)) as log, machine.load() as told:
        machine.until(lambda: pairs(log) >= 100)
    machine.apply(lambda files: manifests.set_mirror(files, "production", "churn", None))
    machine.apply(lambda files: manifests.remove_deployment(files, "production", "churn-shadow"))
    assert told["answers"].keys() == {"200"}, told
    assert told["versions"].keys() == {"churn"}


def ready(machine: Any, deployment: str) -> int:
    return sum(worker.state == "ready" for worker in machine.said.deployments[deployment].workers)


def split(files: Any, weight: int) -> Any:
    return manifests.set_split(files, "production", "churn", {"churn": 1000 - weight, "churn-v2": weight})


def test_the_bento_serves_from_its_own_code(machine: Any, serving: Any, bentos: tuple[Packaged, ...]) -> None:
    assert serving
    (pid, _) = machine.pids("churn")
    environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    assert f"PYTHONPATH={bentos[1].path / 'src'}".encode() in environment
    assert Path(f"/proc/{pid}/cwd").resolve() == bentos[1].path / "src"
    file = next(path for path in (machine.home.envoy / "eds").glob("churn@*.json") if "+" not in path.name)
    hosts = json.loads(file.read_text())["resources"][0]
    addresses = [host["endpoint"]["address"] for host in hosts["endpoints"][0]["lb_endpoints"]]
    assert addresses
    assert all(address["pipe"]["path"].startswith("@modelserve-") for address in addresses)
