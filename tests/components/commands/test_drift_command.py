import hashlib
import json
import math
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mlflow_deploy_plugin import manifests

if TYPE_CHECKING:
    from collections.abc import Callable

World = Any


def test_traffic_that_shifts_in_both_arms_says_that_the_world_moved_and_commits_nothing(world: World) -> None:
    world.join(weight=400)
    head = world.head
    world.traffic(world.people(900, age=55.0))
    assert world.drift() == 0
    assert "verdict: the world moved: freeze promotion, no revert" in world.text
    assert "age (mean 39" in world.text
    assert "in every arm alike" in world.text
    assert world.head == head


def test_a_canary_that_is_wrong_more_often_is_reverted_once_with_its_evidence(world: World) -> None:
    world.join(weight=400)
    world.traffic(world.people(900, age=55.0), wrong={"churn": 0.15, "churn-v2": 0.35})
    assert world.drift("--revert") == 1
    assert "churn-v2 is worse than stable churn on the same traffic: wrong for " in world.text
    assert "99 % sure of at least +" in world.text
    assert "reverted churn-v2 to churn=100 by commit" in world.text
    assert world.weights == {"churn": 1000}
    commit = world.repository.head()
    assert commit.trailers.action == "rollback"
    assert commit.trailers.to == "churn=100"
    assert "wrong for" in commit.trailers.reason
    assert world.endpoint.route.hold.deployment == "churn-v2"
    evidence = world.repository.files(commit.sha)[commit.trailers.evidence]
    assert len(evidence) <= 10_000
    assert json.loads(evidence)["decision"]["verdict"] == "Revert"


def test_a_second_run_after_the_revert_changes_nothing(world: World) -> None:
    world.join(weight=400)
    world.traffic(world.people(900), wrong={"churn": 0.1, "churn-v2": 0.4})
    world.drift("--revert")
    head = world.head
    assert world.drift("--revert") == 0
    assert "unchanged: churn-v2 was taken out before" in world.text
    assert world.head == head


def test_without_revert_a_version_at_fault_is_told_and_nothing_is_committed(world: World) -> None:
    world.join(weight=400)
    world.traffic(world.people(800), wrong={"churn": 0.1, "churn-v2": 0.4})
    head = world.head
    assert world.drift() == 1
    assert "churn-v2 at fault: revert" in world.text
    assert world.head == head


def test_a_dry_run_says_what_it_would_commit(world: World) -> None:
    world.join(weight=400)
    world.traffic(world.people(800), wrong={"churn": 0.1, "churn-v2": 0.4})
    head = world.head
    assert world.drift("--revert", "--dry-run") == 1
    assert "would commit: churn: rolled back churn-v2 (churn-v2 40% → 0%, churn 60% → 100%)" in world.text
    assert world.head == head


def test_the_last_good_split_keeps_another_arm_that_is_not_at_fault(world: World) -> None:
    world.join(weight=100, name="churn-v3", version=3)
    world.join(weight=400)
    world.traffic(world.people(1500), wrong={"churn": 0.1, "churn-v3": 0.1, "churn-v2": 0.4})
    assert world.drift("--revert") == 1
    assert world.weights == {"churn": 900, "churn-v3": 100}


def test_a_later_change_of_another_kind_survives_the_revert(world: World) -> None:
    world.join(weight=400)
    path = "stages/production/churn/route.yaml"
    world.change(lambda files: {**files, path: "# kept by Ada\n" + files[path]})
    world.traffic(world.people(800), wrong={"churn": 0.1, "churn-v2": 0.4})
    world.drift("--revert")
    assert world.repository.files(world.head)[path].startswith("# kept by Ada\n")


def test_a_canary_with_equal_inputs_and_few_labels_is_healthy_and_says_what_is_missing(world: World) -> None:
    world.join(weight=400)
    world.traffic(world.people(900))
    assert world.drift() == 0
    assert "verdict: healthy" in world.text
    assert "labels have arrived for 0 users of churn-v2" in world.text


def test_inputs_that_differ_between_the_arms_hold_and_point_at_the_routing(world: World) -> None:
    world.join(weight=400)
    world.traffic(world.people(900), canary_people=world.people(900, age=60.0))
    assert world.drift("--revert") == 0
    assert "churn-v2 sees other inputs than stable: hold" in world.text
    assert "suspect routing or the feature pipeline" in world.text
    assert world.weights == {"churn": 600, "churn-v2": 400}
    assert world.endpoint.route.phase == "frozen"
    assert world.repository.head().subject == "churn: promotion frozen, the canary sees other inputs than stable"


def test_a_single_version_has_no_control_so_the_drift_only_alerts(world: World) -> None:
    world.traffic(world.people(800, age=60.0))
    assert world.drift("--revert") == 0
    assert "alert only" in world.text
    assert "no concurrent version can say whether it is at fault" in world.text


