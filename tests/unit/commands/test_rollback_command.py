import json
from typing import Any

from mlflow_deploy_plugin import manifests

World = Any


def test_rollback_takes_the_canary_out_and_holds_it(world: World) -> None:
    world.join(weight=250)
    assert world.run("rollback", "--endpoint", "churn", "--reason", "pager went off") == 0
    assert "rolled back churn-v2 to churn=100 by commit" in world.text
    assert world.weights == {"churn": 1000}
    assert world.endpoint.route.hold.reason == "pager went off"
    assert world.endpoint.route.hold.until is None


def test_rollback_twice_changes_nothing_the_second_time(world: World) -> None:
    world.join(weight=250)
    world.run("rollback", "--endpoint", "churn")
    head = world.head
    assert world.run("rollback", "--endpoint", "churn") == 0
    assert world.text.startswith("unchanged: churn-v2 is out already")
    assert world.head == head


def test_rollback_after_full_promotion_returns_to_the_version_before(world: World) -> None:
    world.join(weight=100)
    world.split(churn=500, churn_v2=500)
    route = "stages/production/churn/route.yaml"
    world.change(
        lambda files: manifests.set_split(
            files, "production", "churn", {"churn-v2": 1000}, annotations={"modelserve.io/stable": "churn-v2"}
        )
    )
    assert world.run("rollback", "--endpoint", "churn") == 0
    assert world.weights == {"churn": 1000}
    assert world.endpoint.route.stable == "churn"
    assert "modelserve.io/stable: churn" in world.repository.files(world.head)[route]


def test_rollback_of_the_only_version_ever_says_what_to_do(world: World) -> None:
    assert world.run("rollback", "--endpoint", "churn") == 2
    assert "no earlier split without 'churn' can be served" in world.warned[0]


def test_rollback_of_one_arm_leaves_the_other(world: World) -> None:
    world.join(weight=100, name="churn-v3", version=3)
    world.join(weight=100)
    assert world.run("rollback", "--endpoint", "churn", "--deployment", "churn-v2", "--hold", "2d") == 0
    assert world.weights == {"churn": 900, "churn-v3": 100}
    assert (world.endpoint.route.hold.until - world.now).days == 2


def test_a_rollback_of_a_rollback_goes_to_a_split_without_both(world: World) -> None:
    world.join(weight=100, name="churn-v3", version=3)
    world.run("rollback", "--endpoint", "churn")
    world.join(weight=300)
    assert world.run("rollback", "--endpoint", "churn") == 0
    assert world.weights == {"churn": 1000}
    assert world.endpoint.route.hold.deployment == "churn-v2"


def test_history_tells_our_commits_by_their_trailers_and_others_by_their_diff(world: World) -> None:
    world.join(weight=100)
    world.split(churn=600, churn_v2=400)
    world.run("rollback", "--endpoint", "churn", "--reason", "too many complaints")
    assert world.run("history", "--endpoint", "churn") == 0
    assert "churn: rolled back churn-v2 (churn-v2 40% → 0%, churn 60% → 100%)" in world.said[0]
    assert "reason: too many complaints" in world.said[0]
    assert "churn-v2 10% → 40%" in world.said[1]
    assert world.run("history", "--endpoint", "churn", "--json") == 0
    assert json.loads(world.said[0])["action"] == "rollback"
    assert json.loads(world.said[1])["action"] == "edit"


def test_history_of_a_name_that_never_was_is_refused(world: World) -> None:
    assert world.run("history", "--endpoint", "nope") == 2
    assert "no commit of stage 'production' touched endpoint 'nope'" in world.warned[0]
