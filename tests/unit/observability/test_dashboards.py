"""The dashboards as files: what the script writes, whose series exist, that Grafana can choose its data source."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from mlflow_deploy_plugin.agent.metrics.families import FAMILIES
from mlflow_deploy_plugin.serving.exposition import HELP

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "gitops/observability"
FILES = sorted((FOLDER / "dashboards").glob("*.json"))
BOARDS: dict[str, Any] = {path.stem: json.loads(path.read_text()) for path in FILES}
RECORDED = {
    rule["record"]
    for group in yaml.safe_load((FOLDER / "rules/modelserve.rules.yml").read_text())["groups"]
    for rule in group["rules"]
    if "record" in rule
}
FOREIGN = {"ALERTS", "envoy_http_downstream_rq_xx"}
SERIES = re.compile(r"\b([a-zA-Z_:][a-zA-Z0-9_:]*)\{")
EXPRESSIONS = [
    (f"{name}: {panel['title']}", target["expr"])
    for name, board in BOARDS.items()
    for panel in board["panels"]
    for target in panel["targets"]
]


def test_the_files_are_what_the_script_writes() -> None:
    script = ROOT / "docs/monitoring/dashboards.py"
    done = subprocess.run([sys.executable, script, "--check"], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "unchanged\n")


def test_there_are_four_with_names_that_stay() -> None:
    assert {board["uid"] for board in BOARDS.values()} == {
        "modelserve-fleet",
        "modelserve-model",
        "modelserve-rollout",
        "modelserve-drift",
    }
    assert all(board["id"] is None for board in BOARDS.values())


@pytest.mark.parametrize("name", BOARDS)
def test_the_data_source_is_a_variable_everywhere(name: str) -> None:
    board = BOARDS[name]
    variables = {one["name"]: one for one in board["templating"]["list"]}
    assert variables["datasource"]["query"] == "prometheus"
    users = [*board["panels"], *board["annotations"]["list"], *(t for p in board["panels"] for t in p["targets"])]
    assert {one["datasource"]["uid"] for one in users} == {"${datasource}"}
    used = set(re.findall(r"\$([a-z_]+)", json.dumps(board["panels"])))
    assert used - {"__rate_interval"} <= variables.keys()


@pytest.mark.parametrize("name", ["model", "drift"])
def test_a_version_can_be_chosen(name: str) -> None:
    variables = {one["name"]: one for one in BOARDS[name]["templating"]["list"]}
    assert variables["model_version"]["query"]["query"].startswith("label_values(model_predictions_total{")


@pytest.mark.parametrize(("where", "expression"), EXPRESSIONS)
def test_every_series_of_a_panel_is_exposed_by_the_code_or_recorded(where: str, expression: str) -> None:
    named = {re.sub(r"_(bucket|count|sum)$", "", name) for name in SERIES.findall(expression)}
    assert named, where
    assert named <= {*FAMILIES, *HELP, *RECORDED} | FOREIGN


@pytest.mark.parametrize(("where", "expression"), EXPRESSIONS)
def test_rates_follow_the_zoom(where: str, expression: str) -> None:
    assert "[$__rate_interval]" in expression or "rate(" not in expression, where


NAMES = {"model_version", "deployment", "endpoint"}
"""Labels whose values are unique within a stage alone."""


@pytest.mark.parametrize(("where", "expression"), EXPRESSIONS)
def test_what_is_summed_by_name_is_of_one_stage(where: str, expression: str) -> None:
    by = [set(re.split(r",\s*", labels)) for labels in re.findall(r"by \(([^)]*)\)", expression)]
    assert [labels for labels in by if labels & NAMES and "stage" not in labels] == [], where


LEGENDS = [
    (f"{name}: {panel['title']}", target["legendFormat"])
    for name, board in BOARDS.items()
    for panel in board["panels"]
    for target in panel["targets"]
]


@pytest.mark.parametrize(("where", "legend"), LEGENDS)
def test_a_line_that_is_called_by_name_says_its_stage(where: str, legend: str) -> None:
    shown = set(re.findall(r"\{\{(\w+)\}\}", legend))
    assert not shown & NAMES or "stage" in shown, where


@pytest.mark.parametrize("name", BOARDS)
def test_panels_do_not_overlap_and_say_what_they_show(name: str) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in BOARDS[name]["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken
        taken |= cells
        assert panel["description"]
    assert max(x for x, _ in taken) == 23


@pytest.mark.parametrize("name", BOARDS)
def test_commits_are_annotations(name: str) -> None:
    (decisions,) = BOARDS[name]["annotations"]["list"]
    assert decisions["useValueForTime"] is True
    assert "modelserve_last_decision_timestamp_seconds" in decisions["expr"]


OF_PROMETHEUS = {"step", "titleFormat", "textFormat", "tagKeys", "useValueForTime"}
"""What Prometheus' data source adds to an annotation; Grafana's schema leaves it to each source."""


@pytest.mark.parametrize("name", BOARDS)
def test_grafanas_own_schema_knows_every_field(name: str) -> None:
    """Read and written by the library that Grafana generates from its schemas; what that does not know gets lost."""
    dashboard = pytest.importorskip("grafana_foundation_sdk.models.dashboard", reason="Grafana's library is missing")
    encoder = pytest.importorskip("grafana_foundation_sdk.cog.encoder")
    pytest.importorskip("grafana_foundation_sdk.cog.plugins").register_default_plugins()
    again = json.loads(json.dumps(dashboard.Dashboard.from_json(BOARDS[name]), cls=encoder.JSONEncoder))
    kept = dict(leaves(again))
    lost = {path for path, value in leaves(BOARDS[name]) if value is not None and kept.get(path) != value}
    assert {path[-1] for path in lost} == OF_PROMETHEUS
    assert {path[:3] for path in lost} == {("annotations", "list", 0)}


def leaves(document: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Every plain value with the way to it."""
    if isinstance(document, dict | list):
        pairs = document.items() if isinstance(document, dict) else enumerate(document)
        for key, value in pairs:
            yield from leaves(value, (*path, key))
    else:
        yield path, document
