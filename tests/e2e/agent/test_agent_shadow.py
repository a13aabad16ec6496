"""A deployment in the shadow of a real Envoy: it sees copies, and whatever it does, clients do not notice."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from mlflow_deploy_plugin import manifests
from mlflow_deploy_plugin.agent.envoy.admin import SocketAdmin
from mlflow_deploy_plugin.agent.envoy.clusters import COPIES
from mlflow_deploy_plugin.agent.units import SHADOW
from mlflow_deploy_plugin.manifests.model import Deployment, Mirror

pytestmark = pytest.mark.e2e
Make = Callable[..., Deployment]

ASKED = 300


@pytest.fixture(scope="module")
def gateway(machine_of_module: Any, make_deployment: Make) -> Iterator[Any]:
    """Endpoint ``churn`` whose requests are copied to ``churn-v2``, every second one."""
    machine = machine_of_module
    machine.start()
    machine.create(make_deployment("churn"))
    machine.join(make_deployment("churn-v2"), 0)
    mirror(machine, Mirror(deployment="churn-v2", share=500))
    return machine


def mirror(machine: Any, value: Mirror | None) -> None:
    machine.apply(lambda files: manifests.set_mirror(files, "production", "churn", value))


def seen(machine: Any, deployment: str) -> list[dict[str, str]]:
    answer = machine.ask("/endpoints/churn/seen", x_model_version=deployment)
    return list(answer.json)


def test_the_shadow_sees_its_share_of_the_requests_and_clients_only_stable(gateway: Any) -> None:
    answers = [gateway.ask(user=f"u{number}") for number in range(ASKED)]
    assert {(answer.status, answer.version) for answer in answers} == {(200, "churn")}
    gateway.until(lambda: len(seen(gateway, "churn-v2")) > ASKED / 4)
    copies = seen(gateway, "churn-v2")
    asked = {answer.headers["x-request-id"] for answer in answers}
    assert len(copies) < 3 * ASKED / 4
    assert {copy["x-request-id"] for copy in copies} < asked
    assert {copy["x-model-assigned"] for copy in copies} == {"churn"}


def test_a_copy_is_no_attempt(gateway: Any) -> None:
    import pyarrow.dataset as ds  # noqa: PLC0415  the other tests do not pay for it

    answer = [gateway.ask(user="grace") for _ in range(20)][-1]
    attempts = gateway.home.events / "attempts"

    def rows() -> list[dict[str, Any]]:
        files = [str(file) for file in attempts.rglob("[!.]*.parquet")]
        return ds.dataset(files, partitioning="hive").to_table().to_pylist() if files else []

    gateway.until(lambda: any(row["request_id"] == answer.headers["x-request-id"] for row in rows()))
    assert {row["deployment"] for row in rows() if not row["override"]} == {"churn"}


def test_an_override_is_not_copied(gateway: Any) -> None:
    before = len(seen(gateway, "churn-v2"))
    for _ in range(20):
        gateway.ask(x_model_version="churn")
    assert len(seen(gateway, "churn-v2")) == before


def test_a_shadow_that_hangs_or_dies_costs_clients_nothing(gateway: Any) -> None:
    mirror(gateway, Mirror(deployment="churn-v2", share=1000))
    hanging = [gateway.ask(user=f"h{number}", x_fake="hang-of=churn-v2") for number in range(50)]
    (pid,) = gateway.pids("churn-v2")
    dying = [gateway.ask(user=f"d{number}", x_fake="exit-of=churn-v2") for number in range(50)]
    assert {(answer.status, answer.version) for answer in (*hanging, *dying)} == {(200, "churn")}
    gateway.until(lambda: gateway.pids("churn-v2") not in ([], [pid]))


def test_what_a_hung_shadow_holds_is_bounded_and_ends(gateway: Any, make_deployment: Make) -> None:
    hung = make_deployment("churn-hung", environment={"MODELSERVE_TIMEOUT_S": "0.5"})
    gateway.join(hung, 0)
    mirror(gateway, Mirror(deployment="churn-hung", share=1000))

    def held() -> int:
        view = SocketAdmin(gateway.home.envoy).view()
        return sum(view.active(name) for name in view.hosts if SHADOW in name)

    answers = [gateway.ask(user=f"h{number}", x_fake="hang-of=churn-hung") for number in range(COPIES + 100)]
    assert {(answer.status, answer.version) for answer in answers} == {(200, "churn")}
    assert 0 < held() <= COPIES
    gateway.until(lambda: held() == 0)
    mirror(gateway, None)
    gateway.apply(lambda files: manifests.remove_deployment(files, "production", "churn-hung"))


def test_the_shadow_gets_users_and_is_a_shadow_no_more(gateway: Any) -> None:
    gateway.until(lambda: gateway.ask(x_model_version="churn-v2").status == 200)
    gateway.split(churn=700, **{"churn-v2": 300})
    answers = [gateway.ask(user=f"u{number}") for number in range(100)]
    assert {answer.version for answer in answers} == {"churn", "churn-v2"}
    assert gateway.said.endpoints["churn"].weights == {"churn": 700, "churn-v2": 300}
