"""What the jobs leave for the agent to expose."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from mlflow_deploy_plugin.agent.metrics.evidence import Evidence, found_in
from mlflow_deploy_plugin.agent.metrics.families import FAMILIES
from pipelines.monitoring.exposing import REACH

World = Any


def exposed(world: World) -> dict[str, dict[tuple[str, ...], float]]:
    return {
        name: {tuple(labels): value for labels, value in samples}
        for left in found_in(world.home / "metrics")
        for name, samples in left.samples.items()
    }


@pytest.fixture
def drifted(world: World) -> World:
    world.join(weight=400)
    world.traffic(world.people(900, age=60), wrong={"churn": 0.1, "churn-v2": 0.3})
    world.drift()
    return world


def test_the_drift_job_exposes_the_effect_of_each_feature_on_each_arm(drifted: World) -> None:
    scores = exposed(drifted)["feature_drift_score"]
    assert scores["churn", "age", "ks"] > 0.5 < scores["churn-v2", "age", "ks"]
    assert scores["churn", "plan", "chi2"] < 0.1


def test_accuracy_is_exposed_by_version_and_window_with_its_counts(drifted: World) -> None:
    found = exposed(drifted)
    assert found["model_accuracy"]["churn", "1d"] == pytest.approx(0.9, abs=0.05)
    assert found["model_accuracy"]["churn-v2", "7d"] == pytest.approx(0.7, abs=0.08)
    counts = found["model_labelled_predictions_total"]
    assert sum(counts.values()) == 900
    assert counts["churn", "correct"] / (counts["churn", "correct"] + counts["churn", "wrong"]) == pytest.approx(
        found["model_accuracy"]["churn", "7d"]
    )


def test_how_far_back_labels_are_counted_is_said() -> None:
    assert f"the last {REACH.days} days" in FAMILIES["model_labelled_predictions_total"].about


def test_without_labels_there_is_no_accuracy_and_both_outcomes_are_zero(world: World) -> None:
    world.traffic(world.people(300))
    assert world.drift() == 0
    found = exposed(world)
    assert found["model_accuracy"] == {}
    assert found["model_labelled_predictions_total"] == {("churn", "correct"): 0, ("churn", "wrong"): 0}


def test_without_traffic_the_job_says_at_least_when_it_looked(world: World) -> None:
    assert world.drift() == 0
    assert {left.source: left.time for left in found_in(world.home / "metrics")} == {
        "drift": world.now,
        "labels": world.now,
    }


def test_labels_from_a_file_renew_the_accuracy(world: World, tmp_path: Path) -> None:
    world.traffic(world.people(200))
    truth = pd.DataFrame({"request_id": [f"user-{n}-r" for n in range(200)], "label": [1.0] * 200})
    truth.to_csv(tmp_path / "truth.csv", index=False)
    assert world.run("label", str(tmp_path / "truth.csv"), "--endpoint", "churn") == 0
    (left,) = found_in(world.home / "metrics")
    assert isinstance(left, Evidence)
    assert sum(value for _, value in left.samples["model_labelled_predictions_total"]) == 200


def test_a_disk_that_refuses_costs_the_metrics_and_not_the_job(world: World) -> None:
    world.traffic(world.people(300))
    (world.home / "metrics").write_text("a file in the way")
    assert world.drift() == 0
    assert "the metrics were not renewed" in world.warned[0]
