"""What the registry should say of a stage, and that it comes to say it."""

from collections.abc import Mapping

import pytest

from mlflow_deploy_plugin.errors import RetryLaterError
from mlflow_deploy_plugin.manifests.model import Backend, Deployment, Endpoint, ModelIdentity, Route
from pipelines.registry.following import Content, DeleteAlias, SetAlias, Version, changes, unknown, wanted
from pipelines.registry.model_registry import FakeModelRegistry


def make_endpoint(
    weights: Mapping[str, int], *, name: str = "churn", model: str = "churn", versions: Mapping[str, str] | None = None
) -> Endpoint:
    """The first deployment is stable; versions are 1, 2, … unless given."""
    given = versions or {deployment: str(number) for number, deployment in enumerate(weights, start=1)}
    deployments = {
        deployment: Deployment(
            name=deployment,
            endpoint=name,
            stage="production",
            model=ModelIdentity(
                bento="b:1", uri=f"models:/{model}/{version}", digest=f"sha256:{version}", name=model, version=version
            ),
            image="modelserve.invalid/b@sha256:1",
        )
        for deployment, version in given.items()
    }
    backends = tuple(Backend(deployment=deployment, weight=weight) for deployment, weight in weights.items())
    route = Route(endpoint=name, stage="production", backends=backends, stable=next(iter(weights)), salt="s")
    return Endpoint(route=route, deployments=deployments)


def registry_of(*versions: Version) -> FakeModelRegistry:
    return FakeModelRegistry(versions={version: {} for version in versions})


def sync(registry: FakeModelRegistry, *endpoints: Endpoint, stage: str = "production", commit: str = "c1") -> int:
    wish = wanted(stage, [(endpoint, commit) for endpoint in endpoints])
    found = registry.read(sorted({model for model, _ in wish.tags}), stage=stage)
    made = list(changes(wish, found))
    for change in made:
        registry.apply(change)
    return len(made)


def test_stable_is_champion_and_a_canary_with_users_is_challenger() -> None:
    registry = registry_of(("churn", "1"), ("churn", "2"))
    sync(registry, make_endpoint({"v1": 900, "v2": 100}))
    assert registry.aliases == {"churn": {"champion": "1", "challenger": "2"}}
    assert registry.versions["churn", "2"] == {
        "modelserve.production.endpoint": "churn",
        "modelserve.production.commit": "c1",
        "modelserve.production.role": "challenger",
    }


def test_a_second_run_changes_nothing() -> None:
    registry = registry_of(("churn", "1"), ("churn", "2"))
    assert sync(registry, make_endpoint({"v1": 900, "v2": 100})) == 8
    assert sync(registry, make_endpoint({"v1": 900, "v2": 100})) == 0


def test_a_promotion_moves_the_champion_and_a_rollback_takes_the_challenger_away() -> None:
    registry = registry_of(("churn", "1"), ("churn", "2"))
    sync(registry, make_endpoint({"v1": 900, "v2": 100}))
    sync(registry, make_endpoint({"v1": 1000, "v2": 0}), commit="c2")
    assert registry.aliases["churn"] == {"champion": "1"}
    assert registry.versions["churn", "2"]["modelserve.production.role"] == "standby"
    sync(registry, make_endpoint({"v2": 1000}, versions={"v2": "2"}), commit="c3")
    assert registry.aliases["churn"] == {"champion": "2"}
    assert registry.versions["churn", "1"] == {}
    assert registry.versions["churn", "2"]["modelserve.production.commit"] == "c3"


def test_a_model_that_left_the_tree_loses_what_we_said_of_it_and_nothing_else() -> None:
    registry = registry_of(("churn", "1"))
    registry.versions["churn", "1"]["owner"] = "ann"
    sync(registry, make_endpoint({"v1": 1000}))
    registry.aliases["churn"]["best"] = "1"
    sync(registry)
    assert registry.versions == {("churn", "1"): {"owner": "ann"}}
    assert registry.aliases == {"churn": {"best": "1"}}


