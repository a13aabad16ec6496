"""A model's life: what staging has proven goes to production, by its digest, at the first step of production's plan."""

from dataclasses import replace
from typing import Any

import pytest

from mlflow_deploy_plugin import manifests
from mlflow_deploy_plugin.manifests.model import Deployment

World = Any

HEAD = """
apiVersion: modelserve.io/v1alpha1
kind: Rollout
metadata: {name: churn, annotations: {config.kubernetes.io/local-config: "true"}}
spec:
"""
CANARY = "  steps: [{weight: 5}, {weight: 100}]\n"


@pytest.fixture
def staged(world: World) -> World:
    """Version 2 has all users of staging, where it replaced version 1 in place; production serves version 1."""
    staged = replace(version(world, 2), stage="staging", environment={"MODELSERVE_MAX_BATCH_SIZE": "8"})
    world.change(lambda files: manifests.add_endpoint(files, staged, salt="s2"))
    plan(world, CANARY)
    return world


def version(world: World, number: int) -> Deployment:
    production = world.endpoint.deployments["churn"]
    model = replace(
        production.model, digest=f"sha256:{number:064x}", uri=f"models:/churn/{number}", version=str(number)
    )
    return replace(production, model=model, image=f"modelserve.invalid/churn@{model.digest}", environment={})


def plan(world: World, text: str, stage: str = "production") -> None:
    world.change(lambda files: {**files, f"stages/{stage}/churn/rollout.yaml": HEAD + text})


def promote(world: World, *arguments: str, source: str = "staging", to: str = "production") -> int:
    return int(world.run("promote", "--from", source, "--to", to, "--endpoint", "churn", *arguments))


def staging(world: World, **annotations: str | None) -> None:
    """Another state of the route in staging."""
    notes = {f"modelserve.io/{key}": text for key, text in annotations.items()}
    world.change(lambda files: manifests.set_split(files, "staging", "churn", {"churn": 1000}, annotations=notes))


def test_the_same_model_enters_at_the_first_step_of_the_next_stage_s_plan(staged: World) -> None:
    world = staged
    file = "stages/production/churn/churn.yaml"
    world.change(lambda files: {**files, file: files[file].replace("replicas: 1", "replicas: 3")})
    assert promote(world) == 0
    entered = world.endpoint.deployments["churn-v2"]
    assert world.weights == {"churn-v2": 50, "churn": 950}
    assert (entered.model.digest, entered.image) == (f"sha256:{2:064x}", f"modelserve.invalid/churn@sha256:{2:064x}")
    assert (entered.stage, entered.replicas, entered.environment["MODELSERVE_MAX_BATCH_SIZE"]) == ("production", 3, "8")
    commit = world.repository.head()
    assert commit.subject.startswith("churn: models:/churn/2 from staging to production, canary churn-v2 0% → 5%")
    assert (commit.trailers.action, commit.trailers.by) == ("stage", "ada@example.org")
    assert commit.trailers.evidence in world.repository.files(commit.sha)


def test_a_second_time_changes_nothing(staged: World) -> None:
    promote(staged)
    head = staged.head
    assert promote(staged) == 0
    assert staged.text == "unchanged: models:/churn/2 is in production already, as churn-v2 (5 % of the users)"
    assert staged.head == head


def test_whoever_brings_it_to_a_stage_is_its_author_there(staged: World) -> None:
    world = staged
    plan(world, CANARY.replace("{weight: 5}", "{weight: 5, approval: true}") + "  approvals: {not_author: true}\n")
    promote(world)
    assert world.run("approve", "--endpoint", "churn") == 2
    assert "lets nobody approve their own" in world.warned[0]


def test_a_stage_that_does_not_know_the_endpoint_gets_it_whole(staged: World) -> None:
    world = staged
    world.change(lambda files: manifests.remove_endpoint(files, "production", "churn"))
    assert promote(world) == 0
    assert world.weights == {"churn": 1000}
    assert world.endpoint.deployments["churn"].model.version == "2"
    assert not world.endpoint.route.hears_override  # what a promotion makes in production


def test_without_a_plan_or_with_blue_green_it_stands_without_users(staged: World) -> None:
    plan(staged, "  strategy: blue-green\n")
    assert promote(staged) == 0
    assert staged.weights == {"churn": 1000}
    assert "churn-v2" in staged.endpoint.deployments
    assert "stands without users" in staged.repository.head().subject


