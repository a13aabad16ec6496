"""The agent serves what the repository says, with real git and a real Envoy."""

import json
import os
import re
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from mlflow_deploy_plugin import manifests
from mlflow_deploy_plugin.manifests.model import Deployment

pytestmark = pytest.mark.e2e
Make = Callable[..., Deployment]


@pytest.fixture(scope="module")
def gateway(machine_of_module: Any, make_deployment: Make) -> Iterator[Any]:
    """Endpoint ``churn`` with a canary at 30 %, and endpoint ``price`` beside it."""
    machine = machine_of_module
    machine.start()
    machine.create(make_deployment("churn"), make_deployment("price", endpoint="price"), salt="salt-of.both")
    machine.join(make_deployment("churn-v2"), weight=300)
    return machine


USERS = int(os.environ.get("MODELSERVE_TEST_USERS", "20000"))
"""A million take minutes: ``MODELSERVE_TEST_USERS=1000000 pytest -k python_predicts --timeout 3600``."""


def test_every_user_gets_the_deployment_that_python_predicts(gateway: Any) -> None:
    stage = manifests.parse_stage(gateway.repository.files(gateway.said.applied), "production")
    route = stage.endpoints["churn"].route
    users = [f"user-{number}" for number in range(USERS)]
    got = assigned(gateway.port, users)
    expected = manifests.split.owners(route)[manifests.split.places(users, route.salt)].tolist()
    assert got == expected
    assert set(got) == {"churn", "churn-v2"}


TOGETHER = 250
"""Requests that a connection is sent before it is read: the client then costs less than the gateway."""
MEANT = re.compile(rb"\r\nx-model-assigned: ([^\r]+)\r\n", re.IGNORECASE)