def test_an_alias_that_a_person_gave_a_version_of_theirs_stays() -> None:
    registry = registry_of(("churn", "1"), ("churn", "9"))
    registry.aliases["churn"] = {"challenger": "9"}
    sync(registry, make_endpoint({"v1": 1000}))
    assert registry.aliases["churn"] == {"champion": "1", "challenger": "9"}


def test_stages_do_not_disturb_each_other() -> None:
    registry = registry_of(("churn", "1"), ("churn", "2"))
    sync(registry, make_endpoint({"v1": 1000}))
    sync(registry, make_endpoint({"v2": 1000}, versions={"v2": "2"}), stage="staging")
    assert registry.aliases["churn"] == {"champion": "1", "champion-staging": "2"}
    assert sync(registry, make_endpoint({"v1": 1000})) == 0


def test_endpoints_that_disagree_leave_the_alias_as_it_is() -> None:
    registry = registry_of(("churn", "1"), ("churn", "2"))
    here = make_endpoint({"v1": 1000})
    there = make_endpoint({"w1": 1000}, name="retention", versions={"w1": "2"})
    sync(registry, here)
    sync(registry, here, there)
    assert registry.aliases["churn"] == {"champion": "1"}
    wish = wanted("production", [(here, "c"), (there, "c")])
    assert list(wish.contested.values()) == [
        "champion of model 'churn' is version 1 by endpoint churn and 2 by endpoint retention"
    ]


def test_endpoints_that_agree_are_both_named() -> None:
    registry = registry_of(("churn", "1"))
    sync(registry, make_endpoint({"v1": 1000}), make_endpoint({"w1": 1000}, name="retention"))
    assert registry.aliases["churn"] == {"champion": "1"}
    assert registry.versions["churn", "1"]["modelserve.production.endpoint"] == "churn,retention"


def test_two_canaries_have_no_one_challenger() -> None:
    registry = registry_of(("churn", "1"), ("churn", "2"), ("churn", "3"))
    sync(registry, make_endpoint({"v1": 800, "v2": 100, "v3": 100}))
    assert registry.aliases["churn"] == {"champion": "1"}


def test_a_model_of_no_registry_is_passed_over_and_one_of_another_is_told() -> None:
    unregistered = make_endpoint({"v1": 1000}, model="")
    assert wanted("production", [(unregistered, "c")]).tags == {}
    wish = wanted("production", [(make_endpoint({"v1": 1000}), "c")])
    assert unknown(wish, Content()) == [("churn", "1")]
    assert list(changes(wish, Content())) == []


@pytest.mark.parametrize("breaks_after", range(8))
def test_a_registry_that_goes_away_midway_is_finished_by_the_next_run(breaks_after: int) -> None:
    registry = registry_of(("churn", "1"), ("churn", "2"))
    registry.breaks_after = breaks_after
    endpoint = make_endpoint({"v1": 900, "v2": 100})
    with pytest.raises(RetryLaterError):
        sync(registry, endpoint)
    registry.breaks_after = None
    sync(registry, endpoint)
    whole = registry_of(("churn", "1"), ("churn", "2"))
    sync(whole, endpoint)
    assert (registry.versions, registry.aliases) == (whole.versions, whole.aliases)


def test_aliases_come_after_the_tags_that_say_whose_they_are() -> None:
    """Stopped between the two, an alias of ours would else be taken for a person's and stay for ever."""
    wish = wanted("production", [(make_endpoint({"v1": 900, "v2": 100}), "c1")])
    kinds = [type(change) for change in changes(wish, Content(versions={("churn", "1"): {}, ("churn", "2"): {}}))]
    assert kinds[-2:] == [SetAlias, SetAlias]
    gone = Content(
        versions={("churn", "2"): {"modelserve.production.role": "challenger"}},
        aliases={"churn": {"challenger": "2"}},
    )
    assert isinstance(next(iter(changes(wanted("production", []), gone))), DeleteAlias)
