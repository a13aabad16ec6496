"""Notifications of Alertmanager against a repository in memory."""

import errno
import http.client
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from mlflow_deploy_plugin import manifests
from mlflow_deploy_plugin.errors import ConfigError
from pipelines.commands.alert_acts import Acts
from pipelines.monitoring.webhook import Receiver, Reply
from pipelines.promotion import alerts

World = Any


def alert(**changes: Any) -> dict[str, Any]:
    labels = {"alertname": "CanaryDead", "severity": "page", "remedy": "rollback", "deployment": "churn-v2"}
    base = {
        "status": "firing",
        "fingerprint": "f00d",
        "startsAt": "2026-01-01T11:00:00.123Z",
        "labels": labels | changes.pop("labels", {}),
        "annotations": {"summary": "churn-v2 of churn has weight and no ready process"},
        "generatorURL": "http://prometheus.internal/graph",
    }
    return base | changes


def notification(*listed: dict[str, Any]) -> bytes:
    return json.dumps({"version": "4", "status": "firing", "alerts": listed}).encode()


@pytest.fixture
def acts(world: World) -> Acts:
    return Acts(doors=world.doors, target="modelserve", recent=timedelta(hours=24))


def outcomes(reply: Reply) -> list[str]:
    assert reply.status == 200, reply.text
    return [one["outcome"] for one in json.loads(reply.text)]


def commits(world: World) -> list[str]:
    return [commit.subject for commit in world.repository.history()]


def replace_model(world: World, version: int, *, name: str = "churn") -> None:
    """As ``mlflow deployments update`` does."""
    before = world.endpoint.deployments[name]
    model = replace(before.model, uri=f"models:/churn/{version}", digest=f"sha256:{version:064x}", version=str(version))
    world.change(lambda files: manifests.replace_deployment(files, replace(before, model=model)))


def promote(world: World, name: str) -> None:
    stable = {"modelserve.io/stable": name}
    world.change(lambda files: manifests.set_split(files, "production", "churn", {name: 1000}, annotations=stable))


def test_a_firing_alert_takes_its_canary_out_and_the_commit_says_why(world: World, acts: Acts) -> None:
    world.join(weight=250)
    assert outcomes(acts.act(notification(alert()))) == ["rolled back"]
    assert world.weights == {"churn": 1000}
    said = world.repository.head().trailers
    assert (said.action, said.reason) == (
        "rollback",
        "alert CanaryDead: churn-v2 of churn has weight and no ready process",
    )
    evidence = world.repository.files(world.head)[said.evidence]
    assert json.loads(evidence)["fingerprint"] == "f00d"
    assert "prometheus.internal" not in evidence


def test_the_same_alert_ten_times_is_one_commit(world: World, acts: Acts) -> None:
    world.join(weight=250)
    before = len(commits(world))
    for _ in range(10):
        acts.act(notification(alert(), alert()))
    assert len(commits(world)) == before + 1


def test_an_alert_that_goes_on_does_not_undo_what_a_person_decided_since(world: World, acts: Acts) -> None:
    world.join(weight=250)
    acts.act(notification(alert()))
    world.split(churn=900, churn_v2=100)
    fresh = Acts(doors=world.doors, target="modelserve", recent=timedelta(hours=24))
    assert outcomes(fresh.act(notification(alert()))) == ["unchanged"]
    assert world.weights == {"churn": 900, "churn-v2": 100}


def test_an_alert_that_fires_anew_acts_anew(world: World, acts: Acts) -> None:
    world.join(weight=250)
    acts.act(notification(alert()))
    world.split(churn=900, churn_v2=100)
    assert outcomes(acts.act(notification(alert(startsAt="2026-01-01T11:30:00Z")))) == ["rolled back"]
    assert world.weights == {"churn": 1000}


def test_two_alerts_about_one_version_are_one_commit(world: World, acts: Acts) -> None:
    world.join(weight=250)
    other = alert(fingerprint="beef", labels={"alertname": "AvailabilityBurnRate14_4x", "model_version": "churn-v2"})
    assert outcomes(acts.act(notification(alert(), other))) == ["rolled back", "unchanged"]