def assigned(port: int, users: list[str], connections: int = 4) -> list[str]:
    """Who was meant for each user, by the gateway's word, over a few connections that are never idle."""
    share = -(-len(users) // connections)
    parts = [users[start : start + share] for start in range(0, len(users), share)]
    with ThreadPoolExecutor(connections) as pool:
        return [name for told in pool.map(lambda part: list(_assigned(port, part)), parts) for name in told]


def _assigned(port: int, users: list[str]) -> Iterator[str]:
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        for start in range(0, len(users), TOGETHER):
            some = users[start : start + TOGETHER]
            head = "POST /endpoints/churn/invocations HTTP/1.1\r\nhost: g\r\nx-fake: brief\r\ncontent-length: 2\r\n"
            connection.sendall("".join(f"{head}x-user-id: {user}\r\n\r\n{{}}" for user in some).encode())
            answers = b""
            while answers.count(b"\r\n\r\n{}") < len(some):
                answers += connection.recv(1 << 20)
            assert answers.count(b"HTTP/1.1 200 ") == len(some)
            yield from (name.decode() for name in MEANT.findall(answers))


@pytest.mark.parametrize("user", [None, ""])
def test_without_a_user_id_the_request_id_is_dealt(gateway: Any, user: str | None) -> None:
    route = manifests.parse_stage(gateway.repository.files(gateway.said.applied), "production").endpoints["churn"].route
    answers = [gateway.ask(user=user) for _ in range(60)]
    assert {answer.version for answer in answers} == {"churn", "churn-v2"}
    assert all(answer.version == manifests.split.assign(answer.headers["x-request-id"], route) for answer in answers)


def test_the_status_names_repository_commit_endpoints_and_processes(gateway: Any) -> None:
    said = json.loads((gateway.home.agent / "status.json").read_text())
    assert said["repository"] == gateway.home.repository.as_uri()
    assert said["commit"] == said["applied"] == gateway.repository.head().sha
    assert said["endpoints"]["churn"]["url"] == f"http://127.0.0.1:{gateway.port}/endpoints/churn"
    assert said["endpoints"]["churn"]["weights"] == {"churn": 700, "churn-v2": 300}
    assert said["deployments"]["churn-v2"]["state"] == "ready"
    assert [worker["state"] for worker in said["deployments"]["churn"]["workers"]] == ["ready"]
    assert (said["phase"], said["refused"], said["message"]) == ("idle", None, "")


@pytest.mark.parametrize(
    "path",
    [
        "/endpoints/churn/invocations",
        "/endpoints/churn",
        "/v2/models/churn/infer",
        "/v1/models/churn:predict",
        "/v1/models/churn/versions/1:predict",
        "/predictions/churn",
        "/explanations/churn",
    ],
)
def test_every_protocol_has_an_address_that_reaches_the_model_unchanged(gateway: Any, path: str) -> None:
    answer = gateway.ask(path + "?a=b")
    assert (answer.status, answer.json["path"]) == (200, path + "?a=b")


@pytest.mark.parametrize("path", ["/", "/endpoints/churns", "/v1/models/churn:drop", "/endpoints", "/admin"])
def test_an_unknown_address_is_answered_in_json(gateway: Any, path: str) -> None:
    answer = gateway.ask(path)
    assert (answer.status, answer.headers["content-type"]) == (404, "application/json")
    assert "modelserve status" in answer.json["error"]


def test_the_name_of_an_endpoint_is_a_host_too(gateway: Any) -> None:
    answer = gateway.ask("/invocations", host=f"price.localhost:{gateway.port}")
    assert (answer.version, answer.json["path"]) == ("price", "/invocations")


def test_the_override_header_goes_to_one_deployment_and_is_not_part_of_the_split(gateway: Any) -> None:
    answers = [gateway.ask(user=f"u{n}", x_model_version="churn-v2", x_model_assigned="churn") for n in range(30)]
    assert {answer.version for answer in answers} == {"churn-v2"}
    assert all("x-model-assigned" not in answer.json["headers"] for answer in answers)


def test_who_overrode_is_counted_apart_from_the_split(gateway: Any) -> None:
    import pyarrow.dataset as ds  # noqa: PLC0415  the other tests do not pay for it

    picked = gateway.ask(user="tester", x_model_version="churn-v2").headers["x-request-id"]
    dealt = gateway.ask(user="tester").headers["x-request-id"]

    def rows() -> dict[str, Any]:
        files = [str(file) for file in (gateway.home.events / "attempts").rglob("[!.]*.parquet")]
        table = ds.dataset(files, partitioning="hive").to_table(filter=ds.field("user_id") == "tester")
        return {row["request_id"]: (row["override"], bool(row["assigned"])) for row in table.to_pylist()}

    gateway.until(lambda: {picked, dealt} <= rows().keys())
    assert (rows()[picked], rows()[dealt]) == (("churn-v2", False), ("", True))


def test_where_overrides_are_off_the_header_picks_nobody(gateway: Any) -> None:
    users = [f"u{number}" for number in range(40)]
    before = [gateway.ask(user=user).version for user in users]
    gateway.apply(lambda files: manifests.set_override(files, "production", "churn", is_heard=False))
    for name in ("churn-v2", "price"):
        answers = [gateway.ask(user=user, x_model_version=name) for user in users]
        assert [answer.version for answer in answers] == before
    gateway.apply(lambda files: manifests.set_override(files, "production", "churn", is_heard=True))
    assert gateway.ask(user=users[0], x_model_version="churn-v2").version == "churn-v2"


def test_an_override_that_names_nothing_of_the_endpoint_is_404(gateway: Any) -> None:
    answer = gateway.ask(x_model_version="price")
    assert answer.status == 404
    assert "known: churn, churn-v2" in answer.json["error"]


def test_the_gateway_says_who_was_meant_and_makes_the_request_id(gateway: Any) -> None:
    answer = gateway.ask(user="ada", x_request_id="mine", x_model_assigned="evil", x_envoy_max_retries="9")
    arrived = answer.json["headers"]
    assert arrived["x-model-assigned"] == answer.headers["x-model-assigned"] == answer.version
    assert arrived["x-request-id"] == answer.headers["x-request-id"] != "mine"
    assert arrived["x-client-request-id"] == "mine"


def test_a_model_s_own_error_is_an_answer_and_is_not_asked_again(gateway: Any) -> None:
    for status in (400, 429, 500, 503, 504):
        answer = gateway.ask(x_fake=f"status={status}", user="ada")
        assert (answer.status, answer.json["headers"]["x-envoy-attempt-count"]) == (status, "1")


def test_every_attempt_is_recorded_with_the_commit_whose_split_served_it(gateway: Any) -> None:
    import pyarrow.dataset as ds  # noqa: PLC0415  the other tests do not pay for it

    answer = gateway.ask(user="grace", x_fake="status=500")
    wanted = ds.field("request_id") == answer.headers["x-request-id"]
    attempts = gateway.home.events / "attempts"

    def rows() -> list[dict[str, Any]]:
        files = [str(file) for file in attempts.rglob("[!.]*.parquet")]
        return ds.dataset(files, partitioning="hive").to_table(filter=wanted).to_pylist() if files else []

    gateway.until(lambda: bool(rows()))
    (row,) = rows()
    assert (row["user_id"], row["status"], row["assigned"]) == ("grace", 500, answer.headers["x-model-assigned"])
    assert row["commit"] == gateway.said.endpoints["churn"].commit


def test_everything_of_the_home_belongs_to_its_owner_alone(gateway: Any) -> None:
    assert Path(gateway.home.root).stat().st_mode & 0o077 == 0
    for path in (gateway.home.agent / "status.json", gateway.home.envoy / "rds" / "rds.json"):
        assert path.stat().st_mode & 0o077 == 0