def test_without_an_endpoint_one_that_has_a_single_version_is_looked_at_too(world: World) -> None:
    world.traffic(world.people(800, age=60.0))
    assert world.run("drift", "--no-report", "--out", str(world.root / "out")) == 0
    assert world.text.startswith("churn: churn (production), ")
    assert "alert only" in world.text
    assert (world.root / "out" / "churn" / "decision.json").is_file()


def test_a_stage_without_endpoints_is_unchanged(world: World) -> None:
    listing = "stages/production/kustomization.yaml"
    world.change(
        lambda files: {listing: files[listing].replace("  - churn\n", "").replace("resources:", "resources: []")}
    )
    assert world.run("drift", "--no-report") == 0, world.warned
    assert world.text == "unchanged: the stage has no endpoint"


def test_no_traffic_is_inconclusive(world: World) -> None:
    world.join(weight=400)
    assert world.drift("--revert") == 0
    assert "verdict: inconclusive" in world.text


def test_a_version_that_fails_its_users_is_reverted_without_labels(world: World) -> None:
    world.join(weight=200)
    world.traffic(world.people(1000), failing={"churn-v2": 0.5})
    assert world.drift("--revert") == 1
    assert "above the guardrail of 5.0 %" in world.text
    assert world.weights == {"churn": 1000}


def test_a_version_that_scores_each_class_is_judged_by_the_best_of_them(world: World) -> None:
    world.scores = True
    world.join(weight=400)
    world.traffic(world.people(1500), wrong={"churn": 0.1, "churn-v2": 0.5})
    assert world.drift("--revert") == 1
    assert "churn-v2 is worse than stable churn on the same traffic: wrong for" in world.text
    assert world.weights == {"churn": 1000}


def test_a_column_that_is_empty_for_everybody_has_left_the_training_sample(world: World) -> None:
    world.traffic(world.people(800).assign(age=math.nan))
    assert world.drift() == 0
    assert "verdict: inconclusive" in world.text
    assert "missingness: age is missing in 100% of churn's rows, in 0% of the reference" in world.text


def test_labels_that_no_version_ever_answers_tell_nothing_and_that_is_said(world: World) -> None:
    world.join(weight=400)
    world.traffic(world.people(900), wrong={"churn": 1.0, "churn-v2": 1.0})
    assert world.drift("--revert") == 0
    assert "none of 900 users was answered what their label says, by any version" in world.text
    assert "is not certainly worse than stable churn on the same traffic: wrong" not in world.text
    assert world.weights == {"churn": 600, "churn-v2": 400}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--window", "200000w"), "'200000w' is longer than 36500d, a hundred years; write a shorter span"),
        (("--maturity", "9999999w"), "'9999999w' is longer than 36500d, a hundred years; write a shorter span"),
        (("--since", "0001-01-01"), "'0001-01-01' lies before 1970-01-01, when no log had begun; write a later moment"),
        (("--since", "0001-01-01T00:00+14:00"), "'0001-01-01T00:00+14:00' is no moment; write 2026-01-31"),
        (
            ("--events", "/no/such/events"),
            "--events '/no/such/events' is no folder of this machine; name one, or a URL",
        ),
        (("--out", "/dev/null"), "folder '/dev/null' cannot be made (File exists); give another with --out"),
    ],
)
def test_what_cannot_be_read_or_written_is_told_with_a_way_out(
    world: World, arguments: tuple[str, ...], told: str
) -> None:
    world.traffic(world.people(300))
    assert world.drift(*arguments) == 2
    assert told in world.warned[0]


def test_the_last_predictions_are_all_where_there_are_fewer(world: World) -> None:
    world.traffic(world.people(300))
    assert world.drift("--last", "9" * 20) == 0
    assert "stable churn (100 %, 300 users)" in world.text
    assert world.drift("--last", "120") == 0
    assert "stable churn (100 %, 120 users)" in world.text


def test_what_people_send_is_told_in_short_and_on_one_line(world: World) -> None:
    sent = ["x" * 5000, "two\nlines", "\x1b[31mred", "Zürich"]
    world.join(weight=400)
    world.traffic(world.people(900).assign(plan=world.random.choice(sent, 900)))
    assert world.drift() == 0
    assert max(map(len, world.text.splitlines())) < 500
    told = next(line for line in world.text.splitlines() if "categories: plan has 4 categories unknown" in line)
    assert all(value in told for value in ("x" * 40 + "…", "two\\nlines", "\\x1b[31mred", "Zürich"))


