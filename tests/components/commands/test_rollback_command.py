import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

from mlflow_deploy_plugin import manifests

World = Any

PLAN = """
apiVersion: modelserve.io/v1alpha1
kind: Rollout
metadata: {name: churn, annotations: {config.kubernetes.io/local-config: "true"}}
spec: {steps: [{weight: 10}, {weight: 100}]}
"""


def replace_model(world: World, version: int, name: str = "churn", **fields: Any) -> None:
    """``mlflow deployments update -m``, as the tree sees it."""
    before = world.endpoint.deployments[name]
    model = replace(before.model, digest=f"sha256:{version:064x}", uri=f"models:/churn/{version}", version=str(version))
    after = replace(before, model=model, image=f"modelserve.invalid/churn@{model.digest}", **fields)
    world.change(lambda files: manifests.replace_deployment(files, after))


def model(world: World, name: str = "churn") -> str:
    return str(world.endpoint.deployments[name].model.version)


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


def test_rollback_restores_a_model_that_was_replaced_in_place(world: World) -> None:
    replace_model(world, 2)
    assert world.run("rollback", "--endpoint", "churn", "--reason", "worse") == 0
    assert (world.weights, model(world)) == ({"churn": 1000}, "1")
    assert world.endpoint.route.hold.model_digest == f"sha256:{2:064x}"
    assert "churn: rolled back churn (churn models:/churn/2 → models:/churn/1)" in world.repository.head().message


def test_rollback_of_a_replaced_model_twice_changes_nothing_the_second_time(world: World) -> None:
    replace_model(world, 2)
    world.run("rollback", "--endpoint", "churn")
    head = world.head
    assert world.run("rollback", "--endpoint", "churn") == 0
    assert world.text.startswith("unchanged")
    assert world.head == head


def test_replicas_and_comments_of_today_survive_a_rollback_of_the_model(world: World) -> None:
    replace_model(world, 2, environment={"MODELSERVE_MAX_BATCH_SIZE": "8"})
    file = "stages/production/churn/churn.yaml"
    world.change(lambda files: {**files, file: files[file].replace("replicas: 1", "replicas: 3  # the big sale")})
    world.run("rollback", "--endpoint", "churn")
    restored = world.endpoint.deployments["churn"]
    assert (model(world), restored.replicas) == ("1", 3)
    assert "MODELSERVE_MAX_BATCH_SIZE" not in restored.environment
    assert "# the big sale" in world.repository.files(world.head)[file]


def test_a_chain_of_replacements_and_rollbacks_never_returns_to_what_was_rolled_back(world: World) -> None:
    replace_model(world, 2)
    replace_model(world, 3)
    world.run("rollback", "--endpoint", "churn")
    assert model(world) == "2"
    assert world.run("rollback", "--endpoint", "churn", "--deployment", "churn") == 0
    assert model(world) == "1"
    replace_model(world, 4)
    world.run("rollback", "--endpoint", "churn")
    assert model(world) == "1"


def test_a_version_that_people_let_serve_again_is_what_a_later_rollback_goes_back_to(world: World) -> None:
    world.join(weight=250)
    world.run("rollback", "--endpoint", "churn")
    take_over = {"annotations": {"modelserve.io/stable": "churn-v2"}}
    world.change(lambda files: manifests.set_split(files, "production", "churn", {"churn-v2": 1000}, **take_over))
    world.join(weight=100, name="churn-v3", version=3)
    assert world.endpoint.route.hold.deployment == "churn-v2"
    assert world.run("rollback", "--endpoint", "churn") == 0
    assert world.weights == {"churn-v2": 1000}


