"""Notifications of Alertmanager against a repository in memory."""

import http.client
import json
import threading
from collections.abc import Callable, Iterator
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
    world.change(
        lambda files: manifests.set_split(
            files, "production", "churn", {"churn-v2": 1000}, annotations={"modelserve.io/stable": "churn-v2"}
        )
    )
    old = Acts(doors=world.doors, target="modelserve", recent=timedelta(hours=1))
    assert outcomes(old.act(notification(alert()))) == ["left to a person"]
    assert outcomes(acts.act(notification(alert()))) == ["rolled back"]
    assert world.weights == {"churn": 1000}


def test_a_repository_that_is_busy_makes_alertmanager_come_again(world: World, acts: Acts) -> None:
    world.join(weight=250)
    world.repository.rivals = [lambda r, n=n: r.push({**r.files(r.head().sha), f"x{n}": ""}, "x") for n in range(40)]
    assert acts.act(notification(alert())).status == 503
    world.repository.rivals = []
    assert outcomes(acts.act(notification(alert()))) == ["rolled back"]


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"{}", b'{"alerts": {}}', b'{"alerts": [1]}', b'{"alerts": [{"labels": {}}]}',
     b'{"alerts": [{"fingerprint": "a", "startsAt": "b", "labels": []}]}', b"\xff"],
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

    def make(token: str = "") -> Receiver:
        receiver = Receiver("127.0.0.1", 0, token=token, act=lambda body: Reply(status=200, text=body.decode()))
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


@pytest.mark.parametrize("listen_at", ["0.0.0.0:9098", "nowhere", "127.0.0.1:99999", ":80"])
def test_an_open_or_unusable_address_is_refused_with_a_way_out(world: World, listen_at: str) -> None:
    assert world.run("alerts", "--listen", listen_at) == 2
    assert "--listen" in world.warned[0]