def test_a_training_sample_that_no_test_can_look_at_is_not_called_like_the_inputs(world: World) -> None:
    world.traffic(world.people(800, age=300.0))
    world.write_reference(world.people(50))
    assert world.drift() == 0
    assert "verdict: inconclusive" in world.text
    assert "the training sample has 50 rows, 100 are needed" in world.text
    world.write_reference(world.people(500)[["age"]].assign(age="2026-01-01").astype("datetime64[ns]"))
    world.drift()
    assert "verdict: inconclusive" in world.text
    assert "can be compared: age (a moment in time always moves)" in world.text


def test_a_column_with_too_few_values_is_named_and_not_counted(world: World) -> None:
    world.write_reference(world.people(500).assign(age=lambda rows: rows["age"].where(rows.index < 50)))
    world.traffic(world.people(800).assign(age=lambda rows: rows["age"].where(rows.index < 80)))
    world.drift()
    assert "none of 1 columns left the training sample" in world.text
    assert "age: fewer than 100 values in the training sample or in the log of churn; not compared" in world.text


@pytest.mark.parametrize("narrow", [("churn", "churn-v2"), ("churn",), ("churn-v2",)])
def test_numbers_that_a_model_takes_in_32_bits_are_those_of_the_training_sample(
    world: World, narrow: tuple[str, ...]
) -> None:
    def people(count: int) -> Any:
        return world.people(count).assign(tax=world.random.choice([0.0, 0.07, 0.19], count, p=[0.2, 0.2, 0.6]))

    world.narrow = narrow
    world.join(weight=400)
    world.write_reference(people(1500))
    world.traffic(people(900))
    assert world.drift() == 0
    assert "verdict: healthy" in world.text


@pytest.mark.parametrize("fault", [{"failing": {"churn-v2": 0.5}}, {"wrong": {"churn": 0.1, "churn-v2": 0.8}}])
def test_what_users_met_while_a_mended_model_was_starting_is_not_held_against_it(world: World, fault: Any) -> None:
    world.join(weight=400)
    world.served = world.head
    world.replace("churn-v2", version=3)
    world.traffic(world.people(500), prefix="early", **fault)
    assert world.drift() == 0
    assert "no user has met this split with these models yet" in world.text
    world.served = ""
    world.traffic(world.people(900), wrong={"churn": 0.1, "churn-v2": 0.1})
    assert world.drift() == 0
    assert "verdict: healthy" in world.text
    assert "failed for 0.0 % against 0.0 % of users" in world.text


def test_a_model_that_is_as_bad_as_the_one_it_replaced_goes_too(world: World) -> None:
    world.join(weight=400)
    world.served = world.head
    world.replace("churn-v2", version=3)
    world.traffic(world.people(500), prefix="early")
    world.served = ""
    world.traffic(world.people(900), wrong={"churn": 0.1, "churn-v2": 0.6})
    assert world.drift() == 1


def test_revert_freezes_promotion_once_where_the_world_moved(world: World) -> None:
    world.join(weight=400)
    world.traffic(world.people(800, age=55.0))
    before = world.weights
    assert world.drift("--revert") == 0
    assert "promotion frozen by commit" in world.text
    assert world.endpoint.route.phase == "frozen"
    assert world.weights == before
    head = world.head
    assert world.drift("--revert") == 0
    assert "unchanged" in world.text
    assert world.head == head


def test_a_freeze_that_is_over_is_told_and_ended_by_a_person(world: World) -> None:
    world.join(weight=400)
    world.traffic(world.people(800, age=55.0))
    world.drift("--revert")
    world.traffic(world.people(900), prefix="later")
    assert world.drift("--revert", "--last", "900") == 0
    assert "calm again; `python -m pipelines approve` ends the freeze" in world.text
    assert world.endpoint.route.phase == "frozen"


def test_a_person_who_approves_is_not_overruled_by_the_next_look(world: World) -> None:
    world.join(weight=400)
    world.traffic(world.people(800, age=55.0))
    world.drift("--revert")
    assert world.run("approve", "--endpoint", "churn", "--reason", "known, we retrain") == 0
    head = world.head
    assert world.drift("--revert") == 0
    assert "a person let this step go on" in world.text
    assert world.head == head


def test_a_head_that_serves_another_model_under_that_name_is_not_touched(
    world: World, make_rival: "Callable[[World], None]"
) -> None:
    world.join(weight=400)
    world.traffic(world.people(800), wrong={"churn": 0.1, "churn-v2": 0.4})
    make_rival(world)
    assert world.drift("--revert") == 2
    assert "no longer carries what was judged" in world.warned[0]
    assert world.weights == {"churn": 600, "churn-v2": 400}


