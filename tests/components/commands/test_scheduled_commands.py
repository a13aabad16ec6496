"""What a schedule runs: a verb for every endpoint, and the page that a person reads afterwards."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mlflow_deploy_plugin import manifests
from pipelines.commands.each import worst

World = Any

PLAN = """
apiVersion: modelserve.io/v1alpha1
kind: Rollout
metadata: {name: churn, annotations: {config.kubernetes.io/local-config: "true"}}
spec:
  steps:
    - {weight: 10}
    - weight: 100
  gates:
    errors: {margin: 5, guardrail: 20}
"""


@pytest.fixture
def planned(world: World) -> World:
    world.join(weight=0)
    world.change(lambda files: {**files, "stages/production/churn/rollout.yaml": PLAN})
    return world


def test_without_an_endpoint_every_rollout_of_the_stage_gets_its_tick(planned: World) -> None:
    assert planned.run("promote") == 0
    assert planned.weights == {"churn": 900, "churn-v2": 100}
    assert planned.text.startswith("churn: advance: ")


def test_a_stage_without_rollouts_is_unchanged(world: World) -> None:
    assert world.run("promote") == 0
    assert world.text == "unchanged: no endpoint has a second deployment"


def test_one_endpoint_that_cannot_be_decided_stops_no_other(planned: World) -> None:
    def add(files: Any) -> Any:
        found = manifests.parse_stage(files, "production").endpoints["churn"]
        for name in ("alpha", "alpha-v2"):
            source = next(iter(found.deployments.values()))
            made = _named(source, name, "alpha")
            if name == "alpha":
                files = manifests.add_endpoint(files, made, salt="s")
            else:
                files = manifests.add_deployment(files, made, weight=0)
        return {**files, "stages/production/alpha/rollout.yaml": PLAN.replace("weight: 10}", "weight: lots}")}

    planned.change(add)
    assert planned.run("promote") == 2
    assert planned.warned[0].startswith("endpoint alpha: stages/production/alpha/rollout.yaml")
    assert planned.weights == {"churn": 900, "churn-v2": 100}


def test_the_summary_shows_the_split_the_gates_and_who_moves(planned: World, tmp_path: Path) -> None:
    page = tmp_path / "summary.md"
    page.write_text("# before\n")
    planned.run("promote", "--summary", str(page))
    planned.traffic(planned.people(1500), prefix="a", failing={"churn-v2": 0.6})
    assert planned.run("promote", "--summary", str(page), "--records", str(tmp_path / "records")) == 1
    text = page.read_text()
    assert text.startswith("# before\n## churn (production)")
    assert "| churn-v2 | 0% | 10% |" in text
    assert "| churn-v2 | 10% | 0% |" in text
    assert "of 100,000 sampled users" in text
    assert "| gate | verdict | numbers | reason |" in text
    assert "| errors | ❌ failed |" in text
    assert planned.run("replay", str(tmp_path / "records/production-churn.json")) == 0


def test_a_dry_run_says_what_it_would_and_commits_nothing(planned: World, tmp_path: Path) -> None:
    head = planned.head
    planned.run("promote", "--dry-run", "--summary", str(tmp_path / "s.md"))
    assert "would commit: churn: canary" in (tmp_path / "s.md").read_text()
    assert planned.head == head


def test_a_guard_holds_back_what_a_person_may_want_to_review(planned: World, tmp_path: Path) -> None:
    head, output = planned.head, tmp_path / "output"
    assert planned.run("promote", "--only-aborts", "--output", str(output)) == 0
    assert output.read_text() == "waits=churn\n"
    assert planned.head == head


def test_a_guard_takes_a_bad_version_back_at_once(planned: World, tmp_path: Path) -> None:
    planned.run("promote")
    planned.traffic(planned.people(1500), prefix="a", failing={"churn-v2": 0.6})
    assert planned.run("promote", "--only-aborts", "--output", str(tmp_path / "output")) == 1
    assert planned.weights == {"churn": 1000}
    assert not (tmp_path / "output").exists()


def test_a_rollback_tells_the_same_page(planned: World, tmp_path: Path) -> None:
    planned.run("promote")
    assert (
        planned.run("rollback", "--endpoint", "churn", "--reason", "<b>|smoke", "--summary", str(tmp_path / "s.md"))
        == 0
    )
    text = (tmp_path / "s.md").read_text()
    assert "| churn-v2 | 10% | 0% |" in text
    assert "- &lt;b>\\|smoke" in text


def test_a_summary_that_cannot_be_written_is_named(planned: World, tmp_path: Path) -> None:
    assert planned.run("promote", "--summary", str(tmp_path)) == 2
    assert "give another path" in planned.warned[0]


def test_the_drift_of_every_rollout_is_one_run(world: World, tmp_path: Path) -> None:
    world.join()
    world.traffic(world.people(300))
    page, out = tmp_path / "s.md", tmp_path / "out"
    assert world.run("drift", "--no-report", "--out", str(out), "--summary", str(page)) == 0
    assert (out / "churn/decision.json").is_file()
    assert "## Drift: churn (production)" in page.read_text()


@pytest.mark.parametrize(
    ("codes", "code"), [((0, 1), 1), ((1, 2), 2), ((3, 2, 75), 3), ((75, 0), 75), ((), 0), ((75, 1), 1)]
)
def test_the_worst_exit_code_wins(codes: tuple[int, ...], code: int) -> None:
    assert worst(codes) == code


def _named(source: Any, name: str, endpoint: str) -> Any:
    return replace(source, name=name, endpoint=endpoint)
