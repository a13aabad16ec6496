from collections.abc import Callable
from dataclasses import replace

import pytest

from mlflow_deploy_plugin.errors import AlreadyExistsError, ConfigError, ConflictError, NotFoundError
from mlflow_deploy_plugin.manifests.model import Deployment, Files, Resources
from mlflow_deploy_plugin.targets.intents import (
    Create,
    Delete,
    DeleteEndpoint,
    Intent,
    Split,
    Update,
    apply,
    endpoint_of,
    operation_id,
    read_stage,
    require_deployment,
)
from mlflow_deploy_plugin.targets.restoring import restore

Make = Callable[..., Deployment]


def done(intent: Intent, files: Files) -> Files:
    return apply(intent, files, operation="op")[0]


def subject(intent: Intent, files: Files) -> str:
    return apply(intent, files, operation="op")[1].subject


def weights(files: Files, endpoint: str = "churn") -> dict[str, int]:
    return dict(read_stage(files, "production").endpoints[endpoint].route.weights)


@pytest.fixture
def one(make_deployment: Make) -> Files:
    return done(Create(deployment=make_deployment()), {})


@pytest.fixture
def two(one: Files, make_deployment: Make) -> Files:
    canary = make_deployment("churn-v4", version=4)
    return done(Create(deployment=canary, weight=100, joins=True), one)


def split(**weights: int) -> Split:
    shares = {name.replace("_", "-"): weight for name, weight in weights.items()}
    return Split(stage="production", endpoint="churn", weights=shares)


def test_the_first_deployment_makes_its_endpoint_and_takes_all(one: Files) -> None:
    assert weights(one) == {"churn": 1000}


def test_a_second_version_takes_its_weight_from_stable(two: Files) -> None:
    assert weights(two) == {"churn": 900, "churn-v4": 100}


def test_a_version_that_joins_without_a_weight_gets_nobody(one: Files, make_deployment: Make) -> None:
    tree = done(Create(deployment=make_deployment("churn-v4", version=4), joins=True), one)
    assert weights(tree).get("churn-v4", 0) == 0
    assert read_stage(tree, "production").deployment("churn-v4") is not None


def test_a_commit_reads_as_news(one: Files, make_deployment: Make) -> None:
    canary = Create(deployment=make_deployment("churn-v4", version=4), weight=100, joins=True)
    assert subject(canary, one) == "churn: churn-v4 joins at 10% (models:/churn/4)"
    two = done(canary, one)
    assert subject(split(churn=750, churn_v4=250), two) == "churn: churn 90% → 75%, churn-v4 10% → 25%"
    assert subject(Delete(stage="production", name="churn"), one) == "churn: removed with churn"
    update = Update(deployment=make_deployment(version=2))
    assert subject(update, one) == "churn: churn models:/churn/1 → models:/churn/2"
    resized = Update(deployment=replace(make_deployment(), replicas=2, resources=Resources(gpu=1)))
    assert subject(resized, one) == "churn: churn replicas 1 → 2, gpu 0 → 1"


def test_trailers_say_what_was_done(one: Files, make_deployment: Make) -> None:
    canary = make_deployment("churn-v4", version=4)
    trailers = apply(Create(deployment=canary, weight=100, joins=True), one, operation="op")[1].trailers
    assert (trailers.operation, trailers.endpoint, trailers.stage, trailers.action, trailers.from_, trailers.to) == (
        "op",
        "churn",
        "production",
        "join",
        "churn=100",
        "churn=90,churn-v4=10",
    )


def test_a_name_that_is_taken_is_refused_with_the_way_out(one: Files, make_deployment: Make) -> None:
    with pytest.raises(AlreadyExistsError, match="mlflow deployments update"):
        done(Create(deployment=make_deployment(), joins=True), one)


def test_an_endpoint_that_exists_must_be_named_to_be_joined(two: Files, make_deployment: Make) -> None:
    without_churn = done(Delete(stage="production", name="churn"), done(split(churn_v4=1000), two))
    with pytest.raises(AlreadyExistsError, match="--endpoint churn"):
        done(Create(deployment=make_deployment()), without_churn)


def test_the_first_deployment_cannot_take_less_than_all(make_deployment: Make) -> None:
    with pytest.raises(ConfigError, match="weight=10 "):
        done(Create(deployment=make_deployment(), weight=100), {})


def test_a_deployment_with_users_is_not_deleted(two: Files) -> None:
    with pytest.raises(ConflictError, match="traffic=churn=100"):
        done(Delete(stage="production", name="churn-v4"), two)