@pytest.mark.parametrize(
    ("changes", "outcome"),
    [
        ({"status": "resolved"}, "ignored"),
        ({"labels": {"remedy": "none"}}, "ignored"),
        ({"labels": {"deployment": "price"}}, "ignored"),
        ({"labels": {"stage": "staging"}}, "ignored"),
        ({"labels": {"deployment": "churn"}}, "left to a person"),
    ],
)
def test_what_is_not_for_us_changes_nothing(world: World, acts: Acts, changes: Any, outcome: str) -> None:
    world.join(weight=250)
    head = world.head
    assert outcomes(acts.act(notification(alert(**changes)))) == [outcome]
    assert world.head == head


def test_a_version_that_has_just_become_stable_is_taken_back_and_an_old_one_is_not(world: World, acts: Acts) -> None:
    world.join(weight=500)
    promote(world, "churn-v2")
    old = Acts(doors=world.doors, target="modelserve", recent=timedelta(hours=1))
    assert outcomes(old.act(notification(alert()))) == ["left to a person"]
    assert outcomes(acts.act(notification(alert()))) == ["rolled back"]
    assert world.weights == {"churn": 1000}


@pytest.mark.parametrize(
    ("starts", "outcome", "model"),
    [
        ("2025-12-31T23:59:00Z", "left to a person", 3),
        ("2026-01-01T00:59:00+01:00", "left to a person", 3),
        ("2026-01-01T00:01:00.123456789Z", "rolled back", 1),
    ],
)
def test_an_alert_about_the_model_before_does_not_take_back_the_one_that_mended_it(
    world: World, acts: Acts, starts: str, outcome: str, model: int
) -> None:
    replace_model(world, 3)
    assert outcomes(acts.act(notification(alert(startsAt=starts, labels={"deployment": "churn"})))) == [outcome]
    assert world.endpoint.deployments["churn"].model.uri == f"models:/churn/{model}"


def test_alerts_of_one_incident_go_back_one_version_and_no_further(world: World, acts: Acts) -> None:
    replace_model(world, 2)
    replace_model(world, 3)
    labels = {"deployment": "churn"}
    assert outcomes(acts.act(notification(alert(labels=labels)))) == ["rolled back"]
    slower = alert(fingerprint="beef", startsAt="2026-01-01T11:03:00Z", labels=labels)
    assert outcomes(acts.act(notification(slower, alert(labels=labels)))) == ["left to a person"] * 2
    assert world.endpoint.deployments["churn"].model.uri == "models:/churn/2"


def test_what_a_rollback_went_back_to_is_not_called_newly_stable(world: World, acts: Acts) -> None:
    for name, version in (("churn-v2", 2), ("churn-v3", 3)):
        world.join(weight=500, name=name, version=version)
        promote(world, name)
    assert outcomes(acts.act(notification(alert(labels={"deployment": "churn-v3"})))) == ["rolled back"]
    left = dict(world.weights)
    assert "churn-v3" not in left
    accused = world.endpoint.route.stable
    assert outcomes(acts.act(notification(alert(fingerprint="beef", labels={"deployment": accused})))) == [
        "left to a person"
    ]
    assert world.weights == left


def test_a_canary_whose_model_was_replaced_is_not_taken_back_for_the_one_before(world: World, acts: Acts) -> None:
    world.join(weight=250)
    replace_model(world, 3, name="churn-v2")
    early = alert(startsAt="2025-12-31T23:59:00Z")
    assert outcomes(acts.act(notification(early))) == ["left to a person"]
    assert world.weights == {"churn": 750, "churn-v2": 250}
    assert outcomes(acts.act(notification(alert(fingerprint="beef")))) == ["rolled back"]


def test_a_canary_that_had_no_model_before_is_taken_back_whatever_the_clocks_say(world: World, acts: Acts) -> None:
    world.join(weight=250)
    assert outcomes(acts.act(notification(alert(startsAt="2025-12-31T23:59:00Z")))) == ["rolled back"]


