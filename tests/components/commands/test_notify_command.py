"""Ten alerts, one notice: a webhook and GitHub's issues behind a server of this machine that behaves as they do."""

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from pipelines.cli import main
from pipelines.monitoring.notifying import GithubIssues, Webhook, marker
from pipelines.promotion.notices import Notice

World = Any
People = Any

PLAN = """
apiVersion: modelserve.io/v1alpha1
kind: Rollout
metadata: {name: churn, annotations: {config.kubernetes.io/local-config: "true"}}
spec:
  steps: [{weight: 50}, {weight: 100}]
  gates: {errors: {margin: 5, guardrail: 20, minimum_users: 50}}
"""
TOKEN = "secret"  # noqa: S105  of a server that this file starts
NOTICE = Notice(
    stage="s", endpoint="e", deployments=("d",), rule="errors", window="r1", reason="<!channel> `@ada` & so"
)


def notify(world: World, people: People, *arguments: str, **environment: str) -> int:
    world.said.clear()
    world.warned.clear()
    told = {"MODELSERVE_NOTIFY_URL": f"{people.url}/hook", "GITHUB_TOKEN": "secret", "GITHUB_API_URL": people.url}
    doors = replace(world.doors, environment=world.doors.environment | told | environment)
    return main(["notify", *arguments], doors=doors)


@pytest.fixture
def bad(world: World, tmp_path: Path) -> World:
    """A canary that a tick has taken back; its record lies in ``records``."""
    world.records = tmp_path / "records"
    world.join(weight=0)
    world.change(lambda files: {**files, "stages/production/churn/rollout.yaml": PLAN})
    world.run("promote", "--endpoint", "churn")
    world.traffic(world.people(900), failing={"churn-v2": 0.6})
    world.now += timedelta(minutes=10)
    assert world.run("promote", "--endpoint", "churn", "--records", str(world.records)) == 1
    return world


def test_ten_runs_of_an_abort_tell_one_issue_and_one_message(bad: World, people: People) -> None:
    asked = ("--record", str(bad.records), "--github", "team/models", "--target", "modelserve")
    for _ in range(10):
        assert notify(bad, people, *asked) == 0
    assert [issue["title"] for issue in people.issues] == ["churn (production): churn-v2: errors"]
    fingerprint = bad.repository.head().trailers.fingerprint
    assert marker(fingerprint) in people.issues[0]["body"]
    assert f"told before, or not committed ({fingerprint})" in bad.text
    assert len(people.heard) == 1


def test_a_webhook_alone_hears_from_the_run_that_made_the_commit(bad: World, people: People, tmp_path: Path) -> None:
    assert notify(bad, people, "--record", str(bad.records), "--target", "modelserve") == 0
    assert len(people.heard) == 1
    assert people.heard[0]["text"].startswith("churn (production): churn-v2: errors: errors: error ratio")
    later = tmp_path / "later.json"
    record = json.loads((bad.records / "production-churn.json").read_text())
    later.write_text(json.dumps({**record, "now": "2026-01-02T00:00:00Z"}))
    assert notify(bad, people, "--record", str(later), "--target", "modelserve") == 0
    assert len(people.heard) == 1


def test_ten_drift_reports_of_one_day_are_one_issue(world: World, people: People) -> None:
    world.traffic(world.people(1500, age=70.0))
    for _ in range(10):
        world.drift()
        (world.root / "out" / "inputs.json").write_text('{"metrics": []}')  # as Evidently leaves one
        assert notify(world, people, "--record", str(world.root / "out"), "--github", "team/models") == 0
        world.now += timedelta(minutes=5)
    assert len(people.issues) == len(people.heard) == 1
    assert "AlertOnly" in people.issues[0]["title"]


def test_an_issue_that_was_closed_is_opened_again(bad: World, people: People) -> None:
    asked = ("--record", str(bad.records), "--github", "team/models")
    notify(bad, people, *asked)
    people.issues[0]["state"] = "closed"
    notify(bad, people, *asked)
    assert [issue["state"] for issue in people.issues] == ["open", "closed"]


def test_a_known_issue_is_found_behind_a_hundred_others(people: People) -> None:
    door = GithubIssues(repository="team/models", token=TOKEN, api=people.url)
    assert not door.knows(NOTICE.fingerprint)
    assert door.tell(NOTICE).startswith("opened issue https://github.test/1")
    for number in range(150):
        assert door.tell(replace(NOTICE, window=f"w{number}"))
    assert door.knows(NOTICE.fingerprint)


def test_a_reason_calls_nobody(people: People) -> None:
    Webhook(url=f"{people.url}/hook").tell(NOTICE)
    assert "&lt;!channel&gt; `@ada` &amp; so" in people.heard[0]["text"]
    GithubIssues(repository="team/models", token=TOKEN, api=people.url).tell(NOTICE)
    assert people.issues[0]["body"].startswith("    <!channel> '@ada' & so\n")


def test_a_good_tick_tells_nothing(world: World, people: People, tmp_path: Path) -> None:
    world.join(weight=0)
    world.change(lambda files: {**files, "stages/production/churn/rollout.yaml": PLAN})
    world.run("promote", "--endpoint", "churn", "--records", str(tmp_path / "records"))
    assert notify(world, people, "--record", str(tmp_path / "records"), "--github", "team/models") == 0
    assert (people.issues, people.heard, world.said) == ([], [], [])


@pytest.mark.parametrize(
    ("status", "code", "said"), [(500, 75, "try again later"), (404, 2, "the token and its rights"), (429, 75, "again")]
)
def test_a_door_that_refuses_says_so_without_its_secrets(
    bad: World, people: People, status: int, code: int, said: str
) -> None:
    people.status = status
    assert notify(bad, people, "--record", str(bad.records), "--target", "modelserve") == code
    assert said in bad.warned[0]
    assert "hook" not in bad.warned[0].replace("webhook", "")
    assert notify(bad, people, "--record", str(bad.records), "--github", "team/models") == code
    assert "secret" not in bad.warned[0]


def test_a_door_that_is_away_can_be_tried_again(bad: World, people: People) -> None:
    gone = "http://127.0.0.1:9/T0/B0/hidden"
    asked = ("--record", str(bad.records), "--target", "modelserve")
    assert notify(bad, people, *asked, MODELSERVE_NOTIFY_URL=gone) == 75
    assert "hidden" not in bad.warned[0]


@pytest.mark.parametrize(
    ("arguments", "environment", "said"),
    [
        (["--github", "house"], {}, "OWNER/NAME"),
        (["--github", "a/b"], {"GITHUB_TOKEN": ""}, "GITHUB_TOKEN"),
        (["--record", "/nowhere.json"], {}, "cannot be read"),
        (["--record", "RECORD"], {}, "a webhook remembers nothing: give --target"),
        ([], {"MODELSERVE_NOTIFY_URL": "hooks.example"}, "a webhook's address is none"),
    ],
)
def test_what_cannot_be_is_refused(
    bad: World, people: People, arguments: list[str], environment: dict[str, str], said: str
) -> None:
    given = [str(bad.records) if argument == "RECORD" else argument for argument in arguments]
    assert notify(bad, people, *given, **environment) == 2
    assert said in bad.warned[0]


def test_without_a_door_nothing_is_told(world: World, people: People) -> None:
    assert notify(world, people, MODELSERVE_NOTIFY_URL="") == 0
    assert "set MODELSERVE_NOTIFY_URL" in world.text
