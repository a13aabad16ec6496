"""All users have one version: the version before, asked about the same logged inputs, is the control."""

from pathlib import Path
from typing import Any

import pytest

from mlflow_deploy_plugin import manifests
from mlflow_deploy_plugin.errors import AgentError
from mlflow_deploy_plugin.spec import annotations

World = Any


@pytest.fixture
def alone(world: World, tmp_path: Path) -> World:
    """``churn-v2`` has taken over from ``churn``, whose deployment is still there."""
    world.join(weight=400)
    marks = {annotations.STABLE: "churn-v2"}
    weights = {"churn": 0, "churn-v2": 1000}
    world.change(lambda files: manifests.set_split(files, "production", "churn", weights, annotations=marks))
    world.people(1500).to_parquet(tmp_path / "training.parquet")
    world.reference = str(tmp_path / "training.parquet")
    return world


def test_a_version_that_is_worse_than_the_one_before_on_the_same_inputs_is_reverted(alone: World) -> None:
    alone.traffic(alone.people(700, age=55.0), wrong={"churn-v2": 0.4})
    assert alone.drift("--revert", "--reference", alone.reference) == 1
    assert alone.asked == ["churn"]
    assert "churn-v2 is worse than churn on the same logged inputs: alone wrong for" in alone.text
    assert alone.weights == {"churn": 1000}
    assert alone.endpoint.route.stable == "churn"
    head = alone.head
    assert alone.drift("--revert", "--reference", alone.reference) == 0
    assert alone.head == head


def test_a_version_that_suffers_like_the_one_before_is_kept_and_people_are_told(alone: World) -> None:
    alone.before_is_wrong = 0.3
    alone.traffic(alone.people(700, age=55.0), wrong={"churn-v2": 0.3})
    assert alone.drift("--revert", "--reference", alone.reference) == 0
    assert "alert only" in alone.text
    assert "churn-v2 is not certainly worse than churn on the same logged inputs" in alone.text
    assert alone.weights == {"churn-v2": 1000}


@pytest.mark.parametrize("name", ["status", "label"])
def test_a_feature_that_is_called_like_a_column_of_the_log_is_compared_and_asked_about(
    alone: World, tmp_path: Path, name: str
) -> None:
    alone.people(1500).rename(columns={"plan": name}).to_parquet(tmp_path / "training.parquet")
    alone.traffic(alone.people(700, plan="c").rename(columns={"plan": name}), wrong={"churn-v2": 0.4})
    assert alone.drift("--reference", alone.reference) == 1
    assert f"{name} ('c' " in alone.text
    assert alone.asked_with == ["age", name]


def test_nobody_is_started_while_inputs_are_familiar_unless_asked_to(alone: World) -> None:
    alone.traffic(alone.people(700), wrong={"churn-v2": 0.4})
    assert alone.drift("--reference", alone.reference) == 0
    assert alone.asked == []
    assert alone.drift("--reference", alone.reference, "--before", "always") == 1
    assert "churn-v2 at fault: revert" in alone.text


def test_users_whose_label_is_too_large_to_be_added_up_are_left_out_and_told(alone: World) -> None:
    alone.probability, alone.endless = 0.8, 2
    alone.traffic(alone.people(700), wrong={"churn-v2": 0.0})
    alone.drift("--reference", alone.reference, "--before", "always")
    (told,) = alone.warned
    assert told.startswith("2 of 700 users are left out beside churn: an answer or a label is of another kind, not")
    assert "on the same logged inputs: absolute error +" in alone.text


def test_many_such_users_leave_an_alert(alone: World) -> None:
    alone.probability, alone.endless = 0.8, 30
    alone.traffic(alone.people(700, age=55.0), wrong={"churn-v2": 0.0})
    assert alone.drift("--reference", alone.reference) == 0
    assert "alert only" in alone.text
    assert alone.warned[0].endswith("beyond 1e+140; the others do not stand for them: this look can only alert")


def test_never_means_alert_only(alone: World) -> None:
    alone.traffic(alone.people(700, age=55.0), wrong={"churn-v2": 0.4})
    assert alone.drift("--revert", "--reference", alone.reference, "--before", "never") == 0
    assert "no concurrent version can say whether it is at fault" in alone.text
    assert alone.asked == []


def test_too_few_labels_are_told(alone: World) -> None:
    alone.traffic(alone.people(700, age=55.0))
    assert alone.drift("--reference", alone.reference) == 0
    assert "labels have come for 0 users of churn-v2: too few to ask the version before" in alone.warned


def test_a_version_that_cannot_be_started_leaves_an_alert(alone: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AgentError("Bento churn:1 is not in the store")

    monkeypatch.setattr(alone, "score", refuse)
    alone.traffic(alone.people(700, age=55.0), wrong={"churn-v2": 0.4})
    assert alone.drift("--reference", alone.reference) == 0
    assert "alert only" in alone.text
    (told,) = alone.warned
    assert told.startswith("churn, the version before, could not be asked: Bento churn:1 is not in the store; ")
    assert told.endswith("give --before-at URL; this look can only alert")


def test_a_version_that_answers_elsewhere_is_asked_there_and_nothing_is_started(alone: World) -> None:
    alone.traffic(alone.people(700, age=55.0), wrong={"churn-v2": 0.4})
    gateway = "http://old.example:8080"
    assert alone.drift("--revert", "--reference", alone.reference, "--before-at", gateway) == 1
    assert (alone.asked, alone.asked_at) == ([], [(gateway, "churn")])
    assert "churn-v2 is worse than churn on the same logged inputs" in alone.text


def test_what_is_no_address_is_refused_before_anything_is_read(alone: World) -> None:
    assert alone.drift("--reference", alone.reference, "--before-at", "old.example:8080") == 2
    assert "'old.example:8080' is no address" in alone.warned[0]


def test_one_model_s_address_is_refused_where_no_endpoint_is_named_also_where_there_is_one_today(alone: World) -> None:
    assert alone.run("drift", "--no-report", "--before-at", "http://old:5000/invocations") == 2
    assert "is the address of one model, and all endpoints are looked at; name the --endpoint" in alone.warned[0]
    assert alone.run("drift", "--no-report", "--before-at", "http://old:8080/") == 0


def test_an_endpoint_that_never_had_another_version_only_alerts(world: World) -> None:
    world.traffic(world.people(700, age=55.0), wrong={"churn": 0.4})
    assert world.drift("--revert") == 0
    assert "alert only" in world.text
    assert world.asked == []
