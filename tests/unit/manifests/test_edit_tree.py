"""Changing the tree: what an edit writes, what it leaves, what it refuses."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlflow_deploy_plugin import manifests
from mlflow_deploy_plugin.errors import AlreadyExistsError, ConfigError, ConflictError, ManifestError, NotFoundError
from mlflow_deploy_plugin.manifests.edit_deployment import normalised
from mlflow_deploy_plugin.manifests.model import Deployment, Files, Resources
from mlflow_deploy_plugin.spec import annotations

Diff = Callable[[Files, Files], list[str]]
Make = Callable[..., Deployment]

ROUTE = "stages/production/churn/route.yaml"
V4 = "stages/production/churn/churn-v4.yaml"


def weights(files: Files) -> dict[str, int]:
    return dict(manifests.parse_stage(files, "production").endpoints["churn"].route.weights)


def test_a_step_changes_weights_and_annotations_and_nothing_else(canary: Files, diff_lines: Diff) -> None:
    marked = manifests.set_split(
        canary,
        "production",
        "churn",
        weights(canary),
        annotations={annotations.STEP: "1", annotations.PHASE: "running"},
    )
    stepped = manifests.set_split(
        marked, "production", "churn", {"churn": 750, "churn-v4": 250}, annotations={annotations.STEP: "2"}
    )
    assert diff_lines(marked, stepped) == [
        '-modelserve.io/step: "1"',
        '+modelserve.io/step: "2"',
        *["-weight: 100", "+weight: 250", "-weight: 900", "+weight: 750"] * 2,  # of REST and of gRPC
    ]
    ended = manifests.set_split(
        stepped, "production", "churn", weights(canary), annotations={annotations.STEP: None, annotations.PHASE: None}
    )
    assert ended == canary


def test_the_same_split_changes_nothing(canary: Files) -> None:
    assert manifests.set_split(canary, "production", "churn", weights(canary)) == canary


def test_comments_and_order_of_a_person_survive(canary: Files, diff_lines: Diff) -> None:
    text = (
        canary[ROUTE]
        .replace("weight: 100\n", "weight: 100 # be careful\n")
        .replace("kind: HTTPRoute\n", "kind:   HTTPRoute\n")
    )
    mine = {**canary, ROUTE: f"# my own words\n{text}\n# the end\n"}
    after = manifests.set_split(mine, "production", "churn", {"churn": 500, "churn-v4": 500})
    changed = ["-weight: 100 # be careful", "+weight: 500 # be careful", "-weight: 900", "+weight: 500"]
    assert diff_lines(mine, after) == changed * 2


def test_the_same_inputs_give_the_same_bytes(canary: Files, one: Files, make_deployment: Make) -> None:
    assert manifests.add_deployment(one, make_deployment("churn-v4", version="4"), weight=100) == canary


def test_a_canary_stands_before_stable_and_can_be_picked_by_header(canary: Files) -> None:
    route = manifests.parse_stage(canary, "production").endpoints["churn"].route
    assert [(slot.deployment, slot.weight) for slot in route.backends] == [("churn-v4", 100), ("churn", 900)]
    assert "- name: override-churn-v4\n" in canary[ROUTE]


def test_an_edited_tree_reads_as_it_was_meant(canary: Files, make_deployment: Make) -> None:
    stage = manifests.parse_stage(canary, "production")
    assert stage.deployment("churn-v4") == normalised(make_deployment("churn-v4", version="4"))
    assert list(stage.endpoints["churn"].deployments) == ["churn", "churn-v4"]


def test_a_full_deployment_survives_the_round_trip(make_deployment: Make) -> None:
    wished = make_deployment(
        replicas=3,
        workers=2,
        resources=Resources(cpu="1500m", memory="2Gi", gpu=2),
        environment={
            "MODELSERVE_LOG": "off",
            "MODELSERVE_MODEL_CONFIG": '{"a": "b: c"}',
            "MODELSERVE_MAX_QUEUE": "007",
        },
    )
    files = manifests.add_endpoint({}, wished, salt="s")
    assert manifests.parse_stage(files, "production").deployment("churn") == normalised(wished)


@pytest.mark.parametrize("name", ["yes", "1e3", "007", "null", "true", "0x10", "n", "1-0", "2026-01-01"])
def test_names_that_yaml_could_misread_stay_names(one: Files, make_deployment: Make, name: str) -> None:
    files = manifests.add_endpoint(one, make_deployment(name, endpoint=name), salt="1e3")
    files = manifests.add_deployment(files, make_deployment(f"{name}-b", endpoint=name), weight=10)
    endpoint = manifests.parse_stage(files, "production").endpoints[name]
    assert (endpoint.route.stable, endpoint.route.salt, set(endpoint.deployments)) == (name, "1e3", {name, f"{name}-b"})


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(name=st.text(min_size=1).filter(lambda text: text.isprintable() or "\n" in text), version=st.text(max_size=5))
def test_a_model_may_be_called_anything(make_deployment: Make, name: str, version: str) -> None:
    first = make_deployment(model_name="churn", version="1")
    hostile = replace(first, model=replace(first.model, name=name, version=version, uri=f"models:/{name}/1"))
    created = manifests.add_endpoint({}, hostile, salt="s")
    assert manifests.parse_stage(created, "production").deployment("churn") == normalised(hostile)
    updated = manifests.replace_deployment(manifests.add_endpoint({}, first, salt="s"), hostile)
    assert manifests.parse_stage(updated, "production").deployment("churn") == normalised(hostile)


@pytest.mark.parametrize(
    "name", ['a"b', "a\nb: c", "{{ .x }}", "😀 ü", "#", "'", "a: b", "\\", "--- ", "\u2028", "%", "\x07"]
)
def test_hostile_model_names_survive(make_deployment: Make, name: str) -> None:
    wished = make_deployment()
    wished = replace(wished, model=replace(wished.model, name=name))
    files = manifests.add_endpoint({}, wished, salt="s")
    assert manifests.parse_stage(files, "production").deployment("churn") == normalised(wished)


def test_an_update_changes_the_scalars_that_differ(canary: Files, make_deployment: Make, diff_lines: Diff) -> None:
    wished = replace(make_deployment("churn-v4", version="4"), replicas=2)
    mine = {**canary, V4: canary[V4].replace("replicas: 1", "replicas: 1 # night")}
    assert diff_lines(mine, manifests.replace_deployment(mine, wished)) == [
        "-replicas: 1 # night",
        "+replicas: 2 # night",
    ]


@pytest.mark.parametrize(
    "change",
    [
        {"resources": Resources(cpu="2", memory="1Gi", gpu=1)},
        {"environment": {"MODELSERVE_LOG": "off", "A": "1", "Z": "yes"}},
        {"workers": 4},
        {"replicas": 2, "version": "5"},
    ],
)
def test_an_update_there_and_back_leaves_no_trace(
    canary: Files, make_deployment: Make, change: dict[str, object]
) -> None:
    before = make_deployment("churn-v4", version="4")
    there = manifests.replace_deployment(canary, make_deployment("churn-v4", **{"version": "4", **change}))
    assert there != canary
    assert manifests.replace_deployment(there, before) == canary


def test_an_update_keeps_what_a_person_added(canary: Files, make_deployment: Make) -> None:
    text = canary[V4].replace(
        "    spec:\n      containers:", "    spec:\n      nodeSelector: {gpu: a100} # fast\n      containers:"
    )
    text = text.replace("  replicas: 1\n", "").replace("resources: {}", "resources: {limits: {cpu: 2}}")
    mine = {**canary, V4: text}
    wished = make_deployment("churn-v4", version="5", resources=Resources(cpu="4", gpu=1))
    after = manifests.replace_deployment(mine, wished)
    assert "nodeSelector: {gpu: a100} # fast" in after[V4]
    assert "replicas:" not in after[V4]
    assert manifests.parse_stage(after, "production").deployment("churn-v4") == normalised(wished)


def test_eight_arms_fit_and_a_ninth_is_refused(one: Files, make_deployment: Make) -> None:
    files = one
    for index in range(8):
        files = manifests.add_deployment(files, make_deployment(f"arm-{index}"), weight=100)
    assert len(manifests.parse_stage(files, "production").endpoints["churn"].route.backends) <= 16
    with pytest.raises(ConfigError, match="more than 8"):
        manifests.add_deployment(files, make_deployment("arm-9"), weight=1)


def test_a_deployment_without_users_goes_without_a_trace(one: Files, canary: Files) -> None:
    idle = manifests.set_split(canary, "production", "churn", {"churn": 1000})
    assert manifests.remove_deployment(idle, "production", "churn-v4") == one


def test_the_old_stable_may_go_once_it_has_no_users(canary: Files) -> None:
    promoted = manifests.set_split(canary, "production", "churn", {"churn-v4": 1000})
    endpoint = manifests.parse_stage(
        manifests.remove_deployment(promoted, "production", "churn"), "production"
    ).endpoints["churn"]
    assert endpoint.route.stable == "churn-v4"
    assert list(endpoint.deployments) == ["churn-v4"]


def test_the_only_deployment_takes_its_endpoint_with_it(one: Files) -> None:
    after = manifests.remove_deployment(one, "production", "churn")
    assert after == manifests.skeleton()


def test_a_deployment_with_users_stays(canary: Files) -> None:
    with pytest.raises(ConflictError, match="'churn-v4' has weight 100 of 1000"):
        manifests.remove_deployment(canary, "production", "churn-v4")


def test_an_endpoint_goes_and_its_evidence_stays(canary: Files) -> None:
    with_evidence = manifests.add_evidence(canary, "churn", "op1", '{"n": 1}')
    after = manifests.remove_endpoint(with_evidence, "production", "churn")
    assert after == {**manifests.skeleton(), "evidence/churn/op1.json": '{"n": 1}'}


def test_evidence_is_small_json_and_written_once(one: Files) -> None:
    files = manifests.add_evidence(one, "churn", "op1", "{}")
    assert manifests.add_evidence(files, "churn", "op1", "{}") == files
    with pytest.raises(AlreadyExistsError, match="other evidence"):
        manifests.add_evidence(files, "churn", "op1", "[]")
    with pytest.raises(ConfigError, match="more than 10240"):
        manifests.add_evidence(files, "churn", "op2", f'"{"ü" * 5120}"')
    with pytest.raises(ConfigError, match="not JSON"):
        manifests.add_evidence(files, "churn", "op2", "{")
    with pytest.raises(ConfigError, match=r"operation name '\.\./x'"):
        manifests.add_evidence(files, "churn", "../x", "{}")


def test_names_that_are_taken_are_refused(canary: Files, make_deployment: Make) -> None:
    with pytest.raises(AlreadyExistsError, match="endpoint 'churn' exists already"):
        manifests.add_endpoint(canary, make_deployment("new"), salt="s")
    with pytest.raises(
        AlreadyExistsError, match=r"'churn-v4' exists already in stage 'production' \(endpoint 'churn'\)"
    ):
        manifests.add_endpoint(canary, make_deployment("churn-v4", endpoint="other"), salt="s")
    with pytest.raises(AlreadyExistsError, match="'churn-v4' exists already"):
        manifests.add_deployment(canary, make_deployment("churn-v4"), weight=0)
    with pytest.raises(ConfigError, match=r"taken by the file route\.yaml of the tree; use 'route-1'"):
        manifests.add_deployment(canary, make_deployment("route"), weight=0)


def test_what_is_not_there_is_named_with_what_is(canary: Files, make_deployment: Make) -> None:
    with pytest.raises(NotFoundError, match="'other' not found in stage 'production'; known: churn"):
        manifests.set_split(canary, "production", "other", {"churn": 1000})
    with pytest.raises(NotFoundError, match="'v9' is none of endpoint 'churn'; known: churn, churn-v4"):
        manifests.set_split(canary, "production", "churn", {"v9": 1000})
    with pytest.raises(NotFoundError, match="'other' not found"):
        manifests.add_deployment(canary, make_deployment("x", endpoint="other"), weight=0)
    with pytest.raises(NotFoundError, match="'x' is none of endpoint 'churn'"):
        manifests.replace_deployment(canary, make_deployment("x"))
    with pytest.raises(NotFoundError, match="'x' not found in stage 'production'; known: churn, churn-v4"):
        manifests.remove_deployment(canary, "production", "x")
    with pytest.raises(NotFoundError, match="'x' not found in stage 'dev'; known: none"):
        manifests.remove_endpoint(canary, "dev", "x")


def test_impossible_splits_are_refused_and_change_nothing(canary: Files, make_deployment: Make) -> None:
    with pytest.raises(ConfigError, match="sum to 900, not 1000"):
        manifests.set_split(canary, "production", "churn", {"churn": 800, "churn-v4": 100})
    with pytest.raises(ConfigError, match="not within 0 to 900, all that stable 'churn' has"):
        manifests.add_deployment(canary, make_deployment("x"), weight=901)
    with pytest.raises(ConfigError, match="salt"):
        manifests.add_endpoint(canary, make_deployment("x", endpoint="x"), salt="a:\\1")
    with pytest.raises(ManifestError, match="stable 'x' of endpoint 'churn' is none"):
        manifests.set_split(canary, "production", "churn", weights(canary), annotations={annotations.STABLE: "x"})


def test_a_broken_neighbour_stops_no_rollback(canary: Files, make_deployment: Make) -> None:
    both = manifests.add_endpoint(canary, make_deployment("x", endpoint="x"), salt="s")
    broken = {**both, "stages/production/x/route.yaml": "["}
    back = manifests.set_split(broken, "production", "churn", {"churn": 1000})
    assert back[ROUTE] == manifests.set_split(canary, "production", "churn", {"churn": 1000})[ROUTE]
    with pytest.raises(ManifestError, match=r"x/route\.yaml: line \d+: not YAML"):
        manifests.set_split(broken, "production", "x", {"x": 1000})


def test_an_override_that_is_off_has_no_rule_and_comes_back_whole(
    canary: Files, make_deployment: Callable[..., Deployment]
) -> None:
    off = manifests.set_override(canary, "production", "churn", is_heard=False)
    assert "override-" not in off[ROUTE]
    assert f'{annotations.OVERRIDE}: "off"' in off[ROUTE]
    route = manifests.parse_endpoint(off, "production", "churn").route
    assert not route.hears_override
    assert route.weights == manifests.parse_endpoint(canary, "production", "churn").route.weights
    assert manifests.set_override(off, "production", "churn", is_heard=False) == off
    assert manifests.set_override(off, "production", "churn", is_heard=True) == canary
    joined = manifests.add_deployment(off, make_deployment("churn-v5"), weight=0)
    assert "override-" not in manifests.set_split(joined, "production", "churn", {"churn": 900, "churn-v5": 100})[ROUTE]
    made = manifests.add_endpoint({}, make_deployment("churn"), salt="s", hears_override=False)
    assert "override-" not in made[ROUTE]
    assert not manifests.parse_endpoint(made, "production", "churn").route.hears_override


def test_an_override_that_a_person_took_away_stays_away(canary: Files, diff_lines: Diff) -> None:
    without = {**canary, ROUTE: canary[ROUTE].partition("    - name: override-churn-v4\n")[0]}
    after = manifests.set_split(without, "production", "churn", {"churn": 500, "churn-v4": 500})
    assert len(diff_lines(without, after)) == 4


def test_a_deployment_beside_the_split_can_join_it(canary: Files) -> None:
    idle = manifests.set_split(canary, "production", "churn", {"churn": 1000})
    beside = {**idle, ROUTE: manifests.remove_deployment(idle, "production", "churn-v4")[ROUTE]}
    assert weights(beside) == {"churn": 1000}
    joined = manifests.set_split(beside, "production", "churn", {"churn": 900, "churn-v4": 100})
    assert joined == canary


def test_what_would_move_can_be_asked_before(canary: Files) -> None:
    route = manifests.parse_stage(canary, "production").endpoints["churn"].route
    planned = manifests.moved_route(route, {"churn": 750, "churn-v4": 250})
    assert manifests.split.moved(route, planned) == {("churn", "churn-v4"): 150}
    assert manifests.split.moved_share(route, planned) == 0.15


def test_a_new_stage_is_made_on_the_way(one: Files, make_deployment: Make) -> None:
    files = manifests.add_endpoint(one, replace(make_deployment("qa-1"), stage="qa"), salt="s")
    assert list(manifests.parse_stage(files, "qa").endpoints) == ["churn"]
    assert list(manifests.parse_stage(files, "production").endpoints) == ["churn"]