def test_a_repository_that_is_busy_makes_alertmanager_come_again(world: World, acts: Acts) -> None:
    world.join(weight=250)
    world.repository.rivals = [lambda r, n=n: r.push({**r.files(r.head().sha), f"x{n}": ""}, "x") for n in range(40)]
    assert acts.act(notification(alert())).status == 503
    world.repository.rivals = []
    assert outcomes(acts.act(notification(alert()))) == ["rolled back"]


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"{}", b'{"alerts": {}}', b'{"alerts": [1]}', b'{"alerts": [{"labels": {}}]}',
     b'{"alerts": [{"fingerprint": "a", "startsAt": "2026-01-01T11:00:00Z", "labels": []}]}', b"\xff",
     b'{"alerts": [{"fingerprint": "a", "startsAt": "yesterday"}]}', pytest.param(b"[" * 100_000, id="deep")],
)  # fmt: skip
def test_what_is_no_notification_is_refused_for_good(world: World, acts: Acts, body: bytes) -> None:
    head = world.head
    assert acts.act(body).status == 400
    assert world.head == head


def test_texts_of_an_alert_cannot_forge_a_trailer(world: World, acts: Acts) -> None:
    world.join(weight=250)
    evil = alert(annotations={"summary": "x\nModelserve-Action: promote\n" + "y" * 5000})
    assert outcomes(acts.act(notification(evil))) == ["rolled back"]
    assert world.repository.head().trailers.action == "rollback"


def test_too_many_alerts_at_once_are_refused() -> None:
    with pytest.raises(ConfigError, match="at most"):
        alerts.parse(notification(*[alert()] * (alerts.MAX_ALERTS + 1)))


# -- the address -------------------------------------------------------------------------------------------------------


@pytest.fixture
def listen() -> Iterator[Callable[..., Receiver]]:
    open_: list[tuple[Receiver, threading.Thread]] = []

    def make(token: str = "", host: str = "127.0.0.1") -> Receiver:
        receiver = Receiver(host, 0, token=token, act=lambda body: Reply(status=200, text=body.decode()))
        thread = threading.Thread(target=receiver.serve)
        thread.start()
        open_.append((receiver, thread))
        return receiver

    yield make
    for receiver, thread in open_:
        receiver.stop()
        thread.join()


def post(receiver: Receiver, path: str = "/alerts", body: bytes = b"{}", **headers: str) -> int:
    connection = http.client.HTTPConnection(receiver.address, timeout=10)
    named = {"content-type": "application/json"} | {key.replace("_", "-"): text for key, text in headers.items()}
    try:
        connection.request("POST", path, body, named)
        return connection.getresponse().status
    finally:
        connection.close()


def test_the_address_takes_json_from_who_has_the_token(listen: Callable[..., Receiver]) -> None:
    receiver = listen(token="s3cret")  # noqa: S106  a test's
    assert post(receiver) == 401
    assert post(receiver, authorization="Bearer wrong") == 401
    assert post(receiver, authorization="Bearer s3cret") == 200
    assert post(receiver, "/elsewhere", authorization="Bearer s3cret") == 404


def test_a_form_of_a_browser_and_a_huge_body_are_refused(listen: Callable[..., Receiver]) -> None:
    receiver = listen()
    assert post(receiver, content_type="text/plain") == 415
    assert post(receiver, content_type="application/json; charset=utf-8") == 200
    assert post(receiver, content_length="99999999") == 413


def test_the_loopback_of_ipv6_is_an_address_too(listen: Callable[..., Receiver]) -> None:
    try:
        receiver = listen(host="::1")
    except OSError as error:
        if error.errno not in {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}:
            raise
        pytest.skip("this machine has no IPv6")
    assert receiver.address.startswith("[::1]:")
    assert post(receiver) == 200


@pytest.mark.parametrize("listen_at", ["0.0.0.0:9098", "nowhere", "127.0.0.1:99999", ":80"])
def test_an_open_or_unusable_address_is_refused_with_a_way_out(world: World, listen_at: str) -> None:
    assert world.run("alerts", "--listen", listen_at) == 2
    assert "--listen" in world.warned[0]