def test_a_deployment_without_users_is_deleted(two: Files) -> None:
    tree = done(Delete(stage="production", name="churn-v4"), done(split(churn=1000), two))
    assert weights(tree) == {"churn": 1000}
    assert read_stage(tree, "production").deployment("churn-v4") is None


def test_the_only_deployment_takes_its_endpoint_with_it(one: Files) -> None:
    tree = done(Delete(stage="production", name="churn"), one)
    assert read_stage(tree, "production").endpoints == {}


def test_what_is_not_there_is_deleted_already(one: Files) -> None:
    assert done(Delete(stage="production", name="other"), one) == one
    assert done(DeleteEndpoint(stage="production", endpoint="other"), one) == one


def test_an_endpoint_goes_with_all_its_deployments(two: Files) -> None:
    tree = done(DeleteEndpoint(stage="production", endpoint="churn"), two)
    assert read_stage(tree, "production").endpoints == {}


def test_a_split_that_is_so_already_changes_nothing(two: Files) -> None:
    assert done(split(churn=900, churn_v4=100), two) == two


def test_who_is_not_named_gets_nobody(two: Files) -> None:
    assert weights(done(split(churn_v4=1000), two)) == {"churn": 0, "churn-v4": 1000}


def test_stable_moves_when_it_loses_its_last_user(two: Files) -> None:
    route = read_stage(done(split(churn_v4=1000), two), "production").endpoints["churn"].route
    assert route.stable == "churn-v4"


def test_a_split_names_deployments_of_its_endpoint(two: Files, make_deployment: Make) -> None:
    both = done(Create(deployment=make_deployment("other", "other")), two)
    with pytest.raises(NotFoundError, match="belongs to endpoint 'other'"):
        done(split(churn=900, other=100), both)
    with pytest.raises(NotFoundError, match="known: churn, churn-v4"):
        done(split(churn=900, nobody=100), both)


def test_an_update_of_what_does_not_exist_is_refused(one: Files, make_deployment: Make) -> None:
    with pytest.raises(NotFoundError, match="known: churn"):
        done(Update(deployment=make_deployment("other")), one)


def test_the_same_update_twice_changes_nothing_the_second_time(one: Files, make_deployment: Make) -> None:
    update = Update(deployment=make_deployment(version=2))
    once = done(update, one)
    assert once != one
    assert done(update, once) == once


def test_a_deployment_is_looked_for_in_its_endpoint(two: Files) -> None:
    stage = read_stage(two, "production")
    assert require_deployment(stage, "churn-v4", "churn").model.version == "4"
    with pytest.raises(NotFoundError, match="endpoint 'other'"):
        require_deployment(stage, "churn-v4", "other")


def test_every_intent_names_the_endpoint_that_it_may_touch(two: Files, make_deployment: Make) -> None:
    stage = read_stage(two, "production")
    named = [
        Create(deployment=make_deployment()),
        Update(deployment=make_deployment()),
        Delete(stage="production", name="churn-v4"),
        split(churn=1000),
        DeleteEndpoint(stage="production", endpoint="churn"),
    ]
    assert [endpoint_of(intent, stage) for intent in named] == ["churn"] * 5
    assert endpoint_of(Delete(stage="production", name="nobody"), stage) == ""


def test_the_same_wish_on_another_state_is_another_act() -> None:
    wish = Delete(stage="production", name="churn")
    assert operation_id(wish, "a") == operation_id(wish, "a")
    assert operation_id(wish, "a") != operation_id(wish, "b")


def test_a_restored_endpoint_is_as_before_and_others_stay(one: Files, two: Files, make_deployment: Make) -> None:
    meanwhile = done(Create(deployment=make_deployment("other", "other")), two)
    back = restore(meanwhile, failed=two, good=one, stage="production", endpoint="churn")
    assert weights(back) == {"churn": 1000}
    assert weights(back, "other") == {"other": 1000}


def test_an_endpoint_that_was_new_is_removed_again(one: Files) -> None:
    back = restore(one, failed=one, good={}, stage="production", endpoint="churn")
    assert read_stage(back, "production").endpoints == {}


def test_an_endpoint_that_was_removed_comes_back(one: Files) -> None:
    gone = done(DeleteEndpoint(stage="production", endpoint="churn"), one)
    assert restore(gone, failed=gone, good=one, stage="production", endpoint="churn") == one


def test_an_endpoint_that_somebody_else_changed_is_left_alone(one: Files, two: Files) -> None:
    with pytest.raises(ConflictError, match="left as it is"):
        restore(done(split(churn=800, churn_v4=200), two), failed=two, good=one, stage="production", endpoint="churn")
