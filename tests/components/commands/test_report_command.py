"""The page of a repository in memory and an event store on disk."""

from pathlib import Path
from typing import Any

World = Any


def page(world: World) -> str:
    return (world.home / "reports" / "churn" / "report.html").read_text()


def test_an_endpoint_without_anything_has_a_page(world: World) -> None:
    assert world.run("report", "--endpoint", "churn") == 0
    assert world.said[0].startswith("report: ")
    assert "The gateway has seen no answer" in page(world)


def test_the_page_tells_traffic_accuracy_drift_and_decisions(world: World) -> None:
    world.join(weight=400)
    world.traffic(world.people(900, age=60), wrong={"churn": 0.1, "churn-v2": 0.4}, failing={"churn-v2": 0.2})
    assert world.run("drift", "--endpoint", "churn", "--no-report", "--revert") == 1
    assert world.run("report", "--endpoint", "churn") == 0
    text = page(world)
    assert "All users get churn." in text
    assert "rolled back churn-v2" in text
    assert "modelserve.io/drift-decision.v2" in text
    assert "Drift, looked at just now: " in text
    assert "age · churn" in text
    assert text.count('<svg viewBox="0 0 480') == 5
    assert "beside" in text


def test_a_decision_file_that_cannot_be_read_is_told(world: World) -> None:
    folder = world.home / "reports" / "churn" / "2026"
    folder.mkdir(parents=True)
    (folder / "decision.json").write_text("{}")
    assert world.run("report", "--endpoint", "churn") == 0
    assert "2026/decision.json is left out" in world.text
    assert "is left out" in page(world)


def test_a_look_that_led_to_a_commit_is_told_though_its_report_lies_elsewhere(world: World) -> None:
    world.join(weight=400)
    world.traffic(world.people(900), wrong={"churn": 0.1, "churn-v2": 0.4})
    assert world.drift("--revert") == 1
    assert world.run("report", "--endpoint", "churn") == 0
    assert page(world).count("Drift, looked at just now: churn-v2 at fault") == 1


def test_a_deployment_that_is_gone_keeps_its_figures(world: World) -> None:
    from mlflow_deploy_plugin import manifests  # noqa: PLC0415

    world.join(weight=400)
    world.traffic(world.people(300))
    world.split(churn=1000, churn_v2=0)
    world.change(lambda files: manifests.remove_deployment(files, "production", "churn-v2"))
    assert world.run("report", "--endpoint", "churn") == 0
    assert ">gone<" in page(world)


def test_an_unknown_endpoint_and_an_unwritable_page_are_refused(world: World, tmp_path: Path) -> None:
    assert world.run("report", "--endpoint", "nope") == 2
    assert "endpoint 'nope' not found" in world.warned[0]
    (tmp_path / "file").write_text("")
    assert world.run("report", "--endpoint", "churn", "--out", str(tmp_path / "file" / "page.html")) == 2
    assert "cannot be written" in world.warned[0]


def test_a_window_is_a_span_or_a_moment(world: World) -> None:
    assert world.run("report", "--endpoint", "churn", "--since", "2026-01-01T06:00:00Z") == 0
    assert "2026-01-01 06:00 to 2026-01-01 12:00" in page(world)
    assert world.run("report", "--endpoint", "churn", "--window", "soon") == 2