@pytest.fixture
def make_rival() -> "Callable[[World], None]":
    """Somebody who replaces the canary's model just before the revert is pushed."""

    def rival(world: World) -> None:
        def push(repository: Any) -> None:
            canary = world.endpoint.deployments["churn-v2"]
            other = replace(canary, model=replace(canary.model, digest="sha256:" + "f" * 64))
            repository.push(manifests.replace_deployment(repository.files(world.head), other), "another model")

        world.repository.rivals.append(push)

    return rival


def test_a_version_that_a_person_put_back_after_its_revert_freezes_and_is_not_reverted_again(world: World) -> None:
    world.join(weight=400)
    world.traffic(world.people(900), wrong={"churn": 0.1, "churn-v2": 0.4})
    world.drift("--revert")
    world.split(churn=600, churn_v2=400)
    assert world.drift("--revert") == 1
    assert "automation stops here: freeze, people decide" in world.text
    assert world.weights == {"churn": 600, "churn-v2": 400}
    assert world.endpoint.route.phase == "frozen"
    assert world.repository.head().subject.endswith("automation has reverted as often as it may")


def test_a_second_bad_version_waits_until_the_first_revert_has_cooled_down(world: World) -> None:
    world.join(weight=400)
    world.traffic(world.people(900), wrong={"churn": 0.1, "churn-v2": 0.4})
    world.drift("--revert")
    world.join(weight=400, name="churn-v3", version=3)
    world.traffic(world.people(900), prefix="new", wrong={"churn": 0.1, "churn-v3": 0.4})
    world.now = world.repository.head().time + timedelta(minutes=30)
    assert world.drift("--revert") == 0
    assert "the next revert may follow after 1 hours" in world.text
    world.now += timedelta(hours=1)
    assert world.drift("--revert") == 1
    assert world.weights == {"churn": 1000}


def test_a_peak_in_one_part_of_the_window_is_no_drift(world: World) -> None:
    world.join(weight=400)
    world.traffic(world.people(900))
    world.traffic(world.people(300, age=75.0), prefix="peak")
    assert world.drift() == 0
    assert "verdict: healthy" in world.text


def test_the_commit_says_the_digest_of_the_report_and_mlflow_keeps_the_files(world: World, tmp_path: Path) -> None:
    world.join(weight=400)
    world.traffic(world.people(900), wrong={"churn": 0.1, "churn-v2": 0.4})
    out = tmp_path / "out"
    arguments = ["drift", "--endpoint", "churn", "--revert", "--out", str(out), "--mlflow", "sqlite:///x.db"]
    assert world.run(*arguments) == 1
    evidence = json.loads(world.repository.files(world.head)[world.repository.head().trailers.evidence])
    assert evidence["report"] == {"report.html": "sha256:" + hashlib.sha256(b"<html>").hexdigest()}
    assert [(kept.run_id, kept.tracking_uri) for kept in world.kept] == [("run-2", "sqlite:///x.db")]
    assert "churn names no MLflow run" in world.warned[0]
    assert world.run("replay", str(out / "decision.json")) == 0


def test_last_looks_at_the_newest_predictions_alone(world: World) -> None:
    world.join(weight=400)
    world.traffic(world.people(900, age=70.0), prefix="old")
    world.traffic(world.people(600), prefix="new")
    assert world.drift("--last", "600") == 0
    assert "verdict: healthy" in world.text


def test_the_decision_file_replays_to_the_same_bytes(world: World, tmp_path: Path) -> None:
    world.join(weight=400)
    world.traffic(world.people(800), wrong={"churn": 0.1, "churn-v2": 0.4})
    world.drift()
    path = tmp_path / "out" / "decision.json"
    assert world.run("replay", str(path)) == 0
    assert world.said[0] + "\n" == path.read_text()
    path.write_text(path.read_text().replace('"alpha":0.01', '"alpha":0.02', 1))
    assert world.run("replay", str(path)) == 1


def test_json_output_is_one_object(world: World) -> None:
    world.join(weight=400)
    world.traffic(world.people(800), wrong={"churn": 0.1, "churn-v2": 0.4})
    assert world.drift("--revert", "--json") == 1
    answer = json.loads(world.text)
    assert answer["verdict"] == "Revert"
    assert answer["commit"] == world.head


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--endpoint", "nope"], "endpoint 'nope' not found in stage 'production'; known: churn"),
        (["--endpoint", "churn", "--window", "soon"], "'soon' is no span of time"),
        (["--endpoint", "churn", "--since", "soon"], "'soon' is no moment"),
        (["--endpoint", "churn", "--reference", "none.csv"], "'none.csv' is no CSV or Parquet file"),
    ],
)
def test_wrong_arguments_are_refused_in_one_line(world: World, arguments: list[str], said: str) -> None:
    assert world.run("drift", *arguments) == 2
    assert said in world.warned[0]
    assert len(world.warned) == 1