def test_every_version_that_goes_is_held_and_earlier_holds_stay(world: World) -> None:
    world.join(weight=100)
    world.run("rollback", "--endpoint", "churn")
    world.join(weight=100, name="churn-v3", version=3)
    world.join(weight=100, name="churn-v4", version=4)
    assert world.run("rollback", "--endpoint", "churn", "--reason", "both are slow") == 0
    assert {hold.deployment: hold.reason for hold in world.endpoint.route.holds} == {
        "churn-v3": "both are slow",
        "churn-v4": "both are slow",
        "churn-v2": "asked for by a person",
    }
    world.join(weight=0, name="churn-v5", version=5)
    assert world.run("status", "--endpoint", "churn") == 0
    assert world.text.count("hold: ") == 3
    assert world.run("approve", "--endpoint", "churn", "--lift-hold") == 2
    assert "'churn' holds churn-v4, churn-v3, churn-v2; say which by --lift-hold NAME" in world.warned[-1]
    assert world.run("approve", "--endpoint", "churn", "--lift-hold", "churn-v9") == 2
    assert "holds no version 'churn-v9'" in world.warned[-1]
    for name, left in (("churn-v3", {"churn-v4", "churn-v2"}), ("churn-v4", {"churn-v2"}), ("", set())):
        world.run("approve", "--endpoint", "churn", "--lift-hold", *([name] if name else []))
        assert {hold.deployment for hold in world.endpoint.route.holds} == left
    assert "the hold on churn-v2 lifted" in world.repository.head().subject


def test_a_version_that_is_out_is_told_of_by_its_own_hold(world: World) -> None:
    world.join(weight=100)
    world.run("rollback", "--endpoint", "churn", "--reason", "slow")
    world.join(weight=100, name="churn-v3", version=3)
    world.run("rollback", "--endpoint", "churn", "--reason", "wrong")
    world.run("rollback", "--endpoint", "churn", "--deployment", "churn-v2")
    assert "unchanged: churn-v2 is out already (slow)" in world.text


def test_a_hold_whose_time_is_over_holds_nothing(world: World) -> None:
    world.join(weight=100)
    world.run("rollback", "--endpoint", "churn", "--reason", "slow", "--hold", "1h")
    world.join(weight=100, name="churn-v3", version=3)
    world.run("rollback", "--endpoint", "churn", "--reason", "wrong")
    world.change(lambda files: {**files, "stages/production/churn/rollout.yaml": PLAN})
    world.now += timedelta(minutes=30)
    world.run("promote", "--endpoint", "churn")
    assert world.weights == {"churn": 1000}
    world.now += timedelta(hours=1)
    assert world.run("status", "--endpoint", "churn") == 0
    assert "hold: churn-v3: wrong" in world.text
    assert "hold: churn-v2" not in world.text
    world.run("promote", "--endpoint", "churn")
    assert world.weights == {"churn-v2": 100, "churn": 900}


def test_a_canary_goes_and_the_model_of_stable_that_was_replaced_meanwhile_stays(world: World) -> None:
    world.join(weight=250)
    replace_model(world, 3)
    assert world.run("rollback", "--endpoint", "churn") == 0
    assert (world.weights, model(world)) == ({"churn": 1000}, "3")


def test_a_rollback_of_a_model_that_somebody_replaces_at_that_moment_is_refused(world: World) -> None:
    replace_model(world, 2)
    world.repository.rivals.append(lambda _: replace_model(world, 3))
    assert world.run("rollback", "--endpoint", "churn") == 2
    assert "no longer carries what was judged" in world.warned[0]
    assert model(world) == "3"


def test_another_endpoint_s_later_edit_survives_a_rollback(world: World) -> None:
    other = replace(world.endpoint.deployments["churn"], name="price", endpoint="price")
    world.change(lambda files: manifests.add_endpoint(files, other, salt="p"))
    replace_model(world, 2)
    world.change(
        lambda files: {
            **files,
            "stages/production/price/rollout.yaml": files["stages/production/price/rollout.yaml"] + "# later\n",
        }
    )
    world.run("rollback", "--endpoint", "churn")
    assert world.repository.files(world.head)["stages/production/price/rollout.yaml"].endswith("# later\n")