def test_a_shadow_is_the_first_step_too(staged: World) -> None:
    plan(staged, "  strategy: shadow\n  percent: 20\n")
    promote(staged)
    assert staged.endpoint.route.mirror.deployment == "churn-v2"


@pytest.mark.parametrize(
    ("notes", "said"),
    [
        ({"rollout": "r1", "step": "2"}, "is in a rollout (step 3)"),
        ({"phase": "frozen"}, "is frozen"),
        (
            {"hold": f'{{"deployment": "churn", "digest": "sha256:{2:064x}", "reason": "bad"}}'},
            "serves a model that is held: bad",
        ),
    ],
)
def test_a_source_that_is_not_settled_is_refused(staged: World, notes: dict[str, str], said: str) -> None:
    staging(staged, **notes)
    assert promote(staged) == 2
    assert said in staged.warned[-1]
    assert staged.weights == {"churn": 1000}


def test_a_source_that_splits_its_users_is_refused(staged: World) -> None:
    other = replace(version(staged, 3), name="churn-v3", stage="staging")
    staged.change(lambda files: manifests.add_deployment(files, other, weight=400))
    assert promote(staged) == 2
    assert "splits its users: churn-v3=40,churn=60" in staged.warned[-1]


def test_another_digest_than_was_meant_is_refused(staged: World) -> None:
    assert promote(staged, "--digest", "sha256:1") == 2
    assert f"serves sha256:{2:064x}, not sha256:1" in staged.warned[-1]


def test_a_source_that_certainly_fails_its_users_is_refused(staged: World) -> None:
    world = staged
    world.traffic(world.people(400), failing={"churn": 0.4})
    events = world.home / "events" / "attempts"
    (events / "stage=production").rename(events / "stage=staging")
    assert promote(world) == 2
    assert "is not healthy in staging" in world.warned[-1]
    assert promote(world, "--override", "the gateway was broken") == 0
    assert world.repository.head().trailers.reason.startswith("override (the gateway was broken): ")


def test_a_model_that_production_holds_does_not_come_back_by_itself(staged: World) -> None:
    world = staged
    promote(world)
    world.run("rollback", "--endpoint", "churn", "--reason", "was worse")
    world.change(lambda files: manifests.remove_deployment(files, "production", "churn-v2"))
    assert promote(world) == 2
    assert "holds this model: was worse" in world.warned[-1]
    assert promote(world, "--override", "fixed") == 0
    assert world.weights == {"churn-v2": 50, "churn": 950}
    assert world.endpoint.route.hold is None


def test_a_freeze_window_of_the_next_stage_holds(staged: World) -> None:
    plan(staged, CANARY + "  freeze: [{reason: sale}]\n")
    assert promote(staged) == 2
    assert "freeze window of production: sale" in staged.warned[-1]


def test_a_rollout_that_runs_in_the_next_stage_is_not_disturbed(staged: World) -> None:
    world = staged
    promote(world)
    third = replace(version(world, 3), stage="staging")
    world.change(lambda files: manifests.replace_deployment(files, third))
    assert promote(world) == 2
    assert "a rollout of endpoint 'churn' runs in stage 'production'" in world.warned[-1]


def test_a_source_that_changes_at_that_moment_is_refused(staged: World) -> None:
    world = staged
    third = replace(version(world, 3), stage="staging")
    world.repository.rivals.append(lambda _: world.change(lambda files: manifests.replace_deployment(files, third)))
    assert promote(world) == 2
    assert "superseded: stage 'staging' serves" in world.warned[-1]
    assert world.weights == {"churn": 1000}


def test_arguments_that_do_not_belong_together_are_refused(staged: World) -> None:
    assert staged.run("promote", "--from", "staging", "--endpoint", "churn") == 2
    assert "give all three" in staged.warned[-1]
    assert promote(staged, to="dev") == 2
    assert "serves stage 'production'" in staged.warned[-1]
    assert promote(staged, source="dev") == 2
    assert "endpoint 'churn' not found in stage 'dev'" in staged.warned[-1]
    assert promote(staged, "--name", "churn") == 2
    assert "with another model already; give --name" in staged.warned[-1]


def test_a_dry_run_says_what_would_happen(staged: World) -> None:
    head = staged.head
    assert promote(staged, "--dry-run") == 0
    assert staged.text.startswith("would commit: churn: models:/churn/2 from staging to production, canary")
    assert staged.head == head
