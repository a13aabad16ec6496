"""The alert rules against the code that exposes their series, and against their own scenarios."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from mlflow_deploy_plugin.agent.metrics.families import FAMILIES
from mlflow_deploy_plugin.serving.exposition import HELP

FOLDER = Path(__file__).parents[3] / "gitops/observability"
RULES = [
    rule
    for group in yaml.safe_load((FOLDER / "rules/modelserve.rules.yml").read_text())["groups"]
    for rule in group["rules"]
]
ALERTS = {rule["alert"]: rule for rule in RULES if "alert" in rule}
RECORDED = {rule["record"] for rule in RULES if "record" in rule}
SELECTED = re.compile(r"\b(?:model_|modelserve_|feature_|envoy_|model:|deployment:)[a-zA-Z0-9_:]+")
LABELS = {"model_version", "feature_name"}


def scenarios() -> list[dict[str, Any]]:
    files = [yaml.safe_load(path.read_text()) for path in sorted(FOLDER.glob("tests/*.test.yml"))]
    return [expected for file in files for test in file["tests"] for expected in test["alert_rule_test"]]


@pytest.mark.parametrize("name", ALERTS)
def test_every_alert_has_a_scenario_that_fires_and_one_that_stays_silent(name: str) -> None:
    mine = [bool(one["exp_alerts"]) for one in scenarios() if one["alertname"] == name]
    assert set(mine) == {True, False}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.get("alert") or rule["record"])
def test_every_series_that_a_rule_reads_is_exposed_by_the_code_or_recorded(rule: dict[str, Any]) -> None:
    named = set(SELECTED.findall(rule["expr"])) - LABELS
    known = {*FAMILIES, *HELP, *RECORDED}
    assert named
    assert {re.sub(r"_(bucket|count|sum)$", "", name) for name in named} <= known | {"envoy"}


@pytest.mark.parametrize("name", [name for name, rule in ALERTS.items() if "remedy" in rule["labels"]])
def test_an_alert_that_asks_for_a_rollback_names_a_version_and_pages_people_too(name: str) -> None:
    (fired, *_) = [
        one["exp_alerts"][0]["exp_labels"] for one in scenarios() if one["alertname"] == name and one["exp_alerts"]
    ]
    assert {"deployment", "model_version"} & fired.keys()
    assert fired["severity"] == "page"


def test_every_alert_says_what_to_do() -> None:
    assert [name for name, rule in ALERTS.items() if not rule["annotations"].get("action")] == []
